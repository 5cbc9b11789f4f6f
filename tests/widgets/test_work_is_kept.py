"""In the real window no work is lost and nothing false is taught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Labels

from napari_cupre.project.cells import State
from napari_cupre.project.gestures import accept
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.session import METADATA_KEY
from napari_cupre.widgets.snapshot import Snapshot

WAIT = 20_000
pytestmark = pytest.mark.usefixtures("no_engine")


def cells_of(workbench: Any) -> CellsLayer:
    session = workbench.annotate.session
    return session.make_cells(session.image)


def shots(workbench: Any) -> list:
    session = workbench.annotate.session
    return list(Snapshot.of(cells_of(workbench), session.annotation(session.image).background).shots())


def begun(workbench: Any, image: np.ndarray) -> tuple[Any, Labels]:
    """The Annotate dock, and an empty layer of cells of the image."""
    workbench.viewer.add_image(image, name="field")
    workbench.annotate.next_cell.click()
    return workbench.annotate, workbench.viewer.layers["field cells"]


def find(workbench: Any, labels: np.ndarray) -> CellsLayer:
    """Guesses as Find cells leaves them."""
    cells = cells_of(workbench)
    cells.do(lambda now: renew_guesses(now, labels, np.linspace(0.9, 0.6, labels.max())))
    cells.searched.add(())
    return cells


def test_what_was_taken_back_can_be_done_again_while_likely_cells_are_looked_for(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate, layer = begun(workbench, discs[0])
    layer.data_setitem(np.nonzero(discs[1] == 9), 1)
    annotate.all_marked.click()
    layer.data_setitem(np.nonzero(discs[1] == 12), 2)
    cells = cells_of(workbench)
    layer.undo()
    shown: list[Any] = []
    monkeypatch.setattr(annotate.questioner, "_show", lambda *given: shown.append(given))
    qtbot.waitUntil(lambda: len(shown) > 0, timeout=WAIT)
    assert cells.cells.count(State.GUESS) == 0
    assert cells.redo() is not None
    qtbot.waitUntil(lambda: cells.cells.count(State.GUESS) > 0, timeout=WAIT)


def test_all_are_marked_asks_about_the_cells_that_are_not(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    annotate, layer = begun(workbench, discs[0])
    layer.data_setitem(np.nonzero(discs[1] == 9), 1)
    annotate.all_marked.click()
    (shot,) = shots(workbench)
    assert not shot.known[discs[1] == 20].any(), "trained at once, it teaches nothing false"
    qtbot.waitUntil(
        lambda: "likely cells in region 1 are not annotated" in annotate.question.text, timeout=WAIT
    )
    (shot,) = shots(workbench)
    assert not shot.known[discs[1] == 20].any(), "unanswered, it teaches nothing false"
    assert set(np.unique(shot.labels)) == {0, 1}
    cells = cells_of(workbench)
    assert abs(cells.cells.count(State.GUESS) - (discs[1].max() - 1)) <= 2, "they are shown as guesses"
    annotate.question.press("Add")
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    assert cells.cells.count(State.GUESS) == 0
    assert abs(len(cells.cells) - discs[1].max()) <= 2
    layer.undo()
    assert cells.cells.count(State.CHECKED) == 0, "one answer is one step of undo"
    qtbot.waitUntil(lambda: annotate.question.text != "", timeout=WAIT)
    annotate.question.press("No cells")
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    (shot,) = shots(workbench)
    assert shot.known.all()
    layer.undo()
    layer.undo()
    assert cells.cells.regions == ()
    assert len(cells.cells) == 1, "the guesses go with the region that asked for them"


def test_two_blobs_of_one_number_are_two_cells_and_holes_are_asked_about(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    annotate, layer = begun(workbench, discs[0])
    layer.data_setitem(np.nonzero(np.isin(discs[1], [3, 17])), 5)
    assert "<b>2</b> cells" in annotate.status.text()
    assert len(np.unique(layer.data)) == 3
    row, column = np.argwhere(discs[1] == 3).mean(axis=0).astype(int)
    layer.brush_size = 6
    layer.paint((row, column), 0)
    qtbot.waitUntil(lambda: "hole" in annotate.question.text, timeout=WAIT)
    annotate.question.press("Fill")
    assert layer.data[row, column]
    layer.undo()
    qtbot.waitUntil(lambda: "hole" in annotate.question.text, timeout=WAIT)
    annotate.question.press("Keep")
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    assert layer.data[row, column] == 0


def test_one_answer_serves_all_questions_of_a_kind_and_is_one_step_of_undo(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    annotate, layer = begun(workbench, discs[0])
    holes = [tuple(np.argwhere(discs[1] == which).mean(axis=0).astype(int)) for which in (3, 17)]
    for which, hole in zip((3, 17), holes):
        layer.data_setitem(np.nonzero(discs[1] == which), which)
        layer.brush_size = 6
        layer.paint(hole, 0)
    words = lambda: [button.text() for button in annotate.question.buttons]  # noqa: E731
    qtbot.waitUntil(lambda: "Fill all 2" in words(), timeout=WAIT)
    annotate.question.press("Fill all 2")
    assert all(layer.data[hole] for hole in holes)
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    layer.undo()
    assert not any(layer.data[hole] for hole in holes)


def test_imported_cells_of_several_parts_are_asked_about(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    labels = np.where(np.isin(discs[1], [3, 17]), 5, 0).astype(np.int32)
    layer = workbench.viewer.add_labels(labels, name="field cells")
    annotate = workbench.annotate
    qtbot.waitUntil(lambda: "Cell 5 has 2 parts that do not touch" in annotate.question.text, timeout=WAIT)
    annotate.question.press("Split")
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    assert len(np.unique(layer.data)) == 3


def test_guesses_teach_nothing_and_corrections_are_taught_within_the_region(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray]
) -> None:
    """docs/how-to/correcting.md, step by step."""
    workbench.viewer.add_image(discs[0], name="field")
    cells = find(workbench, discs[1])
    assert shots(workbench) == [], "a result that nobody touched teaches nothing"
    layer = cells.layer
    layer.fill(tuple(np.argwhere(discs[1] == 1)[0]), 0)
    layer.brush_size = 5
    row, column = np.argwhere(discs[1] == 2).mean(axis=0).astype(int)
    layer.paint((row - 8, column), 2)
    (shot,) = shots(workbench)
    np.testing.assert_array_equal(shot.labels > 0, layer.data == 2)
    assert not shot.known[discs[1] == 1].any(), "a guess that was removed is no background beyond a region"
    workbench.annotate.region.click()
    regions = workbench.viewer.layers["field regions"]
    regions.add_rectangles(np.array([[-0.5, -0.5], [95.5, 191.5]]))
    (shot,) = shots(workbench)
    assert not shot.known[discs[1] == 5].any(), "a guess in the region is unknown until somebody answers"
    inside = [n for n, cell in cells.cells if cell.box[0][1] <= 96]
    cells.do(lambda now: accept(now, inside))
    (shot,) = shots(workbench)
    np.testing.assert_array_equal(shot.labels[:90] > 0, layer.data[:90] > 0)
    assert shot.known[:90].mean() > 0.9
    assert not shot.known[104:].any()


def test_finding_again_keeps_what_a_person_did(workbench: Any, discs: tuple[np.ndarray, np.ndarray]) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    cells = find(workbench, discs[1])
    cells.do(lambda now: accept(now, [4]))
    cells.layer.brush_size = 5
    cells.layer.paint((2, 2), 500)
    cells.layer.fill(tuple(np.argwhere(discs[1] == 7)[0]), 500)
    before = {n: cells.cells.labels == n for n, cell in cells.cells if cell.state.teaches}
    assert len(before) == 3
    find(workbench, np.roll(discs[1], 5, axis=0))
    for number, pixels in before.items():
        np.testing.assert_array_equal(cells.cells.labels == number, pixels)
        assert cells.cells.rows[number].state.teaches
    assert len(workbench.viewer.layers) == 2, "no second layer"


def test_a_result_of_an_older_version_is_taken_over_as_guesses(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray]
) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    old = Labels(discs[1].copy(), name="old", metadata={METADATA_KEY: {"planes": [], "axes": "YX"}})
    session = workbench.annotate.session
    session.viewer.add_layer(old)
    session.choose_cells(session.image, old)
    cells = cells_of(workbench)
    assert cells.layer is old
    assert cells.cells.count(State.GUESS) == discs[1].max()
    cells.do(lambda now: accept(now, [1, 2]))
    session.choose_cells(session.image, None)
    session.choose_cells(session.image, old)
    again = cells_of(workbench)
    assert again is not cells
    assert again.cells.count(State.CHECKED) == 2, "the states lie in the layer"


@pytest.mark.parametrize(
    ("axes", "options"),
    [("TYX", {"imagej": True}), ("ZYX", {"ome": True}), ("ZYX", {"imagej": True}), ("ZCYX", {"ome": True})],
)
def test_the_axes_of_a_file_are_read_from_it(
    workbench: Any, tmp_path: Path, axes: str, options: dict[str, bool]
) -> None:
    sizes = {"T": 5, "Z": 5, "C": 2, "Y": 40, "X": 50}
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    pixels = np.zeros([sizes[axis] for axis in axes], np.uint8)
    tifffile.imwrite(path, pixels, metadata={"axes": axes}, photometric="minisblack", **options)
    workbench.viewer.open(path, plugin="napari")
    session = workbench.annotate.session
    assert session.cell_image(session.image).axes == axes
    assert workbench.annotate.image.axes.text() == axes


def test_axes_can_be_named_once_layers_exist_and_the_annotation_comes_along(workbench: Any) -> None:
    """Painted on what was taken for channels, the cell lies on the plane that was on show."""
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((5, 40, 50)), name="five")
    annotate.next_cell.click()
    annotate.all_marked.click()
    viewer.dims.set_point(0, 3)
    viewer.layers["five cells"].data[10:20, 10:20] = 4
    chooser = annotate.image
    for axes, shape, place in (("ZYX", (5, 40, 50), (3,)), ("CYX", (40, 50), ()), ("TYX", (5, 40, 50), (3,))):
        chooser.axes.setText(axes)
        chooser.axes.editingFinished.emit()
        session = annotate.session
        assert session.cell_image(session.image).axes == axes
        assert annotate.message.text == ""
        cells = viewer.layers["five cells"]
        assert cells.data.shape == shape
        assert (cells.data == 4).sum() == 100
        assert (cells.data[place][10:20, 10:20] == 4).all()
        (shot,) = shots(workbench)
        assert shot.known.all(), "the region came along"
        assert session.annotation(session.image).cells.name == "five cells"


def test_a_new_image_does_not_take_over_the_annotation_of_a_removed_one(workbench: Any) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((40, 50)), name="field")
    annotate.next_cell.click()
    viewer.layers["field cells"].data[3:9, 3:9] = 1
    viewer.layers.remove("field")
    viewer.add_image(np.ones((40, 50)), name="field")
    session = annotate.session
    assert session.annotation(session.image).cells is None
    annotate.next_cell.click()
    assert not session.annotation(session.image).cells.data.any()
    assert viewer.layers["field cells"].data.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16])
def test_the_next_cell_has_a_number_in_every_kind_of_layer(workbench: Any, dtype: type) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((20, 30)), name="field")
    labels = np.zeros((20, 30), dtype)
    labels[2:5, 2:5] = np.iinfo(dtype).max
    layer = viewer.add_labels(labels, name="field cells")
    annotate.next_cell.click()
    assert annotate.message.text == ""
    assert layer.selected_label not in (0, *np.unique(labels))
    layer.paint((15, 15), layer.selected_label)
    assert layer.data[15, 15] == layer.selected_label
    assert layer.data[3, 3] == np.iinfo(dtype).max


def test_a_pyramid_that_cannot_be_painted_is_told(workbench: Any) -> None:
    workbench.viewer.add_image(np.zeros((64, 64)), name="field")
    levels = [np.zeros((64, 64), np.int32), np.zeros((32, 32), np.int32)]
    workbench.viewer.add_labels(levels, multiscale=True, name="field cells")
    workbench.annotate.next_cell.click()
    assert "pyramid" in workbench.annotate.message.text


def test_a_slider_that_moves_at_once_after_a_stroke_loses_no_count(workbench: Any) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((9, 40, 50)), name="stack")
    annotate.next_cell.click()
    annotate.session.set_axes(annotate.session.image, "ZYX")
    viewer.dims.set_point(0, 2)
    viewer.layers["stack cells"].paint((2, 20, 20), 1)
    viewer.dims.set_point(0, 7)
    assert "<b>1</b> cell" in annotate.status.text()
    viewer.layers["stack cells"].undo()
    assert annotate.status.text() == "No cells yet."


def test_no_count_is_lost_while_questions_are_looked_for(workbench: Any, qtbot: Any) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((9, 40, 50)), name="stack")
    annotate.session.set_axes(annotate.session.image, "ZYX")
    annotate.next_cell.click()
    layer = viewer.layers["stack cells"]
    layer.brush_size = 2
    for turn in range(8):
        annotate.questioner._look()
        viewer.dims.set_point(0, turn)
        layer.paint((turn, 20, 20), 100 + turn)
        assert f"<b>{turn + 1}</b> cell" in annotate.status.text()
    for turn in range(7, 0, -1):
        annotate.questioner._look()
        layer.undo()
        assert f"<b>{turn}</b> cell" in annotate.status.text()
    qtbot.waitUntil(lambda: not annotate.questioner._is_looking, timeout=WAIT)
    assert "<b>1</b> cell" in annotate.status.text()


@pytest.mark.parametrize("placed", [{"scale": (2, 1, 1)}, {"translate": (3, 0, 0)}])
def test_all_are_marked_means_the_plane_on_show(workbench: Any, placed: dict[str, Any]) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((20, 40, 50)), name="finer")
    image = viewer.add_image(np.zeros((9, 40, 50)), name="field", **placed)
    annotate.session.image = image
    annotate.next_cell.click()
    viewer.dims.set_point(0, 8.0)
    shown = round(image.world_to_data(viewer.dims.point)[0])
    viewer.layers["field cells"].data[shown, 5:9, 5:9] = 1
    annotate.all_marked.click()
    (shot,) = shots(workbench)
    assert shot.known.all()
    assert shot.labels.any()


def test_a_picture_chosen_as_cells_is_refused(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    workbench.viewer.add_labels(discs[0].astype(np.int32), name="field cells")
    qtbot.waitUntil(lambda: "grey values" in workbench.annotate.message.text, timeout=WAIT)
    workbench.viewer.layers["field cells"].data = discs[1]
    qtbot.waitUntil(lambda: workbench.annotate.message.text == "", timeout=WAIT)


def test_the_other_images_of_a_file_are_offered(workbench: Any, tmp_path: Path, qtbot: Any) -> None:
    path = tmp_path / "three.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, name in enumerate(("one", "two", "three")):
            pixels = np.full((40, 50 + number), number, np.uint8)
            file.write(pixels, metadata={"axes": "YX", "Name": name}, photometric="minisblack")
    workbench.viewer.open(path, plugin="napari")
    note = workbench.annotate.scenes
    assert "contains 2 more images: two, three" in note.text
    note.press("Open all")
    qtbot.waitUntil(lambda: len(workbench.viewer.layers) == 3, timeout=WAIT)
    assert [layer.data.shape for layer in workbench.viewer.layers] == [(40, 50), (40, 51), (40, 52)]


def test_a_refusal_goes_when_its_cause_goes(workbench: Any) -> None:
    for widget, start in (
        (workbench.predict, workbench.predict.predict),
        (workbench.train, workbench.train.train),
    ):
        widget.attempt(start)
        assert widget.message.text
    workbench.viewer.add_image(np.zeros((20, 30)), name="field")
    assert workbench.predict.message.text == ""
    assert workbench.train.message.text == ""


def test_a_model_is_deleted_with_its_training_and_only_when_asked_for(
    workbench: Any, own_models: Path
) -> None:
    (own_models / "mine.safetensors").write_bytes(b"weights")
    (own_models / "mine.run").mkdir()
    (own_models / "mine.run" / "state.safetensors").write_bytes(b"x" * 2_000_000)
    chooser = workbench.predict.model
    chooser.refresh()
    assert not chooser.delete_button.isEnabled(), "the bundled one stays"
    chooser.value = "mine"
    chooser.delete_button.click()
    assert "2 MB for Resume" in chooser.question.text
    chooser.question.press("Keep")
    assert (own_models / "mine.safetensors").exists()
    assert chooser.question.text == ""
    chooser.delete_button.click()
    chooser.question.press("Delete")
    assert not list(own_models.glob("mine*"))
    assert chooser.value != "mine"


def test_a_picture_is_not_imported_as_cells(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], tmp_path: Path, qtbot: Any
) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    tifffile.imwrite(tmp_path / "raw.tif", discs[0])
    annotate = workbench.annotate
    annotate.import_files(tmp_path / "raw.tif")
    qtbot.waitUntil(lambda: annotate.session.importing.status.state.is_over, timeout=WAIT)
    assert "raw.tif" in annotate.message.text
    assert "grey values" in annotate.message.text
    assert "field cells" not in workbench.viewer.layers
