"""Feature pyramid and convolution blocks with torchvision's layout and names of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

TOP = "pool"
"""Name of the level above the backbone's last."""


def conv_block(
    channels: int, width: int, side: int, *, normed: bool = False, active: bool = True
) -> nn.Sequential:
    """Make a convolution that keeps the size, with BatchNorm if `normed` and ReLU if `active`.

    Parameters
    ----------
    channels, width : int
        Channels in and out.
    side : int
        Side of the kernel.
    normed, active : bool
        Whether BatchNorm and ReLU follow the convolution.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, width, side, padding=side // 2, bias=not normed)]
    layers += [nn.BatchNorm2d(width)] if normed else []
    layers += [nn.ReLU(inplace=True)] if active else []
    return nn.Sequential(*layers)


class FeaturePyramid(nn.Module):
    """Maps of the same width at all levels of a backbone; each also gets the features of coarser maps.

    Lin et al., "Feature Pyramid Networks", 2017.

    Parameters
    ----------
    channels : sequence of int
        Channels of the backbone's maps, finest first.
    width : int
        Channels of the result.
    normed : bool
        Whether BatchNorm follows each convolution.
    has_top : bool
        Whether to add a level: every second place of the coarsest map.
    """

    def __init__(self, channels: Sequence[int], width: int, *, normed: bool, has_top: bool) -> None:
        super().__init__()
        self.inner_blocks, self.layer_blocks = nn.ModuleList(), nn.ModuleList()
        for count in channels:
            self.inner_blocks.append(conv_block(count, width, 1, normed=normed, active=False))
            self.layer_blocks.append(conv_block(width, width, 3, normed=normed, active=False))
        self.has_top = has_top
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return features by level "0", "1", ... (and `TOP`), finest first."""
        levels: list[Tensor] = []
        above: Tensor | None = None
        for number in reversed(range(len(maps))):
            inner = self.inner_blocks[number](maps[number])
            if above is not None:
                inner = inner + F.interpolate(above, size=inner.shape[-2:], mode="nearest")
            levels.insert(0, self.layer_blocks[number](inner))
            above = inner
        named = {str(number): level for number, level in enumerate(levels)}
        if self.has_top:
            named[TOP] = F.max_pool2d(levels[-1], 1, 2)
        return named
