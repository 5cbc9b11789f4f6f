"""Held-out annotation: never empty by rounding, never the same pixels, never half a cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.data.shot import Shot
from napari_cupre.finetuning.judge import Judge
from napari_cupre.finetuning.split import count_cells, hold_out
from napari_cupre.project.heldout import HELD_FROM_CELLS, HELD_FROM_IMAGES


def make_shot(count: int, seed: int, size: int = 60) -> Shot:
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size + 20), np.int32)
    for label in range(1, count + 1):
        y, x = rng.integers(0, size - 6), rng.integers(0, size + 14)
        labels[y : y + 6, x : x + 6] = label
    image = rng.random((*labels.shape, 3)).astype(np.float32)
    return Shot(image, labels, np.ones(labels.shape, bool), str(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=12),
    st.integers(0, 99),
    st.sampled_from([0.1, 0.2, 0.4]),
)
def test_no_cell_teaches_and_judges(counts: list[int], seed: int, share: float) -> None:
    shots = [make_shot(count, i + seed) for i, count in enumerate(counts)]
    cells = sum(count_cells(s.labels) for s in shots)
    teaching, held = hold_out(shots, share, seed)
    if cells == 0:
        return
    taught = sum(count_cells(s.labels) for s in teaching)
    judged = sum(count_cells(s.labels) for s in held)
    assert taught >= 1
    assert taught + judged <= cells
    if cells < HELD_FROM_CELLS:
        assert held == []
    elif sum(count_cells(s.labels) > 0 for s in shots) >= HELD_FROM_IMAGES:
        assert judged >= 1
        assert taught + judged == cells
    elif sum(count_cells(s.labels) > 0 for s in shots) >= 2:
        assert judged >= 1
    # Pixels: what is held out is an image of its own, or the strip that teaching lacks.
    for name in {s.name for s in held}:
        whole = next(s for s in shots if s.name == name)
        parts = [s for s in (*teaching, *held) if s.name == name]
        assert sum(p.labels.size for p in parts) == whole.labels.size


def test_a_divided_cell_is_unknown_on_both_sides() -> None:
    labels = np.zeros((20, 100), np.int32)
    for label in range(10):
        labels[4:12, 10 * label + 1 : 10 * label + 8] = label + 1
    labels[14:18, 40:99] = 99
    teaching, held = hold_out(
        [Shot(np.zeros((20, 100, 3), np.float32), labels, np.ones_like(labels, bool))], 0.2, 0
    )
    assert held
    assert all(99 not in part.labels for part in (*teaching, *held))
    assert sum(np.count_nonzero(~part.known) for part in (*teaching, *held)) == np.count_nonzero(labels == 99)


@pytest.mark.parametrize("size", [64, 900])
def test_windows_judge_whole_cells_only(size: int) -> None:
    shot = make_shot(60 if size > 100 else 5, 1, size)
    judge = Judge([shot], seed=0)
    assert 1 <= len(judge.windows) <= 8
    assert judge.cells > 0
    whole = dict(zip(*np.unique(shot.labels, return_counts=True)))
    for window in judge.windows:
        for label, area in zip(*np.unique(window.labels, return_counts=True)):
            assert label == 0 or area == whole[label]
