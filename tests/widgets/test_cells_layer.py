"""A layer and the cells of its image are one thing, whoever changes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_cupre.errors import InputError
from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import Cells, Change, State
from napari_cupre.project.gestures import accept, delete
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.annotation_layers import Annotation
from napari_cupre.widgets.cells_layer import CellsLayer, StoredCells
from napari_cupre.widgets.layers import cell_image
from napari_cupre.widgets.state_colours import HUES, StateColormap


def cells_of(shape: tuple[int, ...], axes: str | None = None, **placed: Any) -> CellsLayer:
    image = Image(np.zeros(shape), name="field", rgb=False, **placed)
    reading = cell_image(image, axes)
    empty = Cells.empty(reading.result_shape)
    layer = Annotation(image).new_cells(reading, empty.labels)
    return CellsLayer(image, reading, layer, StoredCells(empty))


def check(cells: CellsLayer) -> None:
    """Pixels, rows and features tell the same."""
    assert cells.is_bound
    assert {n: (cell.box, cell.area) for n, cell in cells.cells} == measured(cells.cells.labels)
    table = cells.layer.features
    assert list(table["index"]) == list(range(max(cells.cells.rows, default=0) + 1)), (
        "napari's table needs it"
    )
    table = table[table["state"].notna()]
    assert list(table["index"]) == cells.cells.numbers()
    assert list(table["state"]) == [str(cell.state) for _, cell in cells.cells]
    assert list(table["area"]) == [cell.area for _, cell in cells.cells]


def test_gestures_strokes_and_exchanged_labels_are_steps_of_one_undo(
    discs: tuple[np.ndarray, np.ndarray],
) -> None:
    cells = cells_of(discs[0].shape)
    seen: list[Change] = []
    cells.changed.connect(seen.append)
    states = [cells.cells.copy()]

    def done() -> None:
        check(cells)
        states.append(cells.cells.copy())

    cells.do(renew_guesses(cells.cells, discs[1], np.linspace(0, 1, 36)))
    done()
    assert cells.cells.count(State.GUESS) == discs[1].max()
    cells.do(lambda now: accept(now, [1, 2]))
    done()
    cells.do(lambda now: delete(now, [3]))
    done()
    cells.layer.brush_size = 6
    cells.layer.paint((100, 100), 500)
    done()
    assert cells.cells.rows[500].state is State.EDITED
    cells.layer.paint((3, 3), 500)
    done()
    assert cells.cells.rows[501].area == cells.cells.labels[:8, :8].astype(bool).sum(), "a cell of its own"
    cells.layer.fill(tuple(np.argwhere(cells.cells.labels == 5)[0]), 0)
    done()
    labels = cells.layer.data.copy()
    labels[50:60, 50:60] = 77
    cells.layer.data = labels
    done()
    assert cells.cells.rows[77].state is State.EDITED
    assert len(seen) == len(states) - 1
    for state in reversed(states[:-1]):
        cells.layer.undo()
        assert cells.cells == state
        check(cells)
    for state in states[1:]:
        cells.layer.redo()
        assert cells.cells == state
    check(cells)


def test_a_stroke_that_has_not_ended_is_taken_up_before_anything_else() -> None:
    cells = cells_of((40, 40))
    with cells.layer.block_history():
        cells.layer.paint((10, 10), 1)
        cells.do(lambda now: renew_guesses(now, np.pad(np.ones((10, 10), int), (25, 5))))
        check(cells)
        cells.layer.paint((10, 12), 1)
    check(cells)
    assert cells.cells.count(State.EDITED) == 1
    assert cells.cells.count(State.GUESS) == 1
    for counts in ((1, 1), (1, 0), (0, 0)):
        cells.undo()
        check(cells)
        assert (cells.cells.count(State.EDITED), cells.cells.count(State.GUESS)) == counts


def test_a_stroke_that_somebody_looks_at_meanwhile_is_still_one_step() -> None:
    cells = cells_of((40, 40))
    with cells.layer.block_history():
        cells.layer.paint((10, 10), 1)
        cells.settle()
        cells.layer.paint((10, 12), 1)
        cells.settle()
        cells.layer.paint((10, 14), 1)
    check(cells)
    cells.undo()
    assert len(cells.cells) == 0
    cells.redo()
    check(cells)
    assert len(cells.cells) == 1


@pytest.mark.parametrize("axes", ["ZYX", "ZCYX", "CZYX", "TZCYX", "YXZ", "YXC"])
def test_strokes_are_taken_up_on_any_axes(axes: str) -> None:
    sizes = {"T": 2, "Z": 4, "C": 3, "Y": 20, "X": 30}
    cells = cells_of(tuple(sizes[axis] for axis in axes), axes)
    viewer = ViewerModel()
    viewer.add_layer(cells.layer)
    place = {"T": 1, "Z": 2, "C": 0, "Y": 7, "X": 11}
    where = tuple(np.array([place[axis]]) for axis in cells.axes)
    cells.layer.data_setitem(where, 3)
    check(cells)
    expected = tuple(place[axis] for axis in cells.reading.result_axes)
    assert cells.cells.labels[expected] == 3
    world = cells.layer.data_to_world([place[axis] for axis in cells.axes])
    assert cells.at(world) == 3
    assert cells.position(world) == pytest.approx(expected)
    assert cells.world(expected) == pytest.approx(world)
    cells.undo()
    assert not cells.layer.data.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_a_layer_of_any_type_is_taken_over_as_a_persons(dtype: type) -> None:
    image = Image(np.zeros((20, 30)), name="field")
    labels = np.zeros((20, 30), dtype)
    labels[3:6, 3:6] = 1
    cells = CellsLayer(image, cell_image(image), Labels(labels))
    check(cells)
    assert cells.cells.count(State.EDITED) == 1
    cells.layer.paint((15, 15), 300)
    check(cells)


def test_what_cannot_be_taken_over_is_told(discs: tuple[np.ndarray, np.ndarray]) -> None:
    image = Image(discs[0], name="field")
    for layer, said in (
        (Labels(np.zeros((5, 6), int), name="small"), r"\(5, 6\).*\(192, 192\)"),
        (Labels(discs[0].astype(int)), "grey values"),
        (Labels([np.zeros((192, 192), int), np.zeros((96, 96), int)], multiscale=True), "pyramid"),
        (Labels(np.full((192, 192), -1)), "negative"),
    ):
        with pytest.raises(InputError, match=said):
            CellsLayer(image, cell_image(image), layer)


def test_data_that_do_not_fit_loose_the_layer_and_lose_nothing() -> None:
    cells = cells_of((40, 40))
    cells.layer.paint((10, 10), 1)
    cells.layer.data = np.zeros((5, 5), int)
    assert not cells.is_bound
    assert len(cells.cells) == 1
    cells.layer.data = np.zeros((40, 40), int)
    assert cells.is_bound
    assert len(cells.cells) == 0
    cells.undo()
    check(cells)
    assert len(cells.cells) == 1


def test_certainty_hides_guesses_at_once_and_keeps_them(discs: tuple[np.ndarray, np.ndarray]) -> None:
    cells = cells_of(discs[0].shape)
    cells.do(renew_guesses(cells.cells, discs[1], np.linspace(0, 1, 36)))
    cells.do(accept(cells.cells, [1]))
    middle = {n: np.argwhere(discs[1] == n).mean(axis=0) for n in (1, 2, 36)}
    cells.certainty = 0.5
    assert [cells.at(middle[n]) for n in (1, 2, 36)] == [1, 0, 36], "what a person accepted is never hidden"
    shown = cells.layer.colormap._data_to_texture(cells.cells.labels)
    assert (shown[discs[1] == 2] == 0).all()
    assert shown[discs[1] == 1].all()
    assert shown[discs[1] == 36].all()
    cells.certainty = 0
    assert cells.at(middle[2]) == 2
    check(cells)


def test_states_look_different_and_stay_so_when_the_colours_are_shuffled() -> None:
    cells = cells_of((40, 40))
    for column in (1, 11, 21):
        cells.cells.labels[5:12, column : column + 7] = column + 1
    states = {2: State.GUESS, 12: State.CHECKED, 22: State.EDITED}
    cells.show(StoredCells(Cells.of(cells.cells.labels, states)))
    for _ in range(2):
        colours = cells.layer.colormap
        assert isinstance(colours, StateColormap)
        rgba = np.asarray(colours.colors)[colours._data_to_texture(cells.cells.labels)]
        inner, edge = [tuple(rgba[8, x]) for x in (4, 14, 24)], [tuple(rgba[8, x]) for x in (1, 11, 21)]
        assert inner[0][3] < 0.5 < inner[1][3] == inner[2][3]
        assert edge[0][3] > 0.5
        assert edge[1] == inner[1]
        assert edge[2][:3] == (1, 1, 1)
        cells.layer.new_colormap()
    assert len(cells.layer.colormap.colors) == 2 * HUES + 3


def test_numbers_beyond_any_table_have_states_too() -> None:
    colours = StateColormap.like()
    labels = np.array([[0, 2_000_000_000, 2_000_000_000], [0, 3, 3]], np.int32)
    colours.show(Cells.of(labels, {2_000_000_000: State.GUESS, 3: State.CHECKED}).rows, certainty=0)
    kinds = np.asarray(colours.colors)[colours._data_to_texture(labels[:, 1])][:, 3]
    assert kinds[0] < 0.5 < kinds[1]
