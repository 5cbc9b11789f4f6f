"""Backbones from timm: four feature maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

import timm
from torch import Tensor, nn

from napari_cupre.errors import InputError

STRIDES = (4, 8, 16, 32)


class Backbone(nn.Module):
    """A timm network without its classifier.

    Attributes
    ----------
    channels : channels of the four maps.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            body = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
        except (RuntimeError, ValueError, AttributeError, AssertionError, IndexError) as error:
            raise InputError(
                f"timm has no backbone {name!r} with four feature maps ({error}): choose e.g. resnest50d."
            ) from error
        if tuple(body.feature_info.reduction()) != STRIDES:
            raise InputError(
                f"The backbone {name!r} has strides {body.feature_info.reduction()}, "
                f"but {list(STRIDES)} are needed: choose e.g. resnest50d."
            )
        self.body = body
        self.channels: tuple[int, ...] = tuple(body.feature_info.channels())

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) standardised images -> maps of stride 4, 8, 16, 32."""
        return self.body(images)
