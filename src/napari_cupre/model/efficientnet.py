"""EfficientNet-Lite0 without its classifier: the backbone of `compact`.

Tan and Le, "EfficientNet", 2019; the Lite variant has no squeeze-and-excitation and clips activations at 6.
Layers and names are those of timm's `efficientnet_lite0`, so that weights fit both. timm is not used because
importing it takes half a second, as it loads the code of all its networks.
"""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LITE = "efficientnet_lite0"

STEM = 32
STAGES = (
    # blocks, kernel, stride, stretch, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SEEN = (1, 2, 4, 6)
"""Stages that give the maps of stride 4, 8, 16 and 32."""


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 up to its last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        stages, channels = [], STEM
        for count, side, stride, stretch, width in STAGES:
            blocks: list[nn.Module] = []
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(
                    InvertedBlock(channels, width, side, step, stretch)
                    if stretch > 1
                    else SeparableBlock(channels, width, side, step)
                )
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self._start()

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of the four maps."""
        return tuple(STAGES[stage][-1] for stage in SEEN)

    def _start(self) -> None:
        """Set random weights that keep the spread of values from layer to layer."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
                nn.init.normal_(layer.weight, 0, sqrt(2 / fan))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Turn (B, 3, H, W) standardised images into maps of stride 4, 8, 16, 32."""
        x = F.relu6(self.bn1(self.conv_stem(images)), inplace=True)
        maps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in SEEN:
                maps.append(x)
        return maps


class SeparableBlock(nn.Module):
    """A convolution of each channel by itself, then one across the channels."""

    def __init__(self, channels: int, width: int, side: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _depthwise(channels, side, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv_pw = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result; the input is not added, because the shapes differ."""
        return self.bn2(self.conv_pw(F.relu6(self.bn1(_channelwise(self.conv_dw, x)), inplace=True)))


class InvertedBlock(nn.Module):
    """A separable convolution at several times the width, added to its input where the shapes agree."""

    def __init__(self, channels: int, width: int, side: int, stride: int, stretch: int) -> None:
        super().__init__()
        middle = channels * stretch
        self.conv_pw = nn.Conv2d(channels, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv_dw = _depthwise(middle, side, stride)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv_pwl = nn.Conv2d(middle, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.is_residual = channels == width and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result."""
        y = F.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        y = F.relu6(self.bn2(_channelwise(self.conv_dw, y)), inplace=True)
        y = self.bn3(self.conv_pwl(y))
        return y + x if self.is_residual else y


def _depthwise(channels: int, side: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, side, stride, side // 2, groups=channels, bias=False)


def _channelwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve each channel, on a processor in float32 even if autocast asks for bfloat16.

    There the gradients of such layers are slow in bfloat16: a training step took 0.58 instead of 0.42 s.
    """
    if not torch.is_autocast_enabled("cpu") or x.device.type != "cpu":
        return layer(x)
    with torch.autocast("cpu", enabled=False):
        return layer(x.float())
