"""Tiled equals untiled: no doubles, no seams, in memory and in a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from predict_oracle import disc_labels, oracle, scattered_discs

from napari_cupre.evaluation.matching import match_instances
from napari_cupre.prediction.canvas import LabelArray
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.stitch import Stitcher
from napari_cupre.prediction.tiles import Window, plan_tiles


def f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    right, extra, missed = match_instances(truth, predicted).counts(0.5)
    return 2 * right / (2 * right + extra + missed) if right + extra + missed else 1.0


def stitched(
    discs: np.ndarray,
    shape: tuple[int, int],
    tile: int,
    halo: int = 48,
    *,
    canvas: LabelArray | None = None,
    jitter: float = 0.0,
) -> Instances:
    """All tiles through the oracle."""
    canvas = np.zeros(shape, dtype=np.int32) if canvas is None else canvas
    tiles = plan_tiles(shape, tile, halo)
    stitcher = Stitcher(canvas, tiles, margin=4.0, tolerance=1.5)
    for part in tiles:
        stitcher.commit(stitcher.add(part, oracle(discs, part.read, jitter)))
    return stitcher.instances(np.array(canvas[:, :]), 20.0)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(90, 400),
    width=st.integers(90, 400),
    tile=st.integers(110, 220),
    gap=st.sampled_from([1.0, -1.0, -3.0]),
    jitter=st.sampled_from([0.0, 1.0]),
)
def test_tiled_equals_untiled(
    seed: int, height: int, width: int, tile: int, gap: float, jitter: float
) -> None:
    shape = (height, width)
    discs = scattered_discs(seed, shape, (4, 12), 150, gap)
    whole = stitched(discs, shape, 1000, jitter=jitter)
    tiled = stitched(discs, shape, tile, jitter=jitter)
    assert len(tiled) == len(whole)
    assert f1(whole.labels, tiled.labels) >= 0.99


def test_without_noise_tiles_leave_no_trace() -> None:
    shape = (300, 330)
    discs = scattered_discs(3, shape, (4, 12), 200, 1.0)
    whole, tiled = stitched(discs, shape, 400), stitched(discs, shape, 128)
    np.testing.assert_array_equal(whole.labels, tiled.labels)
    np.testing.assert_array_equal(whole.scores, tiled.scores)
    truth = disc_labels(discs, shape)
    assert f1(truth, tiled.labels) == 1.0


@pytest.mark.parametrize("radius", [60, 90, 120])
def test_a_cell_larger_than_the_halo_is_one_cell(radius: int) -> None:
    shape = (400, 410)
    discs = np.array([[205.0, 197.0, radius], [30.0, 30.0, 9.0]])
    tiled = stitched(discs, shape, 160)
    assert len(tiled) == 2
    assert f1(disc_labels(discs, shape), tiled.labels) == 1.0
    assert tiled.masks.full(0).sum() == pytest.approx(np.pi * radius**2, rel=0.1)


def test_a_store_gets_what_memory_gets(tmp_path: Path) -> None:
    shape = (260, 300)
    discs = scattered_discs(5, shape, (4, 12), 120)
    store = zarr.create_array(tmp_path / "labels.zarr", shape=shape, chunks=(64, 64), dtype="int32")
    np.testing.assert_array_equal(
        stitched(discs, shape, 128, canvas=store).labels, stitched(discs, shape, 128).labels
    )


def test_rows_and_labels_belong_together() -> None:
    shape = (200, 220)
    cells = stitched(scattered_discs(8, shape, (5, 10), 60, 1.0), shape, 128)
    assert cells.labels.dtype == np.int32
    np.testing.assert_array_equal(np.unique(cells.labels), np.arange(len(cells) + 1))
    assert (np.diff(cells.scores) <= 0).all()
    for index in range(len(cells)):
        painted, mask = cells.labels == index + 1, cells.masks.full(index)
        assert (painted & mask).sum() >= 0.9 * painted.sum()


def test_tile_without_a_cell() -> None:
    cells = stitched(np.zeros((0, 3)), (150, 160), 128)
    assert len(cells) == 0
    assert not cells.labels.any()
    assert cells.masks.rle() == []


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 600),
    width=st.integers(1, 600),
    room=st.integers(0, 260),
    halo=st.integers(0, 20),
    step=st.integers(1, 60),
)
def test_cores_cover_the_image_once_keep_their_halo_and_read_from_the_grid(
    height: int, width: int, room: int, halo: int, step: int
) -> None:
    covered = np.zeros((height, width), dtype=int)
    tile = 2 * halo + step + room
    for part in plan_tiles((height, width), tile, halo, step):
        covered[part.core.slices] += 1
        assert part.read.y0 % step == 0
        assert part.read.x0 % step == 0
        assert max(part.read.shape) <= tile
        for core, read, limit, sign in (
            (part.core.y0, part.read.y0, 0, 1),
            (part.core.x0, part.read.x0, 0, 1),
            (part.core.y1, part.read.y1, height, -1),
            (part.core.x1, part.read.x1, width, -1),
        ):
            assert read == limit or sign * (core - read) >= halo
    assert (covered == 1).all()


def test_regions() -> None:
    a, b = Window(0, 0, 4, 6), Window(2, 3, 9, 9)
    assert a.intersect(b) == Window(2, 3, 4, 6)
    assert a.intersect(Window(5, 0, 6, 6)).shape == (0, 6)
    assert a.around(b) == Window(0, 0, 9, 9)
    with pytest.raises(ValueError, match="halo"):
        plan_tiles((10, 10), 20, 10)
    with pytest.raises(ValueError, match="step of 8"):
        plan_tiles((10, 10), 25, 10, 8)
