"""The fast pooling gives what torchvision's RoIAlign gives."""

from __future__ import annotations

import pytest
import torch

from napari_cupre.model.pool import RegionPool


@pytest.mark.parametrize(("side", "samples"), [(7, 2), (14, 1)])
def test_equals_torchvision(side: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = {
        str(level): torch.randn(2, 6, 96 >> level, 128 >> level, generator=generator) for level in range(4)
    }
    size = (384, 512)
    boxes = []
    for _ in range(2):
        corner = torch.rand(300, 2, generator=generator) * torch.tensor([512.0, 384.0]) - 10
        extent = torch.rand(300, 2, generator=generator) ** 3 * 400
        boxes.append(torch.cat([corner, corner + extent], dim=1))
    pool = RegionPool(side, samples)
    slow = pool(features, boxes, [size] * 2)
    with torch.no_grad():
        fast = pool(features, boxes, [size] * 2)
    assert fast.shape == (600, 6, side, side)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=2e-4)


def test_no_box() -> None:
    features = {str(level): torch.zeros(1, 6, 32 >> level, 32 >> level) for level in range(4)}
    with torch.no_grad():
        assert RegionPool(7, 2)(features, [torch.zeros(0, 4)], [(128, 128)]).shape == (0, 6, 7, 7)
