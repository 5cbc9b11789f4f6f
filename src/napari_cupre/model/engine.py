"""The arithmetic of detection: the network's own layers, or faster versions of them.

`CellRCNN` finds and sorts candidates itself; an engine computes the convolutions and matrix products, which
take most of the time. The network is an engine itself; `TorchEngine` contains its layers rewritten for
prediction, and `napari_cupre.model.openvino` runs them in OpenVINO (experimental).
"""

from __future__ import annotations

import contextlib
import copy
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from napari_cupre.model.bfloat16 import clip_fast
from napari_cupre.model.efficientnet import EfficientNetLite

if TYPE_CHECKING:
    from napari_cupre.model.network import CellRCNN


class Maps(NamedTuple):
    """The maps computed for whole images.

    Attributes
    ----------
    features : dict of str to torch.Tensor
        Features (B, C, Y, X) of each pyramid level, float32, finest first.
    scores : list of torch.Tensor
        Logits (B, A, Y, X) of the A anchors at each place, per level.
    offsets : list of torch.Tensor
        Offsets (B, 4 * A, Y, X) from these anchors to boxes.
    """

    features: dict[str, Tensor]
    scores: list[Tensor]
    offsets: list[Tensor]


class HeadEngine(Protocol):
    """Computes the second stage.

    `box` turns float (N, C, 7, 7) RoIs into class logits (N, classes + 1) and offsets (N, 4); `mask`
    turns (N, C, 14, 14) into mask logits (N, 28, 28).
    """

    @property
    def box(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Return the function from pooled features to scores and box offsets."""

    @property
    def mask(self) -> Callable[[Tensor], Tensor]:
        """Return the function from pooled features to mask logits."""


class Engine(HeadEngine, Protocol):
    """Computes both stages.

    `maps` takes images of any size; the last row and column of grid cells may extend beyond them. Images are
    not padded, so that a cell at the border looks the same as in a training crop.
    """

    def maps(self, images: Tensor) -> Maps:
        """Run the first stage on (B, 3, H, W) images."""


# Images are in about [0, 1]; these give them about zero mean and unit variance.
MEAN, STD = 0.4, 0.3


def feature_pyramid(backbone: nn.Module, neck: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Compute the features of (B, 3, H, W) images, float32, by level, finest first."""
    pyramid = neck(backbone(standardised(images)))
    return {name: feature.float() for name, feature in pyramid.items()}


def standardised(images: Tensor) -> Tensor:
    """Bring images to about zero mean and unit variance."""
    return (images - MEAN) / STD


class Trunk(nn.Module):
    """Backbone, neck and region proposal head of a network as one module."""

    def __init__(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head
        self.dtype = torch.float32

    def forward(self, images: Tensor) -> Maps:
        """Run the first stage on (B, 3, H, W) images."""
        pyramid = self.neck(self.backbone(standardised(images).to(self.dtype)))
        scores, offsets = self.head(list(pyramid.values()))
        return Maps({name: level.float() for name, level in pyramid.items()}, scores, offsets)


class TorchEngine:
    """The layers of a network rewritten for prediction on the processor.

    BatchNorm is folded into the convolutions before it, split attention keeps to one layout, and everything
    is in channels-last. With bfloat16 the slow layers take half the time if the processor multiplies it
    natively. The last layers, which decide what is a cell, and the features that RoIs are pooled from stay in
    float32.

    Parameters
    ----------
    network : CellRCNN
        It is not changed; later changes of its weights have no effect here.
    dtype : torch.dtype, optional
        Type of most layers; None means float32.
    """

    def __init__(self, network: CellRCNN, dtype: torch.dtype | None = None) -> None:
        trunk = rewritten(Trunk(network.backbone, network.neck, network.rpn.head))
        self.box: Callable[[Tensor], tuple[Tensor, Tensor]] = network.heads.box
        self.mask: Callable[[Tensor], Tensor] = network.heads.mask
        if dtype is not None:
            self.box, self.mask = _lowered_heads(network, dtype)
            trunk.dtype = dtype
            trunk.backbone.to(dtype)
            trunk.neck.to(dtype)
            trunk.head.conv.to(dtype)
            clip_fast(trunk)
        self._trunk = trunk.to(memory_format=torch.channels_last)

    def maps(self, images: Tensor) -> Maps:
        """Run the first stage on (B, 3, H, W) images."""
        return self._trunk(images.contiguous(memory_format=torch.channels_last))


class _Cast(nn.Module):
    """A layer that converts its input to another type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def _lowered_heads(network: CellRCNN, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Copy the box and the mask head so that all but their last layers compute in `dtype`."""
    box, mask = copy.deepcopy(network.heads.box).eval(), copy.deepcopy(network.heads.mask).eval()
    down, up = _Cast(dtype), _Cast(torch.float32)
    box.features = nn.Sequential(down, box.features.to(dtype), up)
    mask.layers = nn.Sequential(down, mask.layers.to(dtype))
    mask.upsample.to(dtype)
    clip_fast(box)
    clip_fast(mask)
    return box.requires_grad_(False), mask.requires_grad_(False)


def rewritten(trunk: Trunk) -> Trunk:
    """Copy a trunk for evaluation; split attention is replaced and BatchNorm folded into convolutions."""
    trunk = copy.deepcopy(trunk).eval().requires_grad_(False)
    if not isinstance(trunk.backbone.body, EfficientNetLite):
        from napari_cupre.model.timm_layers import part_norms, replace_split_attention

        replace_split_attention(trunk)
        part_norms(trunk)
    # A backbone with data-dependent control flow cannot be traced; it stays as it is.
    # Nor may it look as if it were trained: its layers choose their precision by whether autocast is on.
    with contextlib.suppress(TraceError), torch.autocast("cpu", enabled=False):
        trunk.backbone = fuse(trunk.backbone)
        _add_in_place(trunk.backbone)
    return trunk


def _add_in_place(traced: nn.Module) -> None:
    """Let a residual block's sum overwrite its first term if nothing else reads that.

    The original blocks do so before tracing; it saves one copy of the largest maps.
    """
    assert isinstance(traced, GraphModule)
    for node in traced.graph.nodes:
        if node.op == "call_function" and node.target is operator.add:
            first = node.args[0]
            is_layer = isinstance(first, Node) and first.op == "call_module" and len(first.users) == 1
            # An identity would pass on a tensor that others read, too.
            if is_layer and isinstance(traced.get_submodule(first.target), nn.Conv2d | nn.BatchNorm2d):
                node.target = operator.iadd
    traced.recompile()
