"""Rewrite timm's layers for prediction; imported only for timm's networks."""

from __future__ import annotations

import torch
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.split_attn import SplitAttn
from torch import Tensor, nn


class _SplitAttention(nn.Module):
    """timm's `SplitAttn` for evaluation, without sums over a fifth axis, which channels-last does not have.

    Zhang et al., "ResNeSt: Split-Attention Networks", 2020.
    """

    def __init__(self, layer: SplitAttn) -> None:
        super().__init__()
        self.conv, self.norm, self.act = layer.conv, layer.bn0, layer.act0
        self.attention = nn.Sequential(layer.fc1, layer.bn1, layer.act1, layer.fc2)
        self.softmax, self.radix = layer.rsoftmax, layer.radix

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x)))
        splits = x.chunk(self.radix, dim=1)
        mean = x.mean((2, 3), keepdim=True).unflatten(1, (self.radix, -1)).sum(1)
        weights = self.softmax(self.attention(mean)).unflatten(1, (self.radix, -1))[..., None, None]
        out = splits[0] * weights[:, 0]
        for number in range(1, self.radix):
            out = torch.addcmul(out, splits[number], weights[:, number])
        return out


def part_norms(module: nn.Module) -> None:
    """Split timm's layers of BatchNorm and activation in two, since only plain BatchNorm can be folded."""
    for name, child in module.named_children():
        if isinstance(child, BatchNormAct2d):
            norm = nn.BatchNorm2d(child.num_features, child.eps)
            norm.load_state_dict(child.state_dict())
            setattr(module, name, nn.Sequential(norm, child.drop, child.act).eval())
        else:
            part_norms(child)


def replace_split_attention(module: nn.Module) -> None:
    """Replace every split attention below a module."""
    for name, child in module.named_children():
        if isinstance(child, SplitAttn):
            setattr(module, name, _SplitAttention(child))
        else:
            replace_split_attention(child)
