"""Two label images side by side: who found what, and who is nearer to the truth."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.evaluation.decision import Outcome
from napari_cupre.evaluation.side_by_side import (
    Compared,
    compare_image,
    each_plane_apart,
    judged_on,
    report_of,
    tally_of,
    tell_apart,
    verdict_on,
)


def squares(*numbers: int) -> np.ndarray:
    """A row of ten places of 4 x 4 px, with cells in some of them."""
    labels = np.zeros((6, 60), np.int32)
    for number in numbers:
        labels[1:5, 6 * number + 1 : 6 * number + 5] = number + 1
    return labels


def test_what_both_found_and_what_one_found_alone() -> None:
    parts = tell_apart(squares(0, 1, 2), squares(1, 2, 5, 6))
    assert np.unique(parts.both).tolist() == [0, 2, 3]
    assert np.unique(parts.only_first).tolist() == [0, 1]
    assert np.unique(parts.only_second).tolist() == [0, 6, 7]
    assert parts.both.dtype == np.int32


def test_a_cell_that_overlaps_too_little_is_found_by_each_alone() -> None:
    moved = np.roll(squares(3), 2, axis=1)
    parts = tell_apart(squares(3), moved)
    assert not parts.both.any()
    assert (parts.only_first > 0).sum() == (parts.only_second > 0).sum() == 16


def test_what_lies_where_nothing_is_known_is_not_invented() -> None:
    known = np.zeros((6, 60), bool)
    known[:, :30] = True
    parts = tell_apart(squares(0, 4, 8), squares(0, 1), known)
    assert np.unique(parts.only_first).tolist() == [0, 5], "the one at 8 may be a cell"
    assert np.unique(parts.only_second).tolist() == [0, 2]


def test_stacks_are_compared_plane_by_plane() -> None:
    stack = np.stack([squares(1), squares(1)])
    apart = each_plane_apart(stack)
    assert len(np.unique(apart)) == 3
    row = compare_image("stack", [stack, np.stack([squares(1), squares(2)])])
    assert (row.both, row.only_first, row.only_second) == (1, 1, 1)


def test_one_model_is_judged_by_the_cells_of_a_person() -> None:
    row = compare_image("a", [squares(0, 1, 5)], squares(0, 1, 2), np.ones((6, 60), bool))
    assert (row.both, row.only_first, row.only_second) == (2, 1, 1)
    assert str(tally_of([row])) == "finds 2 of 3, invents 1, outlines 1.00"
    report = report_of([row])
    assert report is not None
    assert report.ap50 == pytest.approx(2 / 4)


def test_two_models_are_decided_between_on_the_same_cells() -> None:
    truth, known = squares(*range(10)), np.ones((6, 60), bool)
    rows = [compare_image(str(n), [squares(0, 1), squares(*range(9))], truth, known) for n in range(9)]
    found = verdict_on(rows)
    assert found is not None
    assert found.outcome is Outcome.BETTER
    assert found.images == 9
    assert found.low > 0
    same = verdict_on([compare_image("a", [truth, truth], truth, known)])
    assert same is not None
    assert same.outcome is Outcome.UNDECIDED
    assert verdict_on([compare_image("a", [truth, truth])]) is None


def test_images_that_no_model_learned_from_judge_if_they_have_enough_cells() -> None:
    truth, known = squares(*range(10)), np.ones((6, 60), bool)

    def rows(new: int) -> list[Compared]:
        return [compare_image(str(n), [truth], truth, known, is_new=n < new) for n in range(4)]

    assert [row.name for row in judged_on(rows(2), 20)] == ["0", "1"]
    assert len(judged_on(rows(1), 20)) == 4
    assert judged_on([compare_image("a", [truth, truth])], 20) == []


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="same pixels"):
        tell_apart(squares(1), squares(1)[:, :30])
