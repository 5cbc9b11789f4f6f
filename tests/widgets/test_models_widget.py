"""The list of models in a real window: cards, names, deleting, sharing, and the way back to a project."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.model.runs import run_path
from napari_cupre.model.zoo import BUNDLED, bundled_path
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.project.recent import remember_project
from napari_cupre.project.rounds import add_round, next_model
from napari_cupre.service.slides import hold_slide
from napari_cupre.widgets.model_gathering import ListedModel
from napari_cupre.widgets.models_widget import MODEL_ROLE, ModelsWidget
from napari_cupre.widgets.predict_widget import PredictWidget

WAIT = 60_000


def make_project(folder: Path, labels: np.ndarray, rounds: int) -> Path:
    """A project of one image and some rounds."""
    tifffile.imwrite(folder / f"{folder.name}.tif", (labels > 0).astype(np.uint8) * 90)
    with Project.create(folder / f"{folder.name}_work") as project:
        add_files(project, folder / f"{folder.name}.tif")
        project.hold(folder.name, Cells.of(labels.copy(), State.CHECKED))
        for number in range(rounds):
            next_model(project).parent.mkdir(exist_ok=True)
            shutil.copyfile(bundled_path("cells"), next_model(project))
            run_path(next_model(project)).mkdir()
            add_round(project, "cupre" if number == 0 else f"v{number}", {"words": "better", "better": True})
        project.save()
        return project.folder


@pytest.fixture
def projects(tmp_path: Path, discs: Any) -> list[Path]:
    """Two projects, of two rounds and of one."""
    folders = []
    for name, count in (("here", 2), ("there", 1)):
        (tmp_path / name).mkdir()
        folders.append(make_project(tmp_path / name, discs[1], count))
    return folders


@pytest.fixture
def widget(viewer: Any, projects: list[Path], own_models: Path, qtbot: Any) -> ModelsWidget:
    shutil.copyfile(bundled_path("cells"), own_models / "mine.safetensors")
    remember_project(projects[1])
    widget = ModelsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Models")
    widget.session.keeper.open(projects[0])
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=WAIT)
    listed(widget, qtbot)
    return widget


def models_of(widget: ModelsWidget) -> list[ListedModel]:
    """The models as the list shows them."""
    groups = [widget.list.topLevelItem(row) for row in range(widget.list.topLevelItemCount())]
    return [group.child(row).data(0, MODEL_ROLE) for group in groups for row in range(group.childCount())]


def listed(widget: ModelsWidget, qtbot: Any) -> list[tuple[str, str]]:
    """Group and title of every model."""
    qtbot.waitUntil(lambda: not widget._errands.is_busy, timeout=WAIT)
    return [(model.group, model.title) for model in models_of(widget)]


def test_rounds_of_all_projects_your_models_and_the_shipped_ones(widget: ModelsWidget, qtbot: Any) -> None:
    assert listed(widget, qtbot) == [
        ("here_work", "v2 (best)"),
        ("here_work", "v1"),
        ("there_work", "v1 (best)"),
        ("Your models", "mine"),
        ("Included in napari-cupre", "cupre"),
        ("Included in napari-cupre", "nuclei"),
        ("Included in napari-cupre", "cells"),
    ]
    assert "1 model of yours" in widget.total.text()
    assert "3 rounds of projects" in widget.total.text()
    widget.choose(models_of(widget)[0].value)
    card = widget.card.text()
    assert "learned from: 36 cells in 1 image\n" in card
    assert "started from: v1" in card
    assert "verdict: better" in card
    assert "MB" in card


def test_the_disk_space_of_large_results_is_told_and_freed(
    widget: ModelsWidget, own_slides: Path, qtbot: Any
) -> None:
    row = widget.slides
    qtbot.waitUntil(lambda: not row._errands.is_busy, timeout=WAIT)
    assert row.isHidden(), "there are none"
    paths = [own_slides / f"{name}-0123456789ab.zarr" for name in ("shown", "old")]
    for path in paths:
        path.mkdir(parents=True)
        (path / "0.0").write_bytes(b"x" * 3_000_000)
    held = hold_slide(paths[0])
    widget.session.models_changed.emit()
    qtbot.waitUntil(row.isVisible, timeout=WAIT)
    assert row.words.text() == "2 results of large images: 6.0 MB."
    for kept in (True, False):
        row.delete.click()
        assert "(6.0 MB)" in widget.question.text
        widget.question.press("Keep" if kept else "Delete")
    qtbot.waitUntil(lambda: row.words.text() == "1 result of large images: 3.0 MB.", timeout=WAIT)
    assert [path.exists() for path in paths] == [True, False]
    assert widget.done.text == "3.0 MB freed."
    held.release()


def test_a_dock_that_goes_while_it_reads_hears_no_more_of_it(
    workbench: Any, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    """An exception in a slot fails the test by itself."""
    may_end = threading.Event()
    monkeypatch.setattr("napari_cupre.widgets.models_widget.gathered", lambda *_: may_end.wait(60) and [])
    _, widget = workbench.viewer.window.add_plugin_dock_widget("napari-cupre", "Models")
    with qtbot.waitSignal(widget.destroyed, timeout=WAIT):
        widget.deleteLater()  # as Qt does with all that is in a window when it goes
    may_end.set()
    qtbot.wait(500)


def test_a_model_is_used_renamed_and_deleted(widget: ModelsWidget, own_models: Path, qtbot: Any) -> None:
    widget.choose("mine")
    widget.use.click()
    assert widget.session.model == "mine"
    widget.rename.click()
    assert widget.naming.isVisible()
    widget.name.setText("plates")
    widget.name.returnPressed.emit()
    listed(widget, qtbot)
    assert widget.session.model == "plates", "who used it goes on"
    assert (own_models / "plates.safetensors").is_file()
    assert widget.chosen is not None
    assert widget.chosen.value == "plates"
    widget.rename.click()
    widget.name.setText(BUNDLED)
    widget.name.returnPressed.emit()
    assert "already" in widget.message.text
    widget.delete.click()
    widget.question.press("Keep")
    assert (own_models / "plates.safetensors").is_file()
    predict = PredictWidget(widget.session.viewer)
    qtbot.addWidget(predict)
    qtbot.waitUntil(lambda: predict.model.value == "plates", timeout=WAIT)
    widget.delete.click()
    widget.question.press("Delete")
    listed(widget, qtbot)
    assert not (own_models / "plates.safetensors").exists()
    assert widget.session.model != "plates"
    qtbot.waitUntil(lambda: predict.model.value == widget.session.model, timeout=WAIT)
    assert not predict.model.question.text, "whoever deletes a model needs not be told to put its file back"


def test_a_shipped_model_and_one_of_another_project_stay(widget: ModelsWidget, qtbot: Any) -> None:
    widget.choose(BUNDLED)
    assert not widget.delete.isEnabled()
    assert not widget.rename.isEnabled()
    widget.choose(next(model.value for model in models_of(widget) if model.group == "there_work"))
    assert not widget.delete.isEnabled()
    assert widget.open.isEnabled()


def test_a_round_of_the_open_project_is_deleted_for_good(
    widget: ModelsWidget, projects: list[Path], qtbot: Any
) -> None:
    file = projects[0] / "models" / "v2.safetensors"
    widget.choose(str(file))
    widget.delete.click()
    assert "Later rounds stay" in widget.question.text
    widget.question.press("Delete")
    qtbot.waitUntil(lambda: not file.exists(), timeout=WAIT)
    assert ("here_work", "v1 (best)") in listed(widget, qtbot)
    assert not file.with_suffix(".run").exists()
    with Project.open(projects[0], look_only=True) as project:
        assert [each.name for each in project.document.rounds] == ["v1"]
        assert project.document.next_round == 3


def test_the_project_of_a_round_is_opened(widget: ModelsWidget, projects: list[Path], qtbot: Any) -> None:
    widget.choose(next(model.value for model in models_of(widget) if model.group == "there_work"))
    widget.open.click()
    keeper = widget.session.keeper
    qtbot.waitUntil(lambda: keeper.project is not None and keeper.project.folder == projects[1], timeout=WAIT)
    assert listed(widget, qtbot)[0] == ("there_work", "v1 (best)")
    assert ("here_work", "v2 (best)") in listed(widget, qtbot), "the way back"


def test_rounds_of_work_without_a_place_are_listed_and_its_project_is_opened(
    viewer: Any, own_models: Path, own_projects: Path, discs: Any, qtbot: Any
) -> None:
    folder = make_project(own_projects, discs[1], 1)
    work = folder.rename(own_projects / "2026-11-27 20.14.11.000000.cupre")
    widget = ModelsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Models")
    keeper = widget.session.keeper
    keeper.lost.look()
    qtbot.waitUntil(lambda: "1 round of a project" in widget.total.text(), timeout=WAIT)
    qtbot.waitUntil(lambda: len(keeper.lost.found) == 1, timeout=WAIT)
    assert widget.list.topLevelItem(0).text(0) == "begun 2026-11-27 20:14"
    widget.choose(str(work / "models" / "v1.safetensors"))
    widget.open.click()
    qtbot.waitUntil(lambda: keeper.project is not None, timeout=WAIT)
    assert keeper.is_scratch
    assert keeper.lost.found == [], "it is not offered once more"


@pytest.mark.parametrize(("is_scratch", "name"), [(False, "there_work-v1"), (True, "v1")])
def test_a_round_is_offered_under_a_name_that_a_person_gave(
    widget: ModelsWidget, projects: list[Path], monkeypatch: pytest.MonkeyPatch, is_scratch: bool, name: str
) -> None:
    asked: list[str] = []

    def ask(parent: Any, title: str, offered: str, kinds: str) -> tuple[str, str]:
        asked.append(offered)
        return "", ""

    monkeypatch.setattr("napari_cupre.widgets.models_widget.QFileDialog.getSaveFileName", ask)
    monkeypatch.setattr(widget.session.keeper, "is_scratch", is_scratch)
    widget.choose(next(model.value for model in models_of(widget) if model.group == "there_work"))
    widget._ask_for_place()
    assert asked == [f"{name}.safetensors"]


def test_models_are_shared_as_files(
    widget: ModelsWidget, own_models: Path, tmp_path: Path, qtbot: Any
) -> None:
    widget.choose(models_of(widget)[0].value)
    widget.export_file(tmp_path / "shared")
    listed(widget, qtbot)
    assert (tmp_path / "shared.safetensors").read_bytes() == bundled_path("cells").read_bytes()
    assert widget.done.text == "Written to shared.safetensors."
    widget.choose(models_of(widget)[1].value)
    widget.export_file(tmp_path / "shared")
    listed(widget, qtbot)
    assert (tmp_path / "shared.safetensors").read_bytes() == bundled_path("cells").read_bytes(), (
        "nobody asked"
    )
    assert (tmp_path / "shared-2.safetensors").is_file()
    widget.attempt(lambda: None)
    assert widget.done.text == "", "what was done before the last press is no news"
    for _ in range(2):
        widget.import_file(tmp_path / "shared.safetensors")
        listed(widget, qtbot)
    assert {"shared.safetensors", "shared-2.safetensors"} <= {file.name for file in own_models.iterdir()}
    assert widget.chosen is not None
    assert widget.chosen.value == "shared-2"
    (tmp_path / "text.safetensors").write_text("no model")
    widget.import_file(tmp_path / "text.safetensors")
    listed(widget, qtbot)
    assert "not a complete model file" in widget.message.text
