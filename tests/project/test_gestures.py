"""Each gesture does what a person expects, and undo brings back exactly what was there."""

from __future__ import annotations

import numpy as np
import pytest
from annotating import guesses_of, with_region

from napari_cupre.errors import InputError
from napari_cupre.project import gestures
from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import LARGEST_NUMBER, By, Cells, State
from napari_cupre.project.history import History
from napari_cupre.project.strokes import painted, renew_guesses, stroke_of

BY = By("anna", "2026-01-01T00:00:00Z")


def two_cells() -> Cells:
    """Cell 3 on the left is checked, cell 8 on the right a guess of score 0.4."""
    labels = np.zeros((20, 30), np.int32)
    labels[5:12, 4:12] = 3
    labels[5:12, 16:24] = 8
    return Cells.of(labels, {3: State.CHECKED, 8: State.GUESS}, scores={8: 0.4}, by=BY)


def consistent(cells: Cells) -> None:
    found = measured(cells.labels)
    assert set(found) == set(cells.rows)
    assert all((cells.rows[n].box, cells.rows[n].area) == each for n, each in found.items())
    assert cells.labels.dtype == np.int32
    states = [cell.state for cell in cells.rows.values()]
    assert [cells.count(state) for state in State] == [states.count(state) for state in State]
    assert cells.count() == cells.count(*State) == len(states)


def done(cells: Cells, change) -> Cells:
    """Make a change, see that undo and redo are exact, and return the cells with the change made."""
    before, history = cells.copy(), History()
    history.do(cells, change)
    consistent(cells)
    after = cells.copy()
    if change:
        history.undo(cells)
        assert cells == before
        history.redo(cells)
    assert cells == after
    return cells


SQUARE = np.array([[1, 1], [1, 9], [9, 9], [9, 1]], float)


def test_the_certainty_that_shows_all_guesses() -> None:
    cells = two_cells()
    assert gestures.shown_from(cells) == pytest.approx(0.4)
    for score, shown in ((0.508, 0.45), (0.93, 0.45), (0.358, 0.35), (0.001, 0.01), (float("nan"), 0.45)):
        known = Cells.of(cells.labels, {3: State.CHECKED, 8: State.GUESS}, scores={8: score})
        certainty = gestures.shown_from(known)
        assert certainty == pytest.approx(shown)
        assert score < 0.01 or not gestures.hidden(known, certainty)


def test_accepting_keeps_the_score_and_names_who_and_when() -> None:
    cells = done(two_cells(), gestures.accept(two_cells(), [8, 3], BY))
    assert cells.rows[8].state is State.CHECKED
    assert cells.rows[8].score == 0.4
    assert cells.rows[8].author == "anna"
    assert cells.rows[8].time == BY.time
    assert not gestures.accept(cells, [3, 8])


def test_accepting_all_takes_those_on_show_alone() -> None:
    cells = two_cells()
    assert gestures.accept_all(cells, ((0, 20), (0, 15))).touched == ()
    assert gestures.accept_all(cells, certainty=0.5).touched == ()
    assert gestures.accept_all(cells, ((0, 20), (15, 30)), certainty=0.3).touched == (8,)


def test_rejecting_removes_guesses_and_nothing_else() -> None:
    cells = done(two_cells(), gestures.reject(two_cells(), [3, 8]))
    assert cells.numbers() == [3]


def test_deleting_many_far_apart_touches_their_boxes_alone() -> None:
    labels = np.zeros((400, 400), np.int32)
    labels[0:3, 0:3], labels[2:5, 2:5], labels[390:, 390:] = 1, 2, 9
    change = gestures.delete(Cells.of(labels), [9, 1, 2])
    assert done(Cells.of(labels), change).numbers() == []
    assert change.nbytes < 2000


def test_merging_closes_a_narrow_gap_and_keeps_the_first_number() -> None:
    cells = done(two_cells(), gestures.merge(two_cells(), 8, 3, BY))
    assert cells.numbers() == [8]
    assert cells.rows[8].state is State.EDITED
    assert cells.rows[8].area > 2 * 7 * 8
    far = two_cells()
    far.labels[5:12, 12:16] = 0
    assert np.isnan(cells.rows[8].score)


def test_splitting_gives_the_larger_part_the_number() -> None:
    line = np.array([[3, 7], [13, 7]], float)
    cells = done(two_cells(), gestures.split(two_cells(), line, by=BY))
    assert cells.numbers() == [3, 8, 9]
    assert cells.rows[3].area + cells.rows[9].area == 56
    assert cells.rows[3].area >= cells.rows[9].area
    assert {cells.rows[3].state, cells.rows[9].state} == {State.EDITED}


@pytest.mark.parametrize("line", [[[5, 5], [8, 5]], [[0, 0], [0, 29]], [[-50, -50], [-40, -40]]])
def test_a_line_that_divides_nothing_does_nothing(line: list[list[float]]) -> None:
    assert not gestures.split(two_cells(), np.array(line, float))


def test_a_diagonal_line_that_stops_at_the_edges_divides() -> None:
    cells = two_cells()
    change = gestures.split(cells, np.array([[5, 4], [11, 11]], float))
    assert done(cells, change).count() == 3


def test_a_line_along_a_stack_divides_the_cell_in_all_its_planes() -> None:
    labels = np.zeros((3, 20, 20), np.int32)
    labels[:, 5:15, 5:15] = 1
    cells = done(Cells.of(labels), gestures.split(Cells.of(labels), np.array([[2, 9], [18, 9]]), (1,)))
    assert cells.numbers() == [1, 2]
    assert all(set(np.unique(plane)) == {0, 1, 2} for plane in cells.labels)


def test_drawing_takes_the_next_number_and_leaves_accepted_cells_alone() -> None:
    cells = done(two_cells(), gestures.draw(two_cells(), SQUARE, by=BY))
    assert cells.rows[9].state is State.EDITED
    assert cells.rows[3] == two_cells().rows[3]


def test_drawing_over_most_of_a_guess_removes_it() -> None:
    over = np.array([[4, 17], [4, 26], [13, 26], [13, 17]], float)
    assert done(two_cells(), gestures.draw(two_cells(), over)).numbers() == [3, 9]
    beside = np.array([[4, 22], [4, 28], [13, 28], [13, 22]], float)
    trimmed = done(two_cells(), gestures.draw(two_cells(), beside))
    assert trimmed.numbers() == [3, 8, 9]
    assert trimmed.rows[8].state is State.GUESS
    assert trimmed.rows[8].area < 56


def test_two_separate_blobs_are_two_cells() -> None:
    across = np.array([[7, 1], [7, 14], [9, 14], [9, 1]], float)  # the accepted cell lies in its middle
    cells = done(two_cells(), gestures.draw(two_cells(), across))
    assert cells.numbers() == [3, 8, 9, 10]
    assert cells.rows[3] == two_cells().rows[3]


def test_drawing_outside_or_over_accepted_cells_alone_does_nothing() -> None:
    assert not gestures.draw(two_cells(), SQUARE + 100)
    inside = np.array([[6, 5], [6, 10], [10, 10], [10, 5]], float)
    assert not gestures.draw(two_cells(), inside)
    assert gestures.draw(two_cells(), inside - [0, 7])  # half outside: what is inside counts


def test_another_reading_replaces_the_first() -> None:
    cells = two_cells()
    first = gestures.place(cells, np.ones((3, 3), bool), (-1, -1), score=0.9)
    done(cells, first)
    (number,) = set(first.touched)
    assert cells.rows[number].area == 4
    assert cells.rows[number].state is State.CHECKED
    larger = gestures.place(cells, np.ones((4, 4), bool), (0, 0), score=0.8, instead_of=number)
    assert done(cells, larger).rows[number].area == 16
    assert not gestures.place(cells, np.ones((3, 3), bool), (500, 0))


def test_numbers_never_overflow() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[15, 15] = LARGEST_NUMBER
    labels[15, 17] = 1
    cells = done(Cells.of(labels), gestures.draw(Cells.of(labels), SQUARE))
    assert cells.numbers() == [1, 2, LARGEST_NUMBER]


# --- strokes --------------------------------------------------------------------------------------


def stroke(cells: Cells, where: tuple[slice, ...], value: int) -> Cells:
    """Paint as napari does, in place and told afterwards; undo must bring the cells back all the same."""
    before = cells.copy()
    indices = tuple(axis.ravel() for axis in np.mgrid[where])
    old = cells.labels[indices].copy()
    cells.labels[indices] = value
    history = History()
    change = history.do(cells, painted(cells, *stroke_of(cells.labels, [(indices, old)]), BY))
    consistent(cells)
    after = cells.copy()
    history.undo(cells)
    assert cells == before
    history.redo(cells)
    assert cells == after
    assert change
    return cells


def test_painting_a_new_number_makes_an_edited_cell() -> None:
    cells = stroke(two_cells(), (slice(15, 18), slice(2, 6)), 40)
    assert cells.rows[40].state is State.EDITED
    assert cells.rows[40].author == "anna"


def test_two_blobs_of_one_number_are_two_cells() -> None:
    cells = stroke(two_cells(), (slice(15, 18), slice(2, 6)), 3)
    assert cells.numbers() == [3, 8, 9]
    assert cells.rows[3].box == two_cells().rows[3].box


def test_erasing_through_a_cell_makes_two_and_erasing_its_rim_makes_it_edited() -> None:
    cells = stroke(two_cells(), (slice(8, 9), slice(0, 14)), 0)
    assert cells.numbers() == [3, 8, 9]
    rim = stroke(two_cells(), (slice(5, 6), slice(16, 24)), 0)
    assert rim.numbers() == [3, 8]
    assert rim.rows[8].state is State.EDITED


def test_painting_over_a_guess_drops_it_from_half_on() -> None:
    assert stroke(two_cells(), (slice(5, 12), slice(12, 22)), 3).numbers() == [3]
    trimmed = stroke(two_cells(), (slice(5, 12), slice(12, 18)), 3)
    assert trimmed.rows[8].state is State.GUESS
    assert trimmed.rows[8].score == 0.4


def test_erasing_all_of_a_cell_removes_its_row() -> None:
    assert stroke(two_cells(), (slice(0, 20), slice(0, 14)), 0).numbers() == [8]


def test_a_drag_that_crosses_itself_knows_what_was_there_first() -> None:
    cells = two_cells()
    labels = cells.labels
    spot = (np.array([6]), np.array([6]))
    labels[spot] = 9
    labels[spot] = 0
    box, before = stroke_of(labels, [(spot, np.array([3])), (spot, np.array([9]))])
    assert before.tolist() == [[3]]
    assert box == ((6, 7), (6, 7))


# --- guesses --------------------------------------------------------------------------------------


def test_renewing_drops_guesses_and_never_touches_accepted_cells() -> None:
    cells = two_cells()
    found = np.zeros((20, 30), np.int32)
    found[6:13, 5:13] = 1  # lies on cell 3
    found[0:5, 20:26] = 2
    found[10:18, 11:20] = 3  # touches cell 3
    renewed = done(cells, renew_guesses(cells, found, [0.9, 0.8, 0.7]))
    assert renewed.rows[3] == two_cells().rows[3]
    guesses = renewed.numbers(State.GUESS)
    assert [renewed.rows[n].score for n in guesses] == [0.8, 0.7]
    assert renewed.labels[11, 11] == 3


def test_renewing_a_window_leaves_the_guesses_elsewhere() -> None:
    cells = two_cells()
    change = renew_guesses(cells, np.zeros((20, 10), np.int32), window=((0, 20), (0, 10)))
    assert not change
    found = np.zeros((20, 10), np.int32)
    found[15:18, 2:5] = 77
    done(cells, renew_guesses(cells, found, {77: 0.6}, ((0, 20), (0, 10))))
    assert cells.numbers() == [3, 8, 9]
    assert cells.rows[9].score == 0.6


def test_what_is_found_again_stays_the_guess_that_it_was() -> None:
    cells = two_cells()
    found = np.zeros((20, 30), np.int32)
    found[5:12, 16:24] = 2  # cell 8
    found[15:18, 2:5] = 1
    change = renew_guesses(cells, found, [0.9, 0.7])
    done(cells, change)
    assert cells.numbers() == [3, 4, 8]
    assert (cells.rows[8].score, cells.rows[4].score) == (0.7, 0.9)
    assert change.box == ((15, 18), (2, 5)), "only pixels that are others are set"
    assert not renew_guesses(cells, found, [0.9, 0.7])


def test_a_small_guess_over_a_large_cell_and_a_large_guess_over_a_small_one_are_dropped() -> None:
    cells = two_cells()
    found = np.zeros((20, 30), np.int32)
    found[7:9, 5:8] = 1
    assert not done(two_cells(), renew_guesses(cells, found, [1])).numbers(State.GUESS)
    found[:] = 1
    assert not done(two_cells(), renew_guesses(cells, found, [1])).numbers(State.GUESS)


def test_certainty_hides_without_a_prediction() -> None:
    labels = np.array([[1, 0, 2, 0, 3]], np.int32)
    cells = guesses_of(labels, [0.9, 0.2, 0.6])
    assert gestures.hidden(cells, 0.5) == [2]


def test_regions_are_undone_too() -> None:
    cells = two_cells()
    done(cells, with_region(cells, [(0, 0), (10, 10)]))
    assert cells.regions == (((0.0, 0.0), (10.0, 10.0)),)


def test_what_cannot_be_is_said() -> None:
    cells = two_cells()
    for wrong in (
        lambda: gestures.accept(cells, [99]),
        lambda: gestures.merge(cells, 3, 99),
        lambda: gestures.draw(cells, SQUARE[:2]),
        lambda: gestures.split(cells, SQUARE[:1]),
        lambda: renew_guesses(cells, np.zeros((3, 3), np.int32)),
        lambda: stroke_of(cells.labels, []),
    ):
        with pytest.raises(InputError, match=r"[.:]"):
            wrong()


def test_a_change_that_comes_too_late_is_refused() -> None:
    cells = two_cells()
    late = gestures.accept(cells, [8])
    cells.apply(gestures.delete(cells, [8]))
    with pytest.raises(InputError, match="changed in the meantime"):
        cells.apply(late)


def test_guesses_across_the_sides_of_a_window_can_be_kept() -> None:
    cells = two_cells()
    window = ((0, 20), (0, 20))  # through the guess
    nothing = np.zeros((20, 20), np.int32)
    assert 8 in done(cells, renew_guesses(cells, nothing, window=window, keeps_cut=True)).rows
    assert 8 not in done(cells, renew_guesses(cells, nothing, window=window)).rows


def linked_stack() -> np.ndarray:
    """Two cells through five planes."""
    found = np.zeros((5, 20, 30), np.int32)
    found[:, 2:8, 2:8], found[:, 10:16, 20:26] = 1, 2
    return found


def test_a_cell_erased_in_one_plane_stays_one_cell_in_the_others() -> None:
    """It is erased there to be drawn anew."""
    cells = Cells.of(linked_stack())
    stroke(cells, (slice(2, 3), slice(0, 10), slice(0, 10)), 0)
    assert cells.labels[:, 4, 4].tolist() == [1, 1, 0, 1, 1]
    assert cells.numbers() == [1, 2]
    stroke(cells, (slice(2, 3), slice(3, 8), slice(3, 8)), 1)
    assert cells.labels[:, 4, 4].tolist() == [1, 1, 1, 1, 1], "painted with its number, it is whole again"
    assert cells.numbers() == [1, 2]


def test_a_cut_in_one_plane_gives_a_number_to_what_hangs_on_nothing_else() -> None:
    labels = np.zeros((3, 20, 30), np.int32)
    labels[:2, 2:8, 2:8], labels[2, 2:8, 2:14] = 1, 1
    cells = Cells.of(labels)
    stroke(cells, (slice(2, 3), slice(0, 10), slice(8, 9)), 0)
    assert cells.labels[:, 4, 4].tolist() == [1, 1, 1]
    assert cells.labels[2, 4, 12] not in (0, 1)


def test_a_guess_of_several_planes_gives_way_only_where_a_cell_is_accepted() -> None:
    labels = np.zeros((5, 20, 30), np.int32)
    labels[2, 2:8, 2:8], labels[3, 15:19, 20:26] = 5, 6  # on the first; touches the second
    cells = Cells.of(labels.copy())
    done(cells, renew_guesses(cells, linked_stack(), [0.9, 0.8]))
    first, second = cells.numbers(State.GUESS)
    assert [bool((plane == first).any()) for plane in cells.labels] == [True, True, False, True, True]
    assert [int((plane == second).sum()) for plane in cells.labels] == [36, 36, 36, 30, 36]
    assert np.array_equal(np.where(np.isin(cells.labels, [5, 6]), cells.labels, 0), labels)
    again = renew_guesses(cells, linked_stack(), [0.9, 0.8])
    assert not again, "found again, they are the same guesses"


def test_an_accepted_cell_of_several_planes_is_not_found_once_more_in_one_of_them() -> None:
    cells = Cells.of(linked_stack())
    found = linked_stack()[2:3]
    assert not renew_guesses(cells, found, [0.9, 0.8], ((2, 3), (0, 20), (0, 30)))


@pytest.mark.parametrize("planes", [1, 2])
def test_a_guess_beside_a_cell_that_a_window_cuts_is_only_trimmed(planes: int) -> None:
    labels = np.zeros((3, 40, 60), np.int32)
    labels[:planes, 5:25, 5:25] = 1  # four of its columns are in the window
    cells = Cells.of(labels)
    found = np.zeros((40, 39), np.int32)
    found[5:25, 1:12] = 1
    done(cells, renew_guesses(cells, found, [0.9], ((0, 1), (0, 40), (21, 60))))
    assert [cells.rows[n].area for n in cells.numbers(State.GUESS)] == [160]


def test_renewing_one_plane_leaves_guesses_in_the_others() -> None:
    cells = guesses_of(linked_stack(), [0.9, 0.8])
    plane = ((2, 3), (0, 20), (0, 30))
    found = np.zeros((20, 30), np.int32)
    found[2:8, 3:9], found[12:18, 20:26] = 1, 2  # the first is much the same, of the second half is
    done(cells, renew_guesses(cells, found, [0.7, 0.6], plane))
    assert (cells.labels[:, 4, 4] == 1).all(), "still one cell through all planes"
    assert cells.labels[:, 14, 22].tolist() == [2, 2, 3, 2, 2]
    assert {n: (row.area, row.box[0]) for n, row in cells} == {
        1: (180, (0, 5)),
        2: (144, (0, 5)),
        3: (36, (2, 3)),
    }
    done(cells, renew_guesses(cells, np.zeros((20, 30), np.int32), window=plane))
    assert cells.numbers() == [1, 2]
    assert not cells.labels[2].any()


@pytest.mark.parametrize("by", ["outline", "brush"])
def test_a_cell_over_a_guess_of_several_planes_takes_one_plane_of_it(by: str) -> None:
    cells = guesses_of(linked_stack(), [0.9, 0.8])
    if by == "outline":
        done(cells, gestures.draw(cells, np.array([[3, 3], [3, 8], [8, 8], [8, 3]], float), (2,)))
    else:
        stroke(cells, (slice(2, 3), slice(3, 8), slice(3, 8)), 7)
    (drawn,) = cells.numbers(State.EDITED)
    assert set(np.unique(cells.labels[2, :9])) == {0, drawn}, "no crumb of the guess is left"
    assert cells.labels[:, 4, 4].tolist() == [1, 1, drawn, 1, 1]
    assert (cells.rows[1].area, cells.rows[1].state) == (144, State.GUESS)
