"""The Annotate widget in a real window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mouse import Mouse
from napari.layers import Labels, Shapes
from qtpy.QtCore import Qt

from napari_cupre.events import RunState
from napari_cupre.widgets.annotate_widget import AnnotateWidget

WAIT = 20_000


@pytest.fixture
def widget(viewer: Any, discs: tuple[np.ndarray, np.ndarray]) -> AnnotateWidget:
    viewer.add_image(discs[0], name="field", scale=(0.5, 0.5), translate=(7, 0))
    widget = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Annotate")
    return widget


def test_it_says_what_to_do_without_an_image(viewer: Any) -> None:
    widget = AnnotateWidget(viewer)
    assert "Open an image first" in widget.advice.text
    assert not widget.find_row.button.isEnabled()
    assert not widget.next_cell.isEnabled()
    viewer.add_image(np.zeros((20, 20)), name="late")
    assert widget.find_row.button.isEnabled()
    assert "find cells and accept some, or draw a few" in widget.advice.text


def test_the_cells_lie_on_the_image_and_the_brush_is_in_hand(viewer: Any, widget: AnnotateWidget) -> None:
    widget.next_cell.click()
    assert [layer.name for layer in viewer.layers] == ["field", "field cells"], (
        "no layer that nobody asked for"
    )
    widget.all_marked.click()
    image, cells, regions = (viewer.layers[f"field{end}"] for end in ("", " cells", " regions"))
    assert cells.data.dtype == np.int32
    assert cells.data.shape == image.data.shape
    for layer in (cells, regions):
        np.testing.assert_allclose(layer.scale, image.scale)
        np.testing.assert_allclose(layer.translate, image.translate)
    assert cells.mode == "paint"
    assert cells.selected_label == 1
    widget.next_cell.click()
    assert viewer.layers.selection.active.name == "field cells"


def test_counts_follow_the_brush_at_once(
    widget: AnnotateWidget, discs: tuple[np.ndarray, np.ndarray], viewer: Any
) -> None:
    widget.next_cell.click()
    cells = viewer.layers["field cells"]
    cells.data = np.where(discs[1] <= 6, discs[1], 0)
    assert widget.status.text() == "<b>6</b> cells: 6 edited"
    assert "you can train" in widget.advice.text
    widget.next_cell.click()
    assert cells.selected_label == 7
    cells.paint((100, 100), 7)
    assert "<b>7</b> cells" in widget.status.text()
    cells.undo()
    assert "<b>6</b> cells" in widget.status.text()
    cells.undo()
    assert widget.status.text() == "No cells yet."


def test_a_region_makes_its_area_known(
    widget: AnnotateWidget, discs: tuple[np.ndarray, np.ndarray], viewer: Any, qtbot: Any
) -> None:
    widget.next_cell.click()
    viewer.layers["field cells"].data = np.where(discs[1] <= 18, discs[1], 0)  # those of the upper half
    widget.region.click()
    regions = viewer.layers["field regions"]
    assert regions.mode == "add_rectangle"
    size = discs[0].shape[0]
    regions.add_rectangles(np.array([[0, 0], [size / 2 - 1, size]], float))
    qtbot.waitUntil(lambda: "1 region" in widget.status.text(), timeout=WAIT)
    (shot,) = shots(widget)
    assert shot.known[: size // 2 - 1].all()
    assert not shot.known[size // 2 + 8 :].any()
    cells = widget.session.make_cells(widget.session.image)
    cells.undo()
    assert len(regions.data) == 0
    cells.redo()
    assert len(regions.data) == 1


def shots(widget: AnnotateWidget) -> list[Any]:
    from napari_cupre.widgets.snapshot import Snapshot

    session, image = widget.session, widget.session.image
    assert image is not None
    return list(Snapshot.of(session.make_cells(image), session.annotation(image).background).shots())


def test_background_has_a_layer_of_its_own_and_is_no_cell(
    widget: AnnotateWidget, discs: tuple[np.ndarray, np.ndarray], viewer: Any
) -> None:
    widget.next_cell.click()
    viewer.layers["field cells"].data = np.where(discs[1] <= 2, discs[1], 0)
    widget.background.click()
    background = viewer.layers["field background"]
    assert viewer.layers.selection.active.name == "field background"
    assert background.mode == "paint"
    assert background.selected_label == 1
    background.data = np.ones_like(background.data)
    assert "<b>2</b> cells" in widget.status.text()
    (shot,) = shots(widget)
    assert shot.known.all()
    widget.background.click()
    assert sum(layer.name.startswith("field background") for layer in viewer.layers) == 1


def test_the_key_takes_the_next_cell_also_when_the_widget_is_gone(
    workbench: Any, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    viewer, widget = workbench.viewer, workbench.annotate
    viewer.add_image(discs[0], name="field")
    widget.next_cell.click()
    cells = viewer.layers["field cells"]
    cells.data = np.full_like(cells.data, 4)
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    viewer.layers.selection.active = viewer.layers["field"]
    mouse = Mouse(viewer)
    qtbot.waitUntil(lambda: mouse.canvas.isVisible(), timeout=WAIT)
    mouse.key(Qt.Key.Key_N)
    assert cells.selected_label == 5
    assert viewer.layers.selection.active.name == "field cells"


def test_another_labels_layer_can_be_the_cells(viewer: Any, widget: AnnotateWidget) -> None:
    viewer.add_labels(np.zeros((192, 192), np.int32), name="my own")
    widget.cells.value = next(c for c in widget.cells.choices if isinstance(c, Labels) and c.name == "my own")
    image = widget.session.image
    assert image is not None
    assert widget.session.annotation(image).cells.name == "my own"


def test_labels_that_do_not_fit_are_told_on_the_widget(
    viewer: Any, widget: AnnotateWidget, qtbot: Any
) -> None:
    viewer.add_labels(np.ones((10, 12), np.int32), name="small")
    widget.cells.value = next(c for c in widget.cells.choices if isinstance(c, Labels) and c.name == "small")
    qtbot.waitUntil(lambda: "(10, 12)" in widget.message.text, timeout=WAIT)
    assert "(192, 192)" in widget.message.text


def test_removed_and_renamed_layers_are_followed(viewer: Any, widget: AnnotateWidget) -> None:
    widget.next_cell.click()
    widget.all_marked.click()
    session, image = widget.session, widget.session.image
    viewer.layers["field cells"].name = "nuclei"
    assert "nuclei" in [str(choice) for choice in widget.cells.choices]
    viewer.layers.remove("nuclei")
    assert session.annotation(image).cells is None
    assert isinstance(session.annotation(image).regions, Shapes)
    viewer.layers.remove("field")
    assert session.image is None
    assert not widget.next_cell.isEnabled()


def test_axes_are_shown_and_a_wrong_guess_can_be_corrected(viewer: Any, widget: AnnotateWidget) -> None:
    viewer.add_image(np.zeros((4, 40, 50)), name="four")
    session = widget.session
    session.image = next(layer for layer in session.images() if layer.name == "four")
    chooser = widget.image
    assert chooser.axes.text() == "CYX"
    chooser.axes.setText("zyx")
    chooser.axes.editingFinished.emit()
    assert session.cell_image(session.image).axes == "ZYX"
    assert "4 planes" in chooser.reading.text()
    chooser.axes.setText("zz")
    chooser.axes.editingFinished.emit()
    assert "Axes" in widget.message.text
    assert session.cell_image(session.image).axes == "ZYX"


def test_all_marked_makes_the_whole_plane_known(
    viewer: Any, widget: AnnotateWidget, discs: tuple[np.ndarray, np.ndarray], qtbot: Any
) -> None:
    widget.next_cell.click()
    viewer.layers["field cells"].data = discs[1]
    widget.all_marked.click()
    assert "1 region" in widget.status.text()
    (shot,) = shots(widget)
    assert shot.known.all()
    widget.all_marked.click()
    assert "1 region" in widget.status.text(), "pressed twice, it is said once"


def test_annotations_of_another_program_are_imported_and_what_was_painted_stays(
    viewer: Any, widget: AnnotateWidget, discs: tuple[np.ndarray, np.ndarray], tmp_path: Path, qtbot: Any
) -> None:
    from napari_cupre.io.tiff import write_labels

    file = tmp_path / "made elsewhere.tif"
    write_labels(file, discs[1])
    for expected in ("field cells", "field cells (imported)"):
        widget.import_files(file)
        qtbot.waitUntil(lambda: widget.session.importing.status.state is RunState.DONE, timeout=WAIT)
        np.testing.assert_array_equal(viewer.layers[expected].data, discs[1])
        np.testing.assert_allclose(viewer.layers[expected].scale, (0.5, 0.5))
        assert widget.message.text == "36 cells read from made elsewhere.tif."
    image = widget.session.image
    assert image is not None
    assert widget.session.annotation(image).cells.name == "field cells (imported)"


def test_an_import_that_does_not_fit_is_told(
    viewer: Any, widget: AnnotateWidget, tmp_path: Path, qtbot: Any
) -> None:
    from napari_cupre.io.tiff import write_labels

    write_labels(tmp_path / "small.tif", np.ones((5, 6), np.int32))
    widget.import_files(tmp_path / "small.tif")
    qtbot.waitUntil(lambda: widget.session.importing.status.state is RunState.FAILED, timeout=WAIT)
    assert "(5, 6)" in widget.message.text
    assert "(192, 192)" in widget.message.text
    assert "field cells" not in viewer.layers
