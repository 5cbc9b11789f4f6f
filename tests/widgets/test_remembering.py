"""What the docks remember and list: choices of a person, images that teach, models whose files are gone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cupre.model.cards import rename_model
from napari_cupre.model.zoo import bundled_path
from napari_cupre.project import gestures, recovery
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.model_watch import SETTLED_MS
from napari_cupre.widgets.teaching_list import LAYER_ROLE

WAIT = 20_000
SQUARE = np.array([[5, 5], [5, 15], [15, 15], [15, 5]], float)


@pytest.fixture(autouse=True)
def _no_process(no_engine: None) -> None:
    """None of these trains."""


def listed(train: Any) -> list[str]:
    """What can be ticked under *Learn from*."""
    items = (train.images.item(row) for row in range(train.images.count()))
    return [item.text() for item in items if item.data(LAYER_ROLE) is not None]


def test_only_images_with_something_to_learn_from_can_be_ticked(workbench: Any) -> None:
    train, session = workbench.train, workbench.annotate.session
    image = workbench.viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    workbench.viewer.add_image(np.zeros((60, 60), np.uint8), name="other")
    cells = session.make_cells(image)
    assert listed(train) == [], "a layer without a cell is no annotation"
    cells.do(lambda now: renew_guesses(now, np.pad(np.ones((9, 9), int), (5, 46)), [0.9]))
    assert listed(train) == [], "nor is a guess"
    cells.do(lambda now: gestures.draw(now, SQUARE + 30))
    assert listed(train) == ["field"]
    cells.undo()
    assert listed(train) == []
    session.make_background_layer(image)
    assert listed(train) == ["field"]


def test_an_image_that_was_unticked_stays_so(workbench: Any, tmp_path: Path, qtbot: Any) -> None:
    train, session = workbench.train, workbench.annotate.session
    image = workbench.viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    cells = session.make_cells(image)
    cells.do(lambda now: gestures.draw(now, SQUARE))
    assert train.use.text() == "Uses 1 cell in 1 image"
    train.images.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert train.use.text().startswith("No ")
    cells.undo()
    assert listed(train) == []
    cells.redo()
    assert listed(train) == ["field"]
    assert train.images.item(0).checkState() == Qt.CheckState.Unchecked
    session.keeper.save_as(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: not session.keeper.is_scratch and not session.keeper.is_dirty, timeout=WAIT)
    workbench.viewer.layers.remove(image)
    qtbot.waitUntil(lambda: train.images.item(0).data(LAYER_ROLE) == "field", timeout=WAIT)
    assert train.images.item(0).checkState() == Qt.CheckState.Unchecked, "it is in the project now"


def test_cells_that_cannot_be_used_stay_in_the_list(workbench: Any) -> None:
    workbench.viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    workbench.viewer.add_labels(np.ones((20, 20), int), name="field cells")
    assert listed(workbench.train) == ["field"], "a press on Train says what is wrong"


def test_a_dock_that_was_closed_comes_back_as_it_was_set(workbench: Any, qtbot: Any) -> None:
    viewer, train, predict = workbench.viewer, workbench.train, workbench.predict
    train.minutes.setValue(7.5)
    train.device.setCurrentText("cpu")
    train.live.setChecked(True)
    train.enough.button.setChecked(True)
    train.start_from.combo.setCurrentIndex(train.start_from.combo.findData("nuclei"))
    train.start_from.combo.activated.emit(train.start_from.combo.currentIndex())
    image = viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    workbench.annotate.session.make_cells(image).do(lambda now: gestures.draw(now, SQUARE))
    train.images.item(0).setCheckState(Qt.CheckState.Unchecked)
    predict.saver.formats["coco"].setChecked(True)
    predict.score.setValue(35)
    predict.link_t.setChecked(True)
    predict.all_images.setChecked(True)
    for dock in (train, predict):
        viewer.window.remove_dock_widget(dock)
        dock.deleteLater()
    qtbot.wait(50)
    again = {
        name: viewer.window.add_plugin_dock_widget("napari-cupre", name)[1] for name in ("Train", "Predict")
    }
    assert again["Train"] is not train
    assert again["Train"].minutes.value() == 7.5
    assert again["Train"].device.currentText() == "cpu"
    assert again["Train"].live.isChecked()
    assert again["Train"].start_from.value == "nuclei"
    assert again["Train"].enough.button.isChecked()
    assert again["Train"].images.item(0).text() == "field"
    assert again["Train"].images.item(0).checkState() == Qt.CheckState.Unchecked
    assert again["Predict"].saver.formats["coco"].isChecked()
    assert again["Predict"].score.value() == 35
    assert again["Predict"].link_t.isChecked()
    assert again["Predict"].all_images.isChecked()
    assert not again["Predict"].one_image.isChecked()


def test_a_start_chosen_by_hand_stays_until_there_is_a_better_round(
    workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    """Also if it is a file that no list names, and if Train was closed when the round came."""
    viewer, session = workbench.viewer, workbench.annotate.session
    file = tmp_path / "theirs.safetensors"
    file.write_bytes(bundled_path().read_bytes())
    workbench.train.start_from.value = str(file)

    def reopened(train: Any) -> Any:
        viewer.window.remove_dock_widget(train)
        train.deleteLater()
        qtbot.wait(50)
        return viewer.window.add_plugin_dock_widget("napari-cupre", "Train")[1]

    train = reopened(workbench.train)
    assert train.start_from.value == str(file)
    image = viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    session.make_cells(image).do(lambda now: gestures.draw(now, SQUARE))
    qtbot.waitUntil(lambda: session.keeper.project is not None and not session.keeper.is_dirty, timeout=WAIT)
    out = session.rounds.next_out()
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(bundled_path().read_bytes())
    session.rounds.enter(out, "cupre", {"better": True})
    train = reopened(train)
    assert train.start_from.value == str(out), "the best round, which came later"
    train.start_from.value = "cells"
    assert reopened(train).start_from.value == "cells"


@pytest.fixture
def mine(workbench: Any, own_models: Path) -> Path:
    """A model of the user's, chosen in both docks."""
    file = own_models / "mine.safetensors"
    file.write_bytes(bundled_path().read_bytes())
    workbench.predict.session.models_changed.emit()
    workbench.predict.model.value = workbench.train.start_from.value = "mine"
    return file


def test_a_model_that_was_deleted_elsewhere_is_missed_at_once(workbench: Any, mine: Path, qtbot: Any) -> None:
    session = workbench.predict.session
    assert session.model == "mine"
    mine.unlink()
    qtbot.waitUntil(lambda: session.model == "cupre", timeout=WAIT)
    sentence = (
        f'The file of “mine” was deleted or moved from "{mine.parent}", so “cupre” is chosen instead; '
        "to use it again, put the file back and choose it."
    )
    for chooser in (workbench.predict.model, workbench.train.start_from):
        assert chooser.value == "cupre"
        assert chooser.question.text == sentence
    assert workbench.annotate.message.text == sentence
    workbench.train.start_from.value = "nuclei"
    assert not workbench.train.start_from.question.text, "another choice was made"
    workbench.predict.model.question.press("OK")
    assert not workbench.predict.model.question.text


def test_a_model_that_comes_from_elsewhere_can_be_chosen(workbench: Any, mine: Path, qtbot: Any) -> None:
    mine.with_stem("theirs").write_bytes(mine.read_bytes())
    qtbot.waitUntil(lambda: workbench.predict.model.combo.findData("theirs") >= 0, timeout=WAIT)
    assert workbench.predict.model.value == "mine"
    assert not workbench.predict.model.question.text


def test_a_model_renamed_here_is_not_missed(workbench: Any, mine: Path) -> None:
    session = workbench.predict.session
    session.model = rename_model("mine", "better").stem
    assert workbench.predict.model.value == "better"
    assert not workbench.predict.model.question.text


def test_the_folder_of_a_chosen_file_is_not_listed(
    workbench: Any, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the one for downloads, with thousands of files; whether the file is gone is seen anyway."""
    file = tmp_path / "downloads" / "theirs.safetensors"
    file.parent.mkdir()
    file.write_bytes(bundled_path().read_bytes())
    listed: list[str] = []
    for name in ("listdir", "scandir"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path=".", real=real: listed.append(str(path)) or real(path))
    predict, session = workbench.predict, workbench.predict.session
    predict.model.value = str(file)
    session.models_changed.emit()
    assert not [path for path in listed if Path(path) == file.parent]
    file.unlink()
    qtbot.waitUntil(lambda: session.model == "cupre", timeout=WAIT)


def test_a_chosen_model_of_a_project_that_was_closed_stays(workbench: Any, tmp_path: Path) -> None:
    file = tmp_path / "v1.safetensors"
    file.write_bytes(bundled_path().read_bytes())
    predict = workbench.predict
    predict.model.value = str(file)
    predict.model._files.clear()  # it was listed as a round
    predict.model.refresh()
    assert predict.model.value == str(file)
    assert not predict.model.question.text


def test_a_round_whose_file_is_gone_is_not_taken_for_one_of_another_project(
    workbench: Any, tmp_path: Path, qtbot: Any
) -> None:
    """All projects name their rounds alike: v1, v2, ..."""
    session, train = workbench.annotate.session, workbench.train
    image = workbench.viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    session.make_cells(image).do(lambda now: gestures.draw(now, SQUARE))
    qtbot.waitUntil(lambda: session.keeper.project is not None and not session.keeper.is_dirty, timeout=WAIT)
    outs = []
    for better in (False, True):
        outs.append(session.rounds.next_out())
        outs[-1].parent.mkdir(exist_ok=True)
        outs[-1].write_bytes(bundled_path().read_bytes())
        session.rounds.enter(outs[-1], "cupre", {"better": better})
    theirs = tmp_path / "theirs.cupre" / "models" / "v1.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(bundled_path().read_bytes())
    session.models_changed.emit()
    train.start_from.value = workbench.predict.model.value = str(theirs)
    theirs.unlink()
    session.models_changed.emit()
    for chooser in (train.start_from, workbench.predict.model):
        assert chooser.value != str(outs[0])
        said = (
            f'“v1” of “theirs” was deleted or moved from "{theirs.parent}", so “v2 (best)” is chosen instead'
        )
        assert said in chooser.question.text
    train.start_from.value = str(outs[0])
    session.keeper.save_as(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: not session.keeper.is_scratch and not session.keeper.is_dirty, timeout=WAIT)
    assert train.start_from.value == str(tmp_path / "plate.cupre" / "models" / "v1.safetensors"), (
        "its own, moved"
    )


def test_a_round_is_not_missed_while_its_project_gets_a_place(
    workbench: Any, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old place may be deleted slowly, models first, before the window knows the new one."""
    session, lost = workbench.annotate.session, []
    session.model_watch.lost.connect(lost.append)
    image = workbench.viewer.add_image(np.zeros((60, 60), np.uint8), name="field")
    session.make_cells(image).do(lambda now: gestures.draw(now, SQUARE))
    qtbot.waitUntil(lambda: session.keeper.project is not None and not session.keeper.is_dirty, timeout=WAIT)
    out = session.rounds.next_out()
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(bundled_path().read_bytes())
    session.rounds.enter(out, "cupre", {})
    session.model_added(str(out))
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    discard = recovery.discard

    def slow(folder: Path) -> None:
        discard(folder)
        time.sleep(4 * SETTLED_MS / 1000)

    monkeypatch.setattr(recovery, "discard", slow)
    session.keeper.save_as(tmp_path / "plate.cupre")
    qtbot.waitUntil(lambda: not session.keeper.is_scratch and not session.keeper.is_dirty, timeout=WAIT)
    qtbot.wait(2 * SETTLED_MS)
    assert session.model == str(tmp_path / "plate.cupre" / "models" / "v1.safetensors")
    assert lost == []
