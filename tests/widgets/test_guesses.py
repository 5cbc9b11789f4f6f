"""Only what a person vouched for is taught; what nobody looked at is neither cell nor background."""

from __future__ import annotations

import numpy as np
import pytest
from window_fields import field_of_discs

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.widgets.checks import HOLE, SPLIT, UNMARKED, are_grey_values, findings, refuse_grey_values
from napari_cupre.widgets.guesses import Guesses, cell_prints, likely_cells, merge
from napari_cupre.widgets.snapshot import Snapshot

REGION = np.array([[-0.5, -0.5], [-0.5, 79.5], [99.5, 79.5], [99.5, -0.5]])


@pytest.fixture
def predicted() -> np.ndarray:
    """Sixteen cells of 10 px on 100 x 100, numbered by row."""
    labels = np.zeros((100, 100), np.int32)
    for number in range(16):
        row, column = divmod(number, 4)
        labels[25 * row + 7 : 25 * row + 17, 25 * column + 7 : 25 * column + 17] = number + 1
    return labels


def snapshot(labels: np.ndarray, guesses: tuple[Guesses, ...], regions: tuple[np.ndarray, ...]) -> Snapshot:
    image = CellImage.from_array(np.random.default_rng(0).normal(size=(100, 100)), "YX", name="field")
    return Snapshot(image, labels, None, regions, guesses)


def corrected(predicted: np.ndarray, *, is_cells: bool = False) -> Guesses:
    """The first cell removed, the second extended, one drawn by hand."""
    labels = predicted.copy()
    labels[labels == 1] = 0
    labels[7:20, 32:42] = 2
    labels[93:99, 30:38] = 99
    return Guesses(labels, {(): cell_prints(predicted)}, is_cells)


@pytest.mark.parametrize("is_cells", [False, True])
def test_corrections_within_a_region_are_taught_whichever_layer_is_chosen(
    predicted: np.ndarray, is_cells: bool
) -> None:
    """The recipe of docs/how-to/correcting.md."""
    guesses = corrected(predicted, is_cells=is_cells)
    (shot,) = snapshot(np.zeros_like(predicted), (guesses,), (REGION,)).shots()
    inside = np.zeros((100, 100), bool)
    inside[:, :80] = True
    np.testing.assert_array_equal((shot.labels > 0)[inside], (guesses.labels > 0)[inside])
    assert shot.known[inside].mean() > 0.95, "the corrected region is known, background and all"
    assert shot.known[10, 10], "the removed cell is background"
    assert shot.labels[10, 10] == 0, "the removed cell is background"
    assert not shot.known[:, 85:].any(), "nobody looked there"
    assert len(np.unique(shot.labels)) - 1 == 12


@pytest.mark.parametrize("is_cells", [False, True])
def test_without_a_region_only_touched_cells_are_taught(predicted: np.ndarray, is_cells: bool) -> None:
    guesses = corrected(predicted, is_cells=is_cells)
    (shot,) = snapshot(np.zeros_like(predicted), (guesses,), ()).shots()
    np.testing.assert_array_equal(shot.labels > 0, np.isin(guesses.labels, [2, 99]))
    assert not shot.known[60:80, 60:80].any()


def test_a_result_that_nobody_touched_teaches_nothing(predicted: np.ndarray) -> None:
    for is_cells in (False, True):
        guesses = Guesses(predicted, {(): cell_prints(predicted)}, is_cells)
        assert list(snapshot(np.zeros_like(predicted), (guesses,), ()).shots()) == []


def test_guesses_in_a_region_that_are_not_marked_are_unknown_until_answered(predicted: np.ndarray) -> None:
    by_hand = np.where(predicted == 6, 1, 0).astype(np.int32)
    guesses = Guesses(predicted, {(): cell_prints(predicted)})
    (shot,) = snapshot(by_hand, (guesses,), (REGION,)).shots()
    assert set(np.unique(shot.labels)) == {0, 1}
    assert not shot.known[np.isin(predicted, [1, 2, 3, 5, 7])].any(), "never taught as background"
    assert shot.known[20:24, 20:24].all()
    merged = merge(by_hand, [guesses], (), np.ones_like(by_hand, bool))
    assert len(merged.unmarked) == 15
    (found,) = findings(by_hand, (), merged)
    assert found.kind == UNMARKED
    assert found.sentence.startswith("15 likely cells in this region are not annotated")
    refused = Guesses(predicted, guesses.prints, refused=frozenset(((), label) for label in range(1, 17)))
    (shot,) = snapshot(by_hand, (refused,), (REGION,)).shots()
    assert shot.known[:, :79].all()


def test_a_cell_marked_by_hand_wins_over_the_guess(predicted: np.ndarray) -> None:
    by_hand = np.zeros_like(predicted)
    by_hand[8:18, 8:18] = 5
    guesses = corrected(predicted)
    merged = merge(by_hand, [guesses], (), np.ones_like(by_hand, bool))
    assert (merged.labels == 5).sum() == 100


def test_likely_cells_are_estimated_where_no_model_was_asked() -> None:
    image, labels = field_of_discs()
    by_hand = np.where(labels == 8, 1, 0).astype(np.int32)
    inside = np.ones(labels.shape, bool)
    for plane in (image, 255 - image, np.stack([image] * 3, -1)):
        found = likely_cells(plane, by_hand, inside)
        assert abs(len(np.unique(found)) - 1 - (labels.max() - 1)) <= 2
        assert (found[by_hand > 0] == 0).all()
    noise = np.random.default_rng(0).normal(size=labels.shape)
    assert not likely_cells(noise, by_hand, inside).any()
    assert not likely_cells(np.full(labels.shape, np.nan), by_hand, inside).any()
    assert not likely_cells(image, labels, inside).any(), "all are marked"


def test_blobs_and_holes_are_asked_about(predicted: np.ndarray) -> None:
    labels = predicted.copy()
    labels[labels == 7] = 6
    labels[10, 10] = 0
    merged = merge(labels, [], (), None)
    kinds = {found.kind: found for found in findings(labels, (), merged)}
    assert set(kinds) == {SPLIT, HOLE}
    assert kinds[SPLIT].sentence == "Label 6 has several separate parts. Make each part a cell?"
    assert kinds[HOLE].labels == (1,)
    ring = np.zeros((30, 30), np.int32)
    ring[5:25, 5:25] = 1
    ring[10:20, 10:20] = 0
    ring[12:18, 12:18] = 2
    assert [found.kind for found in findings(ring, (), merge(ring, [], (), None))] == [], (
        "a cell around a cell"
    )


def test_a_picture_is_no_label_image(predicted: np.ndarray) -> None:
    raw = field_of_discs()[0].astype(np.int32)
    assert are_grey_values(raw)
    smooth = np.add.outer(np.arange(200), np.arange(200)).astype(np.int32)
    assert are_grey_values(smooth)
    for cells in (predicted, np.kron(np.arange(400).reshape(20, 20), np.ones((5, 5), int)).astype(np.int32)):
        assert not are_grey_values(cells)
    with pytest.raises(InputError, match="grey values"):
        refuse_grey_values(raw, "raw")
