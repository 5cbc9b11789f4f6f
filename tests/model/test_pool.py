"""The fast pooling gives what torchvision's RoIAlign gives, and its gradient."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from napari_cupre.model.pool import RoiPool

SIZE = (384, 512)


def pyramid(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        str(level): torch.randn(2, 6, 96 >> level, 128 >> level, generator=generator, requires_grad=True)
        for level in range(4)
    }


@pytest.mark.parametrize(("side", "samples"), [(7, 2), (14, 1)])
def test_equals_torchvision(side: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = pyramid(generator)
    boxes = []
    for _ in range(2):
        corner = torch.rand(300, 2, generator=generator) * torch.tensor([512.0, 384.0]) - 10
        extent = torch.rand(300, 2, generator=generator) ** 3 * 400
        boxes.append(torch.cat([corner, corner + extent], dim=1))
    fast = RoiPool(side, samples)
    slow = MultiScaleRoIAlign(list(features), side, samples)
    wanted = torch.randn(600, 6, side, side, generator=generator)
    results, gradients = [], []
    for pool in (fast, lambda *given: slow(*given, [SIZE] * 2)):
        result = pool(features, boxes)
        (result * wanted).sum().backward()
        results.append(result.detach())
        gradients.append([level.grad for level in features.values()])
        for level in features.values():
            level.grad = None
    assert results[0].shape == (600, 6, side, side)
    torch.testing.assert_close(*results, rtol=1e-4, atol=2e-4)
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-3)


def test_no_box() -> None:
    features = pyramid(torch.Generator())
    assert RoiPool(7, 2)(features, [torch.zeros(0, 4)] * 2).shape == (0, 6, 7, 7)
