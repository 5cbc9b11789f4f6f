"""Start from COCO: fetch torchvision's `maskrcnn_resnet50_fpn_v2` on request and check its checksum.

Its boxes and masks are per class. Ours do not depend on the class, so the foreground rows are averaged. The
result is a start for training, not a detector: no figure is claimed for it before training.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from napari_cupre.errors import EnvironmentFault, InputError, reason_of
from napari_cupre.model.network import CellRCNN

PRESET = "resnet50"


def load_coco(network: CellRCNN) -> None:
    """Load torchvision's COCO weights into `network`; they are fetched once and kept in torch's hub cache.

    Raises
    ------
    InputError
        If the network is not of the preset "resnet50".
    EnvironmentFault
        If the weights cannot be fetched, or do not have the checksum in their name.
    """
    if network.config.preset != PRESET:
        raise InputError(
            f"COCO weights exist for the preset {PRESET}, not for {network.config.preset}: "
            f"choose --preset {PRESET}."
        )
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights

    weights = MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise EnvironmentFault(
            f"The COCO weights could not be fetched from {weights.url} ({reason_of(error)}): "
            "connect to the network once."
        ) from error
    convert_coco(tensors, network, list(weights.meta["categories"]))


@torch.no_grad()
def convert_coco(tensors: dict[str, Tensor], network: CellRCNN, categories: list[str]) -> None:
    """Put the state of a torchvision `maskrcnn_resnet50_fpn_v2` into `network`.

    Parameters
    ----------
    categories : list of str
        Names of the torchvision model's classes, background first, as in the rows of its `cls_score`.

    Raises
    ------
    InputError
        If a tensor is missing or has another shape.
    """
    ours = network.state_dict()
    converted = {new: value for key, value in tensors.items() if (new := _new_key(key)) is not None}
    foreground = [row for row, name in enumerate(categories) if row > 0 and name != "N/A"]
    head = "roi_heads.box_predictor."
    converted |= {
        "heads.box.score.weight": _class_rows(
            tensors[head + "cls_score.weight"], network, categories, foreground
        ),
        "heads.box.score.bias": _class_rows(
            tensors[head + "cls_score.bias"], network, categories, foreground
        ),
        "heads.box.offset.weight": tensors[head + "bbox_pred.weight"]
        .unflatten(0, (-1, 4))[foreground]
        .mean(0),
        "heads.box.offset.bias": tensors[head + "bbox_pred.bias"].unflatten(0, (-1, 4))[foreground].mean(0),
    }
    for kind in ("weight", "bias"):
        logits = tensors[f"roi_heads.mask_predictor.mask_fcn_logits.{kind}"]
        converted[f"heads.mask.logits.{kind}"] = logits[foreground].mean(0, keepdim=True)
    wrong = [
        key for key, value in ours.items() if key not in converted or converted[key].shape != value.shape
    ]
    if wrong:
        raise InputError(f"The COCO weights do not fit: {wrong[0]} is missing or has another shape.")
    network.load_state_dict({key: converted[key] for key in ours})


def _new_key(key: str) -> str | None:
    """Return our name for a torchvision tensor that is copied unchanged."""
    simple = {
        "backbone.body.": "backbone.body.",
        "backbone.fpn.": "neck.",
        "rpn.head.": "rpn.head.",
        "roi_heads.box_head.": "heads.box.features.",
        "roi_heads.mask_predictor.conv5_mask.": "heads.mask.upsample.",
    }
    for old, new in simple.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    if key.startswith("roi_heads.mask_head."):
        # torchvision nests blocks of (convolution, norm, ReLU); ours follow one another.
        block, part, name = key.removeprefix("roi_heads.mask_head.").split(".")
        return f"heads.mask.layers.{3 * int(block) + int(part)}.{name}"
    return None


def _class_rows(values: Tensor, network: CellRCNN, categories: list[str], foreground: list[int]) -> Tensor:
    """Return score weights or biases for the background and each of the network's classes.

    A class that is not in COCO starts as "any object": the mean of all classes, with the log of their number
    added to its bias. If all classes are alike, its probability is the sum of theirs.
    """
    anything = values[foreground].mean(0) + (log(len(foreground)) if values.ndim == 1 else 0.0)
    rows = [values[categories.index(n)] if n in categories else anything for n in network.config.classes]
    return torch.stack([values[0], *rows])
