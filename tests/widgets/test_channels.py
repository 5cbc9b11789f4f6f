"""Which channels of an image the network sees, in a real window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.io.shot_store import load_shots
from napari_cupre.project import gestures
from napari_cupre.project.project import Project
from napari_cupre.service.protocol import FinetuneRequest, OutlineRequest, PlaneDone, PredictRequest

WAIT = 60_000
SQUARE = np.array([[5, 5], [5, 15], [15, 15], [15, 5]], float)


class Script:
    """Notes what the network is given; finds one cell."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.taught: list[np.ndarray] = []
        self.outlined: list[np.ndarray] = []

    def __call__(self, request: Any) -> Iterator[Event]:
        if isinstance(request, PredictRequest):
            self.options.append(request.options)
            labels = np.zeros((60, 70), np.int32)
            labels[30:40, 30:40] = 1
            one = np.ones(1)
            boxes, masks = np.array([[30, 30, 40, 40]], np.float32), np.ones((1, 28, 28), np.float16)
            yield PlaneDone(
                {}, labels, one.astype(np.int32), boxes, one.astype(np.float32), one.astype(int), masks, 10.0
            )
            yield Finished("1 cell.", {"cells": 1, "complete": True})
        elif isinstance(request, FinetuneRequest):
            self.taught += [shot.image for shot in load_shots(request.shots)]
            yield StateChanged(RunState.DONE)
        elif isinstance(request, OutlineRequest):
            self.outlined.append(np.load(request.image))


@pytest.fixture
def script(training_engine: Callable[..., Any]) -> Script:
    script = Script()
    training_engine(script)
    return script


def five_channels() -> np.ndarray:
    """Each channel a gradient of its own, so that they can be told apart."""
    rows, columns = np.mgrid[:60, :70]
    planes = [rows, columns, rows + columns, rows * columns, (rows - 30) ** 2]
    return np.stack(planes).astype(np.uint16)


def tick(row: Any, *numbers: int) -> None:
    for number in numbers:
        row.menu.actions()[number].trigger()


def test_the_choice_holds_for_training_finding_and_outlining_and_is_kept(
    script: Script, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    viewer, annotate, predict = workbench.viewer, workbench.annotate, workbench.predict
    session, data = annotate.session, five_channels()
    viewer.add_image(np.zeros((60, 70), np.uint8), name="grey")
    assert annotate.channels.isHidden(), "there is nothing to choose"
    image = viewer.add_image(data, name="multiplex", axis_labels=["c", "y", "x"])
    session.image = image
    assert not annotate.channels.isHidden()
    assert annotate.channels.button.text() == "the first three: 0, 1, 2"
    assert not annotate.channels.menu.actions()[4].isEnabled(), "three at most"
    predict.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert "channels" not in script.options[-1]
    tick(annotate.channels, 0, 1, 4)
    assert annotate.channels.button.text() == predict.channels.button.text() == "channels 2, 4"
    predict.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert script.options[-1]["channels"] == (2, 4)
    session.make_cells(image).do(lambda now: gestures.draw(now, SQUARE))
    session.make_cells(viewer.layers["grey"]).do(lambda now: gestures.draw(now, SQUARE))
    workbench.train.button.click()
    qtbot.waitUntil(lambda: len(script.taught) == 2, timeout=WAIT)
    grey, seen = sorted(script.taught, key=np.ptp)
    assert grey.shape == seen.shape == (60, 70, 3), "an image without these channels is used as it is"
    for channel, source in enumerate((2, 4)):
        values = data[source]
        assert np.corrcoef(seen[..., channel].ravel(), values.ravel())[0, 1] > 0.99
    annotate.tool_row.buttons["box"].click()
    qtbot.waitUntil(lambda: bool(script.outlined), timeout=WAIT)
    np.testing.assert_array_equal(script.outlined[-1], np.moveaxis(data[[2, 4]], 0, -1))
    session.keeper.save_as(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: not session.keeper.is_scratch and not session.keeper.is_dirty, timeout=WAIT)
    with Project.open(tmp_path / "plate.cupre", look_only=True) as stored:
        assert {entry.channels for entry in stored.images} == {(2, 4)}
        assert stored.pixels(stored.image("multiplex")).plane().shape == (60, 70, 2)
        assert stored.pixels(stored.image("grey")).plane().shape == (60, 70)
    tick(annotate.channels, 2, 4)
    assert session.channels.chosen is None
    tick(annotate.channels, 3)
    assert session.channels.chosen == (3,), "after all others were unticked"
    session.channels.choose(None)
    assert annotate.channels.button.text() == "the first three: 0, 1, 2"


def test_a_project_that_is_opened_brings_its_choice(
    script: Script, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    import tifffile

    file = tmp_path / "multiplex.tif"
    tifffile.imwrite(file, five_channels(), metadata={"axes": "CYX"}, ome=True)
    with Project.create(tmp_path / "plate.cupre") as project:
        project.add(file, channels=(3,))
        project.save()
    session = workbench.annotate.session
    session.keeper.open(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    assert session.channels.chosen == (3,)
    qtbot.waitUntil(lambda: workbench.predict.channels.button.text() == "channel 3", timeout=WAIT)
    workbench.predict.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert tuple(script.options[-1]["channels"]) == (3,)


def test_channels_have_the_names_of_their_stains(
    script: Script, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    import tifffile

    stains = ["CD3", "CD8", "DAPI & PI", "Pan CK", "an antibody with a very long name"]
    file = tmp_path / "multiplex.ome.tif"
    tifffile.imwrite(file, five_channels(), ome=True, metadata={"axes": "CYX", "Channel": {"Name": stains}})
    viewer, row = workbench.viewer, workbench.annotate.channels
    session = workbench.annotate.session

    def is_told() -> bool:
        titles = [action.text() for action in row.menu.actions()]
        return titles[:3] == ["0: CD3", "1: CD8", "2: DAPI && PI"]

    viewer.open(str(file), plugin="napari")
    qtbot.waitUntil(is_told, timeout=WAIT)
    assert row.button.text() == "CD3, CD8, DAPI && PI", "the first three"
    tick(row, 0, 1)
    assert viewer.dims.current_step[0] == 2, "the one that is left"
    tick(row, 2, 4)
    assert row.button.text() == "an antibody with a very lon…"
    assert row.button.toolTip().startswith("an antibody with a very long name\n")
    assert viewer.dims.current_step[0] == 4, "the slider goes to what was ticked"
    tick(row, 4)
    viewer.layers.clear()
    with Project.create(tmp_path / "plate.cupre") as project:
        project.add(file, channels=(2,))
        project.save()
    session.keeper.open(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    qtbot.waitUntil(lambda: is_told() and row.button.text() == "DAPI && PI", timeout=WAIT)
    low, high = session.image.contrast_limits
    assert (low, high) == pytest.approx((0, 127), abs=2), "of the channel that is used"
    assert viewer.dims.current_step[0] == 2, "which is on show"


def test_a_project_of_different_channels_says_which_are_used_now(
    no_engine: None, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    import tifffile

    with Project.create(tmp_path / "plate.cupre") as project:
        for number, channels in enumerate(((3,), None, (0, 1))):
            file = tmp_path / f"well {number}.tif"
            tifffile.imwrite(file, five_channels() + number, metadata={"axes": "CYX"}, ome=True)
            project.add(file, channels=channels)
        project.save()
    session = workbench.annotate.session
    session.keeper.open(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    assert session.channels.chosen == (3,)
    assert "used different channels: from now on all use 3." in session.keeper.notice


def test_a_model_is_given_the_channels_it_learned_from(
    script: Script, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    from napari_cupre.model.checkpoint import new_model, save_model

    file = tmp_path / "late.safetensors"
    save_model(new_model("tiny").copy(training={"channels": [3, 4]}), file)
    annotate, predict, train = workbench.annotate, workbench.predict, workbench.train
    session, data = annotate.session, five_channels()
    session.image = image = workbench.viewer.add_image(data, name="multiplex", axis_labels=["c", "y", "x"])
    session.model = str(file)
    assert annotate.channels.button.text() == predict.channels.button.text() == "channels 3, 4"
    assert workbench.viewer.dims.current_step[0] == 3, "one in use is on show"
    predict.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert script.options[-1]["channels"] == (3, 4)
    assert session.channels.chosen is None, "nobody chose"
    session.make_cells(image).do(lambda now: gestures.draw(now, SQUARE))
    train.start_from.value = str(file)
    train.button.click()
    qtbot.waitUntil(lambda: len(script.taught) == 1, timeout=WAIT)
    for channel, source in enumerate((3, 4)):
        assert np.corrcoef(script.taught[0][..., channel].ravel(), data[source].ravel())[0, 1] > 0.99
    tick(annotate.channels, 3)
    assert session.channels.chosen == (4,)
    tick(annotate.channels, 4, 0, 1, 2)
    assert session.channels.chosen == (0, 1, 2), "chosen, although they are the first three"
    predict.button.click()
    qtbot.waitUntil(lambda: session.prediction.status.state.is_over, timeout=WAIT)
    assert script.options[-1]["channels"] == (0, 1, 2)


def test_the_entry_under_the_mouse_is_ticked_and_none_where_there_is_none(
    no_engine: None, workbench: Any, qtbot: Any
) -> None:
    from qtpy.QtCore import QPoint, Qt

    session, row = workbench.annotate.session, workbench.annotate.channels
    session.image = workbench.viewer.add_image(five_channels(), axis_labels=["c", "y", "x"])
    row.menu.popup(row.button.mapToGlobal(row.button.rect().bottomLeft()))
    first, last = row.menu.actions()[0], row.menu.actions()[4]

    def release(place: QPoint) -> None:
        qtbot.mouseRelease(row.menu, Qt.MouseButton.LeftButton, pos=place)

    row.menu.setActiveAction(first)
    release(row.menu.actionGeometry(last).center())
    assert session.channels.chosen is None, "three are ticked, so it is disabled"
    assert row.menu.isVisible()
    row.menu.setActiveAction(last)
    release(row.menu.actionGeometry(first).center())
    assert session.channels.chosen == (1, 2)
    row.menu.setActiveAction(last)
    release(QPoint(-20, -20))
    assert session.channels.chosen == (1, 2)
    row.menu.close()


def test_a_first_file_opens_at_its_first_channel_and_later_ones_where_the_slider_is(
    no_engine: None, workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    """The channel in the middle, where napari begins, may be one without cells."""
    viewer = workbench.viewer
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", five_channels()[:3], imagej=True, metadata={"axes": "CYX"})
    viewer.open(tmp_path / "a.tif", plugin="napari")
    assert viewer.dims.current_step[0] == 0
    viewer.dims.set_current_step(0, 1)
    viewer.open(tmp_path / "b.tif", plugin="napari")
    assert workbench.annotate.session.image.name == "b"
    qtbot.wait(50)
    assert viewer.dims.current_step[0] == 1
    viewer.layers.clear()
    viewer.add_image(five_channels()[:3], axis_labels=("c", "y", "x"), name="of a script")
    assert viewer.dims.current_step[0] == 1, "the sliders of arrays are their owner's"
