"""Backbones: four feature maps at strides 4, 8, 16 and 32; all from timm, except the one that ships."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from napari_cupre.errors import InputError
from napari_cupre.model.efficientnet import LITE, SEEN, EfficientNetLite
from napari_cupre.model.geometry import STRIDES


class Backbone(nn.Module):
    """A timm network without its classifier; `efficientnet_lite0` is made without importing timm.

    Attributes
    ----------
    channels : tuple of int
        Channels of the four maps.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.channels: tuple[int, ...]
        if name == LITE:
            lite = EfficientNetLite()
            self.body: nn.Module = lite
            self.channels, self._finest = lite.channels, f"blocks.{SEEN[0]}"
        else:
            self.body, self.channels, self._finest = _from_timm(name)
        # In the other layout, depthwise convolutions take 2.5 times as long on a processor.
        self._is_depthwise = any(
            isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
            for layer in self.body.modules()
        )

    def early_parameters(self) -> list[nn.Parameter]:
        """Return the parameters up to the finest map: edges and textures, which all images share."""
        return list(_up_to(self.body, self._finest))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Turn (B, 3, H, W) standardised images into maps of stride 4, 8, 16, 32."""
        if not self._is_depthwise:
            return self.body(images)
        maps = self.body(images.contiguous(memory_format=torch.channels_last))
        if self.training and not images.is_cuda:  # the following layers train faster in the default layout
            return [features.contiguous() for features in maps]
        return maps


def _from_timm(name: str) -> tuple[nn.Module, tuple[int, ...], str]:
    """Return a timm network, the channels of its maps, and the path of the module of the finest map."""
    import timm
    from timm.models import FeatureInfo

    try:
        body = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
    except (RuntimeError, ValueError, AttributeError, AssertionError, IndexError) as error:
        raise InputError(
            f"timm has no backbone {name!r} with four feature maps ({error}): choose e.g. resnest50d."
        ) from error
    maps = cast(FeatureInfo, body.feature_info)
    if tuple(maps.reduction()) != STRIDES:
        raise InputError(
            f"The backbone {name!r} has strides {maps.reduction()}, "
            f"but {list(STRIDES)} are needed: choose e.g. resnest50d."
        )
    if any("Same" in type(layer).__name__ for layer in body.modules()):
        raise InputError(
            f"The backbone {name!r} pads by the size of its image, which shifts what it sees against its "
            "boxes: choose one that pads in the same way at every size, e.g. efficientnet_lite0."
        )
    finest = maps.module_name()[0]
    flat = finest.replace(".", "_")  # timm may flatten the names of a network's stages
    return body, tuple(maps.channels()), flat if hasattr(body, flat) else finest


def _up_to(module: nn.Module, path: str) -> Iterator[nn.Parameter]:
    """Yield the parameters of a module's submodules in order, up to and including a dotted path."""
    first, _, rest = path.partition(".")
    for name, child in module.named_children():
        if name == first:
            yield from _up_to(child, rest) if rest else child.parameters()
            return
        yield from child.parameters()
    raise LookupError(f"{path} is not part of this backbone")
