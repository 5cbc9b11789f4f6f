"""In the real window no work is lost and nothing false is taught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Labels

from napari_cupre.widgets.guesses import cell_prints
from napari_cupre.widgets.session import METADATA_KEY

WAIT = 60_000


@pytest.fixture(autouse=True)
def no_engine(scripted_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these needs a process that imports torch."""
    monkeypatch.setattr(
        "napari_cupre.widgets.session.EngineProcess", lambda **_: scripted_engine(lambda request: iter(()))
    )


def shots(workbench: Any) -> list:
    session = workbench.annotate.session
    image = session.image
    return list(session.annotation(image).snapshot(session.cell_image(image)).shots())


def add_result(workbench: Any, labels: np.ndarray) -> Labels:
    """A result layer as Find cells leaves it."""
    session = workbench.annotate.session
    planes = [{"index": {}, "prints": cell_prints(labels)}]
    layer = Labels(
        labels.copy(),
        name=f"{session.image.name} cells (cupre)",
        metadata={METADATA_KEY: {"planes": planes, "axes": "YX"}},
    )
    session.viewer.add_layer(layer)
    session.add_result(session.image, layer)
    return layer


def test_all_are_marked_asks_about_the_cells_that_are_not(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    annotate = workbench.annotate
    annotate.new_layers.click()
    cells = workbench.viewer.layers["field cells"]
    cells.data_setitem(np.nonzero(discs[1] == 9), 1)
    annotate.all_marked.click()
    qtbot.waitUntil(
        lambda: "likely cells in this region are not annotated" in annotate.question.text, timeout=WAIT
    )
    assert "100 %" not in annotate.status.text()
    (shot,) = shots(workbench)
    assert not shot.known[discs[1] == 20].any(), "unanswered, it teaches nothing false"
    annotate.question.press("Show")
    assert workbench.viewer.layers["field likely cells"].data.any()
    annotate.question.press("Add")
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    count = len(np.unique(cells.data)) - 1
    assert abs(count - discs[1].max()) <= 2
    assert not workbench.viewer.layers["field likely cells"].visible
    cells.undo()
    assert len(np.unique(cells.data)) - 1 == 1, "one answer is one step of undo"
    qtbot.waitUntil(lambda: annotate.question.text != "", timeout=WAIT)
    annotate.question.press("No cells")
    qtbot.waitUntil(lambda: "100 %" in annotate.status.text(), timeout=WAIT)
    assert annotate.question.text == ""


def test_two_blobs_of_one_number_are_two_cells_and_holes_are_asked_about(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    workbench.viewer.add_image(discs[0], name="field")
    annotate = workbench.annotate
    annotate.new_layers.click()
    cells = workbench.viewer.layers["field cells"]
    cells.data_setitem(np.nonzero(np.isin(discs[1], [3, 17])), 5)
    qtbot.waitUntil(lambda: "<b>2</b> cells" in annotate.status.text(), timeout=WAIT)
    assert annotate.question.text == ""
    assert len(np.unique(cells.data)) == 3
    row, column = np.argwhere(discs[1] == 3).mean(axis=0).astype(int)
    cells.data_setitem((np.array([row]), np.array([column])), 0)
    qtbot.waitUntil(lambda: "hole" in annotate.question.text, timeout=WAIT)
    annotate.question.press("Keep")
    qtbot.waitUntil(lambda: annotate.question.text == "", timeout=WAIT)
    assert cells.data[row, column] == 0


def test_corrected_results_are_taught_within_the_region(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray]
) -> None:
    """docs/how-to/correcting.md, step by step."""
    workbench.viewer.add_image(discs[0], name="field")
    result = add_result(workbench, discs[1])
    row, column = np.argwhere(discs[1] == 1)[0]
    result.fill((row, column), 0)
    workbench.annotate.new_layers.click()
    workbench.annotate.region.click()
    regions = workbench.viewer.layers["field regions"]
    regions.add_rectangles(np.array([[-0.5, -0.5], [95.5, 191.5]]))
    (shot,) = shots(workbench)
    np.testing.assert_array_equal(shot.labels[:90] > 0, result.data[:90] > 0)
    assert shot.known[:90].mean() > 0.9
    assert not shot.known[100:].any()
    session = workbench.annotate.session
    session.choose_cells(session.image, result)
    (again,) = shots(workbench)
    np.testing.assert_array_equal(again.labels > 0, shot.labels > 0)


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
    annotate.new_layers.click()
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
    annotate.new_layers.click()
    viewer.layers["field cells"].data[3:9, 3:9] = 1
    viewer.layers.remove("field")
    viewer.add_image(np.ones((40, 50)), name="field")
    session = annotate.session
    assert session.annotation(session.image).cells is None
    annotate.new_layers.click()
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


def test_a_slider_that_moves_at_once_after_a_stroke_loses_no_count(workbench: Any, qtbot: Any) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((9, 40, 50)), name="stack")
    annotate.new_layers.click()
    qtbot.waitUntil(lambda: "<b>0</b> cells" in annotate.status.text(), timeout=WAIT)
    viewer.dims.set_point(0, 2)
    viewer.layers["stack cells"].paint((2, 20, 20), 1)
    viewer.dims.set_point(0, 7)
    qtbot.waitUntil(lambda: "<b>1</b> cell" in annotate.status.text(), timeout=WAIT)
    viewer.layers["stack cells"].undo()
    qtbot.waitUntil(lambda: "<b>0</b> cells" in annotate.status.text(), timeout=WAIT)


def test_an_undo_is_counted_though_the_stroke_fell_into_a_count_of_everything(
    workbench: Any, qtbot: Any
) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((9, 40, 50)), name="stack")
    annotate.new_layers.click()
    qtbot.waitUntil(lambda: "<b>0</b> cells" in annotate.status.text(), timeout=WAIT)
    counter = annotate._counter

    def is_idle() -> bool:
        return not (counter._running or counter._timer.isActive())

    qtbot.waitUntil(is_idle, timeout=WAIT)
    counter.all_changed()
    viewer.dims.set_point(0, 2)
    viewer.layers["stack cells"].paint((2, 20, 20), 1)
    viewer.dims.set_point(0, 7)
    qtbot.waitUntil(is_idle, timeout=WAIT)
    assert "<b>1</b> cell" in annotate.status.text()
    viewer.layers["stack cells"].undo()
    qtbot.waitUntil(lambda: "<b>0</b> cells" in annotate.status.text(), timeout=5000)


@pytest.mark.parametrize("placed", [{"scale": (2, 1, 1)}, {"translate": (3, 0, 0)}])
def test_all_are_marked_means_the_plane_on_show(workbench: Any, placed: dict[str, Any]) -> None:
    viewer, annotate = workbench.viewer, workbench.annotate
    viewer.add_image(np.zeros((20, 40, 50)), name="finer")
    image = viewer.add_image(np.zeros((9, 40, 50)), name="field", **placed)
    annotate.session.image = image
    annotate.new_layers.click()
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
    for widget, button in (
        (workbench.predict, workbench.predict.button),
        (workbench.train, workbench.train.button),
    ):
        button.click()
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
    assert "2 MB that Resume needs" in chooser.question.text
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
    annotate.import_file(tmp_path / "raw.tif")
    qtbot.waitUntil(lambda: annotate.session.importing.status.state.is_over, timeout=WAIT)
    assert "raw.tif" in annotate.message.text
    assert "grey values" in annotate.message.text
    assert "field cells" not in workbench.viewer.layers
