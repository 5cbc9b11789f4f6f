"""Images one after the other in a real window: from files, folders, planes, fields, and a project's own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from annotating import guesses_of
from mouse import Mouse
from plates import write_plate
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cupre.project.cells import Change
from napari_cupre.project.gestures import accept, draw
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files, last_shown
from napari_cupre.project.recent import shown_last
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.looking import camera_of, grid_of, is_seen
from napari_cupre.widgets.reading import project_reader
from napari_cupre.widgets.rubber import canvas_of
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.tools import Tool

WAIT = 60_000
SQUARE = np.array([(10, 10), (10, 24), (24, 24), (24, 10)])


@pytest.fixture
def folder(tmp_path: Path, discs: Any) -> Path:
    """A folder of twelve images that differ."""
    return write_plate(tmp_path / "plate", discs[0], 12)


@pytest.fixture
def project(folder: Path, tmp_path: Path, discs: Any) -> Path:
    """A project of them: cells in two, guesses in one."""
    with Project.create(tmp_path / "work") as project:
        add_files(project, folder)
        project.cells("well_3").apply(draw(project.cells("well_3"), SQUARE))
        guesses = guesses_of(discs[1])
        guesses.apply(accept(guesses, [1, 2]))
        project.hold("well_5", guesses)
        project.save()
        return project.folder


@pytest.fixture
def session(workbench: Any) -> Any:
    return workbench.annotate.session


def shown(session: Any, qtbot: Any, name: str) -> Any:
    qtbot.waitUntil(
        lambda: session.image is not None and session.image.name == name and not session.queue.is_busy,
        timeout=WAIT,
    )
    return session.image


def test_a_project_shows_the_image_that_was_worked_on_last(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    workbench.viewer.open(str(project), plugin="napari-cupre")
    image = shown(session, qtbot, "well_5")
    row = workbench.annotate.queue_row
    assert row.name.text().startswith("5 / 12")
    assert "36 cells, 2 checked" in row.name.toolTip()
    assert session.cells_of(image).cells.count() == 36
    qtbot.waitUntil(
        lambda: session.queue.state(session.queue.items()[2]) == "1 cell, 1 checked", timeout=WAIT
    )
    assert session.queue.state(session.queue.items()[0]) == "never seen"
    session.keeper.project.image("well_1").seen = True
    assert session.queue.state(session.queue.items()[0]) == "no cells yet"


def test_a_project_opened_again_shows_the_image_that_was_looked_at_last(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    shown(session, qtbot, "well_5")
    document = (project / "project.json").read_bytes()
    workbench.annotate.queue_row.forth.click()
    shown(session, qtbot, "well_6")
    id = session.keeper.project.document.id
    qtbot.waitUntil(lambda: shown_last(id) == "well_6", timeout=WAIT)
    with Project.open(project, look_only=True) as again:
        assert last_shown(again, [image.stem for image in again.images]) == "well_6"
        assert last_shown(again, ["well_1", "well_3", "well_5"]) == "well_5", "of these, changed last"
    assert (project / "project.json").read_bytes() == document, "whoever only looks changes nothing"


def test_keys_step_through_the_images_and_only_a_few_stay(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    viewer = workbench.viewer
    session.keeper.open(project)
    shown(session, qtbot, "well_5")
    mouse = Mouse(viewer)
    qtbot.waitUntil(lambda: mouse.canvas.isVisible(), timeout=WAIT)
    for name in ("well_6", "well_7", "well_8", "well_9"):
        QTest.qWait(50)
        mouse.key(Qt.Key.Key_Period)
        image = shown(session, qtbot, name)
        others = [layer for layer in session.images() if layer is not image]
        assert image.visible
        assert not any(layer.visible for layer in others)
    qtbot.waitUntil(lambda: len(session.images()) == 3, timeout=WAIT)
    assert not [x for x in viewer.layers if x.name.startswith("well_5")], "its cells went with it"
    qtbot.waitUntil(lambda: "well_10" in session.queue._read, timeout=WAIT)
    mouse.key(Qt.Key.Key_Period)
    assert session.image.name == "well_10", "what was read ahead is there at once"
    mouse.key(Qt.Key.Key_Comma)
    assert session.image.name == "well_9"


def test_layers_are_used_again_for_the_images_that_come(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    viewer, queue = workbench.viewer, session.queue
    session.keeper.open(project)
    first = shown(session, qtbot, "well_5")
    cells = session.cells_of(first)
    cells.do(lambda now: draw(now, np.array([(100, 100), (100, 120), (120, 120), (120, 100)])))
    drawn = cells.cells
    for name in ("well_4", "well_3", "well_2"):
        queue.go(-1)
        image = shown(session, qtbot, name)
    assert image is first
    assert len(session.images()) == 3
    assert np.array_equal(image.data, tifffile.imread(session.keeper.project.find(cells.entry)))
    assert cells.cells is not drawn
    assert not cells.layer.data.any()
    assert cells.layer.name == "well_2 cells"
    assert not cells.undo(), "what was done in the other image is not undone in this one"
    assert "never" not in queue.state(queue.items()[4])
    for name in ("well_3", "well_4", "well_5"):
        queue.go(1)
        image = shown(session, qtbot, name)
    again = session.cells_of(image)
    assert again.cells is drawn or again.cells == drawn
    raw = again.layer._slice.image
    assert np.array_equal(raw.view, again.layer.colormap._data_to_texture(np.asarray(raw.raw)))
    assert [layer.visible for layer in viewer.layers if layer.name.startswith("well_5")] == [True, True]


def test_layers_are_used_again_for_images_of_another_size(
    workbench: Any, session: Any, tmp_path: Path, qtbot: Any
) -> None:
    sizes = {"a": (96, 128), "b": (64, 64), "c": (200, 90), "d": (60, 300), "e": (256, 250)}
    for name, size in sizes.items():
        pixels = np.arange(size[0] * size[1], dtype=np.uint16).reshape(size)
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    queue, viewer = session.queue, workbench.viewer
    queue.add_files([tmp_path])
    first = shown(session, qtbot, "a")
    corners = np.array([(10, 10), (10, 40), (40, 40), (40, 10)], float)
    session.make_cells(first).do(lambda now: draw(now, corners))
    for step, names in ((1, "bcde"), (-1, "dcba")):
        for name in names:
            queue.go(step)
            image = shown(session, qtbot, name)
            cells = session.cells_of(image)
            assert image.data.shape == cells.cells.shape == cells.layer.data.shape == sizes[name]
            assert len(session.images()) <= 3
            assert not session.fault_of(image)
            assert cells.cells.count() == (name == "a")
            # all of it is seen, and the mouse meets the pixel that it points at
            view = cells.layer._slice.image
            assert view.view.shape == sizes[name]
            assert np.array_equal(view.view, cells.layer.colormap._data_to_texture(np.asarray(view.raw)))
            np.testing.assert_allclose(np.ptp(image.extent.world, axis=0) + 1, sizes[name])
    assert len({id(each) for each in (first, *session.images())}) == 3, "no layer was made for d and e"
    cells.do(lambda now: draw(now, corners + 50))
    assert cells.cells.count() == 2
    assert viewer.layers["a cells"].data[60, 60]


def test_an_outline_that_comes_late_is_not_put_into_the_next_image(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    from napari_cupre.widgets.prompts import Answer, Plane, Prompt

    session.keeper.open(project)
    layer = shown(session, qtbot, "well_5")
    plane = Plane(layer, session.cell_image(layer), {}, session.model, 0)
    late = Answer(Prompt(1, plane, point=(50, 50)), (np.ones((9, 9), bool),), ((46, 46),), (0.9,))
    for name in ("well_6", "well_7", "well_8"):
        session.queue.go(1)
        image = shown(session, qtbot, name)
    assert image is layer
    session.tools.prompter.answered.emit(late)
    assert not len(session.cells_of(image).cells)


def test_what_is_drawn_in_each_image_stays_with_it(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    shown(session, qtbot, "well_5")
    session.tools.take(Tool.DRAW)
    for name in ("well_6", "well_7", "well_8", "well_9", "well_10"):
        session.queue.go(1)
        image = shown(session, qtbot, name)
        assert session.tools.tool is Tool.DRAW, "the tool stays in hand"
        assert workbench.viewer.layers.selection.active is session.cells_of(image).layer
        session.cells_of(image).do(lambda now: draw(now, SQUARE))
    session.keeper.save()
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    session.queue._forget_old()
    assert len(session.images()) == 3
    session.queue.show(next(item for item in session.queue.items() if item.name == "well_6"))
    image = shown(session, qtbot, "well_6")
    assert len(session.cells_of(image).cells) == 1
    session.close()
    with Project.open(project) as again:
        counts = {each.stem: len(again.cells(each.stem)) for each in again.images}
        assert {k: v for k, v in counts.items() if v} == {
            "well_3": 1, "well_5": 36, "well_6": 1, "well_7": 1, "well_8": 1, "well_9": 1, "well_10": 1
        }  # fmt: skip


def test_a_folder_of_images_becomes_a_queue(workbench: Any, session: Any, folder: Path, qtbot: Any) -> None:
    (folder / "broken.tif").write_bytes(b"no image")
    session.queue.add_files([folder])
    shown(session, qtbot, "well_1")
    assert workbench.annotate.queue_row.name.text().startswith("1 / 12")
    assert "broken.tif" in workbench.annotate.save_line.question.text
    workbench.annotate.save_line.question.press("OK")
    session.queue.add_files([folder / "well_2.tif"])
    qtbot.waitUntil(lambda: "already" in session.keeper.notice, timeout=WAIT)
    assert len(session.queue.items()) == 12


def test_open_layers_are_a_queue_too(workbench: Any, session: Any, discs: Any) -> None:
    viewer = workbench.viewer
    first, second = (viewer.add_image(discs[0], name=name) for name in ("one", "two"))
    session.image = first
    session.queue.go(1)
    assert session.image is second
    assert not first.visible
    session.queue.go(1)
    assert session.image is second, "there is no third"
    session.queue.go(-1)
    assert session.image is first
    assert (first.visible, second.visible) == (True, False)


def test_an_image_that_is_opened_over_another_is_the_one_to_work_on(
    workbench: Any, session: Any, discs: Any
) -> None:
    viewer, chooser = workbench.viewer, workbench.annotate.image
    first = viewer.add_image(discs[0], name="one")
    second = viewer.add_image(discs[0], name="two")
    assert session.image is second, "it hides the first"
    viewer.add_image(discs[0], name="a channel", blending="additive")
    assert session.image is second, "it is seen too"
    chooser.combo.value = first
    assert session.image is first
    assert (first.visible, second.visible) == (True, False), "what is chosen is seen"


def test_the_brush_is_put_down_with_its_image(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    items = session.queue.items()
    for item in [*items, *items]:  # layers are used again
        session.queue.show(next(each for each in session.queue.items() if each.stem == item.stem))
        qtbot.waitUntil(lambda item=item: session.image.name == item.name, timeout=WAIT)
        layer = session.cells_of(session.image).layer
        assert layer.mode == "pan_zoom"
        workbench.annotate.next_cell.click()
        assert layer.mode == "paint"


def test_the_image_on_show_is_seen_whole_and_is_what_the_keys_mean(
    workbench: Any, session: Any, discs: Any
) -> None:
    viewer = workbench.viewer
    large = viewer.add_image(np.tile(discs[0], (3, 3)), name="large")
    viewer.add_image(discs[0], name="small")
    session.image = large
    cells = session.make_cells(large)
    labels = np.zeros(large.data.shape, np.int32)
    labels[: discs[1].shape[0], : discs[1].shape[1]] = discs[1]
    cells.do(lambda now: renew_guesses(now, labels, {}))
    viewer.layers.selection.active = cells.layer
    session.queue.go(1)
    assert session.image.name == "small"
    assert not session.gestures.step(1), "the guesses of an image that nobody sees"
    side, canvas, camera = discs[0].shape[0], canvas_of(viewer), camera_of(viewer)
    assert tuple(camera.center[-2:]) == pytest.approx((side / 2 - 0.5,) * 2, abs=0.1)
    room = min(canvas.height(), canvas.width())
    assert 0.9 * room < side * camera.zoom < room, "hidden layers take no room"


def test_what_is_known_of_an_image_outlives_its_layers(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    cells = session.cells_of(shown(session, qtbot, "well_5"))
    cells.do(lambda now: accept(now, [3, 4, 5]))
    annotate = workbench.annotate
    total = "In total: <b>6</b> checked or edited in 2 images"
    qtbot.waitUntil(lambda: total in annotate.status.text(), timeout=WAIT)
    assert annotate.advice.text.startswith("6 cells annotated"), "also those of images that no layer shows"
    workbench.viewer.layers.clear()

    def known() -> str:
        return session.queue.state(session.queue.items()[4])

    qtbot.waitUntil(lambda: known() == "36 cells, 5 checked", timeout=WAIT)
    assert {"well_3", "well_5"} <= {entry.image.stem for entry in session.queue.taught_elsewhere()}
    assert workbench.predict.saver.button.isEnabled(), "all images are saved, shown or not"


def test_an_image_with_nothing_but_a_region_teaches_though_no_layer_shows_it(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    with Project.open(project) as before:
        cells = before.cells("well_7")
        cells.apply(
            Change("Everything is annotated", regions=((), (tuple((float(y), float(x)) for y, x in SQUARE),)))
        )
        before.save()
    session.keeper.open(project)
    shown(session, qtbot, "well_7")
    workbench.viewer.layers.clear()
    text = "Uses 3 cells in 3 images, 1 region"
    qtbot.waitUntil(lambda: workbench.train.use.text() == text, timeout=WAIT)
    assert "well_7" in workbench.train.images.stems()


def test_the_cell_width_stays_from_image_to_image_and_goes_with_the_project(
    workbench: Any, session: Any, project: Path, tmp_path: Path, qtbot: Any
) -> None:
    box = workbench.predict.diameter
    session.keeper.open(project)
    shown(session, qtbot, "well_5")
    box.setValue(21)
    for name in ("well_6", "well_7", "well_8"):
        qtbot.wait(50)
        session.queue.go(1)
        shown(session, qtbot, name)
        assert session.sizes.said(session.image) == box.value() == 21
    Project.create(tmp_path / "other").close()
    session.keeper.open(tmp_path / "other.cupre")
    qtbot.waitUntil(lambda: box.value() == 0, timeout=WAIT)
    assert session.sizes.width is None


def test_the_first_image_is_seen_whole_in_a_small_window(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    """The controls of its layers take room of the canvas once it is shown."""
    viewer = workbench.viewer
    viewer.window.resize(853, 594)
    session.keeper.open(project)
    shown(session, qtbot, "well_5")
    camera, canvas = camera_of(viewer), Mouse(viewer).canvas
    qtbot.wait(600)  # by then the controls, which napari 0.9 makes wider, have their room
    qtbot.waitUntil(lambda: 192 * camera.zoom <= canvas.width(), timeout=WAIT)
    assert 192 * camera.zoom > 0.8 * canvas.width()


def test_a_folder_that_napari_opens_with_this_plugin_is_a_queue(
    make_napari_viewer: Any, folder: Path, qtbot: Any
) -> None:
    """napari asks who is to read a folder that is dropped, and offers this plugin for any."""
    viewer = make_napari_viewer(show=True)
    viewer.open(str(folder), plugin="napari-cupre")
    session = Session.of(viewer)
    shown(session, qtbot, "well_1")
    assert len(session.queue.items()) == 12
    viewer.open(str(folder), plugin="napari-cupre")
    qtbot.wait(50)
    qtbot.waitUntil(lambda: not session.queue._errands.is_busy, timeout=WAIT)
    assert len(session.queue.items()) == 12


def test_a_folder_without_images_is_said(workbench: Any, session: Any, tmp_path: Path, qtbot: Any) -> None:
    (tmp_path / "empty").mkdir()
    workbench.viewer.open(str(tmp_path / "empty"), plugin="napari-cupre")
    qtbot.waitUntil(lambda: "contains no image" in session.queue.error, timeout=WAIT)


def test_a_folder_is_layers_where_there_is_no_window(folder: Path) -> None:
    read = project_reader(str(folder))
    assert read is not None
    layers = read(str(folder))
    assert [about["name"] for _, about, _ in layers][:2] == ["well_1", "well_2"]
    assert {kind for *_, kind in layers} == {"image"}
    assert project_reader(str(folder / "well_1.tif")) is None


def test_cells_whose_layer_was_removed_come_back_with_the_next_tool(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    """napari's menu of a layer can make an image of it; the next stroke used to replace what was saved."""
    session.keeper.open(project)
    image = shown(session, qtbot, "well_5")
    session.cells_of(image).do(lambda now: draw(now, SQUARE))
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    session.viewer.layers.remove(session.cells_of(image).layer)
    assert session.cells_of(image) is None
    assert workbench.annotate.status.text().startswith("37 cells, 3 checked. Their layer was removed")
    assert "well_5" in [entry.image.stem for entry in session.queue.taught_elsewhere()], "it still teaches"
    workbench.annotate.next_cell.click()
    cells = session.cells_of(image)
    assert len(cells.cells) == 37
    cells.do(lambda now: draw(now, SQUARE + 100))
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    session.keeper.close()
    with Project.open(project, look_only=True) as saved:
        assert len(saved.cells("well_5")) == len(cells.cells) >= 37


def test_cells_come_back_though_nothing_was_saved_yet(workbench: Any, session: Any, discs: Any) -> None:
    session.image = workbench.viewer.add_image(discs[0], name="loose")
    cells = session.make_cells(session.image)
    cells.do(lambda now: draw(now, SQUARE))
    assert session.keeper.is_dirty
    session.viewer.layers.remove(cells.layer)
    workbench.annotate.next_cell.click()
    assert len(session.cells_of(session.image).cells) == 1


def test_an_image_that_was_removed_is_chosen_from_the_list_again(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    session.viewer.layers.remove(shown(session, qtbot, "well_5"))
    annotate = workbench.annotate
    assert "choose one at the top" in annotate.advice.text
    annotate.queue_row.list.aboutToShow.emit()
    actions = annotate.queue_row.list.actions()
    assert not any(action.isChecked() for action in actions)
    actions[4].trigger()
    assert session.cells_of(shown(session, qtbot, "well_5")).cells.count() == 36


def test_a_dim_first_channel_is_seen(session: Any, tmp_path: Path, qtbot: Any) -> None:
    """It opened black: the contrast was that of all channels."""
    dim = np.random.default_rng(0).integers(10, 60, (64, 64))
    pair = np.stack([dim, 100 * dim]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "pair.tif", pair, metadata={"axes": "CYX"}, ome=True)
    session.queue.add_files([tmp_path / "pair.tif"])
    low, high = shown(session, qtbot, "pair").contrast_limits
    assert 0 < low < high < 100


def test_planes_and_fields(workbench: Any, session: Any, tmp_path: Path, discs: Any, qtbot: Any) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([discs[0]] * 3), metadata={"axes": "ZYX"}, ome=True)
    session.image = workbench.viewer.open(str(path))[0]
    session.set_axes(session.image, "ZYX")
    session.queue.add_planes()
    shown(session, qtbot, "stack_z000")
    assert session.image.data.shape == (192, 192)
    assert len([item for item in session.queue.items() if item.stem]) == 3
    flat = tmp_path / "slide.tif"
    tifffile.imwrite(flat, np.tile(discs[0], (2, 3)))
    layer = workbench.viewer.open(str(flat))[0]
    session.image = layer
    session.sizes.say(layer, 6.4)
    session.queue.add_fields()
    shown(session, qtbot, "slide_y0_x0")
    assert session.image.data.shape == (192, 192)
    assert len([item for item in session.queue.items() if (item.stem or "").startswith("slide")]) == 6


def test_an_image_that_is_gone_or_changed_is_said(
    workbench: Any, session: Any, project: Path, folder: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    shown(session, qtbot, "well_5")
    qtbot.waitUntil(lambda: not session.queue._errands.is_busy, timeout=WAIT)
    session.queue._read.clear()
    (folder / "well_4.tif").unlink()
    session.queue.go(-1)
    row = workbench.annotate.queue_row
    qtbot.waitUntil(lambda: "is missing" in row.line.text(), timeout=WAIT)
    assert session.image.name == "well_5"
    session.queue.go(-1)
    shown(session, qtbot, "well_3")
    session.queue.go(1)
    qtbot.waitUntil(lambda: "is missing" in row.line.text(), timeout=WAIT)
    session.queue.go(1)
    shown(session, qtbot, "well_5")
    qtbot.waitUntil(
        lambda: not (session.queue._ahead.isActive() or session.queue._errands.is_busy), timeout=WAIT
    )
    tifffile.imwrite(folder / "well_6.tif", np.zeros((50, 50), np.uint8))
    session.queue._read.clear()
    session.queue.go(1)
    qtbot.waitUntil(lambda: "its cells were drawn on" in row.line.text(), timeout=WAIT)


def test_a_script_without_a_window_reads_a_project_as_layers(project: Path) -> None:
    assert project_reader(str(project.parent / "plate" / "well_1.tif")) is None
    reader = project_reader(str(project / "project.json"))
    image, labels = reader(str(project / "project.json"))
    assert image[2] == "image"
    assert labels[0].shape == (192, 192)


def test_what_another_project_showed_leaves_with_it(
    workbench: Any, session: Any, project: Path, tmp_path: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    first = shown(session, qtbot, "well_5")
    mine = workbench.viewer.add_image(np.zeros((40, 40), np.uint8), name="mine")
    with Project.create(tmp_path / "other") as other:
        add_files(other, tmp_path / "plate" / "well_1.tif")
        other.save()
    session.keeper.open(other.folder)
    shown(session, qtbot, "well_1")
    assert first not in workbench.viewer.layers
    assert [layer.name for layer in session.images()] == ["mine", "well_1"]
    assert mine in workbench.viewer.layers
    session.keeper.open(project)
    again = shown(session, qtbot, "well_5")
    assert len(session.queue.items()) == 12 + 1
    assert session.cells_of(again).cells.count() == 36


def test_cells_that_could_not_be_saved_stay_when_another_project_opens(
    session: Any, project: Path, tmp_path: Path, qtbot: Any
) -> None:
    session.keeper.open(project, look_only=True)
    image = shown(session, qtbot, "well_5")
    cells = session.cells_of(image)
    cells.do(lambda now: accept(now, [3]))
    opened = []
    session.keeper.opened.connect(opened.append)
    with Project.create(tmp_path / "other") as other:
        pass
    session.keeper.open(other.folder)
    qtbot.waitUntil(lambda: bool(opened), timeout=WAIT)
    assert session.cells_of(image) is cells
    assert cells.cells.rows[3].state.teaches


def test_a_project_that_is_open_here_is_not_said_to_be_open_elsewhere(
    workbench: Any, session: Any, project: Path, qtbot: Any
) -> None:
    session.keeper.open(project)
    image = shown(session, qtbot, "well_5")
    for again in (project, project / "project.json"):
        session.keeper.notice = ""
        session.keeper.open(again)
        assert session.keeper.notice == "This project is already open here."
    assert session.keeper.locked is None
    assert session.keeper.error == ""
    assert session.image is image


def test_an_image_of_another_pixel_size_is_shown_whole(workbench: Any, tmp_path: Path, qtbot: Any) -> None:
    viewer, session = workbench.viewer, workbench.annotate.session
    (tmp_path / "sizes").mkdir()
    for name, size in (("a", 0.5), ("b", 0.5), ("c", 0.01), ("d", 20.0)):
        tifffile.imwrite(
            tmp_path / "sizes" / f"{name}.tif",
            np.full((64, 80), ord(name), np.uint8),
            imagej=True,
            resolution=(1 / size, 1 / size),
            metadata={"unit": "um"},
        )
    session.queue.add_files([tmp_path / "sizes"])
    shown(session, qtbot, "a")
    qtbot.wait(400)
    camera_of(viewer).zoom *= 2
    zoomed = camera_of(viewer).zoom
    for name, factor in (("b", 1.0), ("c", 25.0), ("d", 0.0125)):
        session.queue.go(1)
        shown(session, qtbot, name)
        qtbot.waitUntil(
            lambda factor=factor: camera_of(viewer).zoom == pytest.approx(zoomed * factor, rel=0.1),
            timeout=WAIT,
        )


def test_images_with_and_without_a_pixel_size_never_meet_in_the_window(
    session: Any, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvas = pytest.importorskip("napari._vispy.canvas")
    if not hasattr(canvas, "show_warning"):
        pytest.skip("this napari draws units as they are")
    (tmp_path / "mixed").mkdir()
    for name, known in (("a", {"resolution": (2, 2), "metadata": {"unit": "um"}}), ("b", {}), ("c", {})):
        image = np.full((64, 80), ord(name), np.uint8)
        tifffile.imwrite(tmp_path / "mixed" / f"{name}.tif", image, imagej=bool(known), **known)
    warned: list[str] = []
    monkeypatch.setattr(canvas, "show_warning", warned.append)
    session.queue.add_files([tmp_path / "mixed"])
    shown(session, qtbot, "a")
    for name, there in (("b", {"b"}), ("c", {"b", "c"})):
        qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
        session.queue.go(1)
        shown(session, qtbot, name)
        qtbot.wait(100)  # until it is drawn
        assert not warned
        assert {image.name for image in session.images()} == there


@pytest.mark.parametrize("held_by", ["a search", "painted background"])
def test_an_image_in_other_units_stays_while_something_is_in_progress_in_it(
    session: Any, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch, held_by: str
) -> None:
    """What is found goes into its layers, and a layer of background cannot show another image's."""
    (tmp_path / "mixed").mkdir()
    image = np.zeros((64, 80), np.uint8)
    units = {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "mixed" / "a.tif", image, **units)
    tifffile.imwrite(tmp_path / "mixed" / "b.tif", image + 1)
    session.queue.add_files([tmp_path / "mixed"])
    first = shown(session, qtbot, "a")
    if held_by == "a search":
        monkeypatch.setattr(session.prediction, "is_searching", lambda layer: layer is first)
    else:
        session.make_background_layer(first)
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari's, about the units
        session.queue.go(1)
        shown(session, qtbot, "b")
        qtbot.wait(100)
    assert first in session.viewer.layers


def test_cells_of_an_image_under_another_are_shown_with_it(workbench: Any, session: Any) -> None:
    """As where several files are dropped on the window, and the cells of all of them are found."""
    viewer = workbench.viewer
    for name in ("below", "above"):
        viewer.add_image(np.ones((40, 50)), name=name)
    below, above = session.images()
    for image in (below, above):
        session.make_cells(image)
    assert [session.cells_of(image).layer.visible for image in (below, above)] == [False, True]
    workbench.annotate.queue_row.back.click()
    assert [session.cells_of(image).layer.visible for image in (below, above)] == [True, False]
    aside = viewer.add_image(np.ones((40, 50)), name="aside", translate=(0, 60))
    channel = viewer.add_image(np.ones((40, 50)), name="channel", translate=(0, 60), blending="additive")
    session.image = below
    for image in (aside, channel):
        assert session.make_cells(image).layer.visible, "nothing lies over it"
    grid_of(viewer).enabled = True
    assert is_seen(viewer, viewer.add_image(np.ones((40, 50)), name="one of a grid"))
