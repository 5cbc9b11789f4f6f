"""Views of crops: what is varied, what stays, and that the stream is a function of the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_cupre.io.unlabelled import UnlabelledCrops, UnlabelledIndex
from napari_cupre.model.views import ViewSettings, make_view
from napari_cupre.pretraining.view_pairs import ViewPairs, collate_views

PLAIN = ViewSettings(
    side=32, gamma=1.0, contrast=1.0, brightness=0.0, invert=0.0, blur=0.0, noise=0.0, stain=0.0
)


def checks(channels: int) -> np.ndarray:
    """A board that is not the same after any turn or flip, (64, 64, channels)."""
    y, x = np.mgrid[:64, :64] / 63.0
    board = 0.2 + 0.6 * ((y > 0.3) & (x > 0.6)) + 0.2 * x
    return np.repeat(board[..., None], channels, axis=2).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_has_three_channels_and_is_finite(channels: int) -> None:
    for seed in range(20):
        view = make_view(checks(channels), np.random.default_rng(seed), ViewSettings(side=32))
        assert view.shape == (3, 32, 32)
        assert view.dtype == torch.float32
        assert bool(torch.isfinite(view).all())
        if channels == 1:
            assert torch.equal(view[0], view[1])
            assert torch.equal(view[0], view[2])


def test_without_strength_a_view_is_a_turned_part_of_its_crop() -> None:
    settings = replace(PLAIN, min_scale=1.0)
    crop = checks(1)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(crop.transpose(2, 0, 1))[None], (32, 32), mode="bilinear", antialias=True
    )[0, 0].numpy()
    turned = [np.rot90(flipped, k) for flipped in (whole, whole[:, ::-1]) for k in range(4)]
    found = set()
    for seed in range(60):
        view = make_view(crop, np.random.default_rng(seed), settings)[0].numpy()
        near = [number for number, candidate in enumerate(turned) if np.allclose(candidate, view, atol=1e-5)]
        assert len(near) == 1
        found.add(near[0])
    assert found == set(range(8))


def test_grey_is_inverted_and_colour_is_not() -> None:
    for channels, inverted in ((1, True), (3, False)):
        settings = replace(PLAIN, min_scale=1.0, invert=1.0)
        view = make_view(checks(channels), np.random.default_rng(0), settings)
        # The board is mostly dark.
        assert (float(view.median()) > 0.5) == inverted


def test_a_view_holds_something_where_its_crop_does() -> None:
    crop = np.zeros((128, 128, 1), np.float32)
    crop[20:60, 20:60] = 0.9
    settings = replace(PLAIN, min_scale=0.1)
    spread = [float(make_view(crop, np.random.default_rng(seed), settings).std()) for seed in range(40)]
    assert np.mean(np.array(spread) > 0.02) > 0.8


def test_samples_depend_on_seed_and_number_alone(unlabelled: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [unlabelled])
    one, two, other = (
        ViewPairs(UnlabelledCrops(index, 40, seed), ViewSettings(side=32)) for seed in (3, 3, 4)
    )
    [one[number] for number in range(5)]  # what was drawn before must not matter
    assert torch.equal(one[17].query, two[17].query)
    assert torch.equal(one[17].key, two[17].key)
    assert not torch.equal(one[17].query, other[17].query)
    assert not torch.equal(one[17].query, one[17].key)
    batch = collate_views([one[number] for number in range(3)])
    assert batch.query.shape == batch.key.shape == (3, 3, 32, 32)
