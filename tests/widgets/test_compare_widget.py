"""Two models side by side in a real window, with an engine that finds what a test says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docks import run_job
from finding_script import FindingScript
from plates import write_plate

from napari_cupre.evaluation.side_by_side import compare_image
from napari_cupre.project.cells import By, Cells, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files
from napari_cupre.widgets.compare_widget import CompareWidget
from napari_cupre.widgets.comparing import is_unseen
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.verdict_words import verdict_words

WAIT = 60_000
TRUE = [(y, x) for y in range(4, 180, 40) for x in (4, 44, 84)]
"""Where the cells are: fifteen in each of two images."""


@pytest.fixture
def project(tmp_path: Path, discs: Any) -> Path:
    """Three images; in two of them every cell is checked and marked as all there are."""
    folder = write_plate(tmp_path / "plate", discs[0], 3)
    labels = np.zeros(discs[0].shape, np.int32)
    for number, (row, column) in enumerate(TRUE, start=1):
        labels[row : row + 11, column : column + 10] = number
    side = len(labels) - 0.5
    everything = ((-0.5, -0.5), (-0.5, side), (side, side), (side, -0.5))
    with Project.create(tmp_path / "work") as project:
        add_files(project, folder)
        for stem in ("well_1", "well_2"):
            cells = Cells.of(labels.copy(), State.CHECKED, regions=[everything], by=By.now("me"))
            project.hold(stem, cells)
        project.save()
        return project.folder


@pytest.fixture
def script() -> FindingScript:
    """Model one misses half of the cells, model two finds all and one that is none."""
    return FindingScript({"one": TRUE[:8], "two": [*TRUE, (4, 140)]})


@pytest.fixture
def widget(
    viewer: Any, scripted_engine: Any, script: FindingScript, own_models: Path, project: Path, qtbot: Any
) -> CompareWidget:
    for name in ("one", "two"):
        (own_models / f"{name}.safetensors").write_bytes(b"weights")
    session = Session.of(viewer, scripted_engine(script))
    session.keeper.open(project)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    qtbot.waitUntil(lambda: len(session.queue.taught_elsewhere()) == 1, timeout=WAIT)
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Compare")
    widget.first.choose("one")
    widget.second.choose("two")
    return widget


def press(widget: CompareWidget, qtbot: Any) -> None:
    run_job(widget, "plan", qtbot)
    qtbot.waitUntil(lambda: not widget._errands.is_busy, timeout=WAIT)


def layers(viewer: Any) -> dict[str, int]:
    """The difference layers and how many cells each holds."""
    named = [x for x in viewer.layers if x.name.startswith(("found", "only", "missed", "invented"))]
    return {layer.name: len(np.unique(layer.data)) - 1 for layer in named if layer.visible}


def test_without_an_image_the_dock_says_so_before_a_press(viewer: Any, no_engine: None) -> None:
    widget = CompareWidget(viewer)
    assert "Open an image" in widget.empty.text()
    assert not widget.button.isEnabled()
    viewer.add_image(np.ones((20, 20)))
    assert "Compare two" in widget.empty.text()
    assert widget.button.isEnabled()


def test_two_models_on_all_images_with_checked_cells(
    viewer: Any, widget: CompareWidget, script: FindingScript, tmp_path: Path, qtbot: Any
) -> None:
    assert widget.annotated.text() == "2 images with checked cells"
    assert widget.annotated.isChecked()
    press(widget, qtbot)
    assert script.asked == [(m, f"well_{n}") for n in (1, 2) for m in ("one", "two")]
    assert "two finds 30 of 30 cells (one: 16), invents 2 (0), outlines 0.91" in widget.verdict.text
    assert widget.verdict.text.endswith("better.")
    assert widget.verdict.label.property("role") == "good"
    assert "95 % interval +" in widget.basis.text
    assert layers(viewer) == {"found by both": 8, "only one": 0, "only two": 8}
    assert [widget.table.item(0, place).text() for place in range(6)] == [
        "all 2 images",
        "30",
        "16",
        "30",
        "0",
        "2",
    ]
    widget.save(tmp_path / "comparison")
    with (tmp_path / "comparison.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == ["well_1", "well_2", "all 2 images"]
    assert rows[0]["only two"] == "8"


def test_a_row_shows_its_image_with_the_differences(
    viewer: Any, widget: CompareWidget, script: FindingScript, qtbot: Any
) -> None:
    press(widget, qtbot)
    session = widget.session
    other = "well_2" if session.image.name == "well_1" else "well_1"
    row = next(at for at in range(3) if widget.table.item(at, 0).text() == other)
    widget.table.selectRow(row)
    qtbot.waitUntil(lambda: session.image.name == other and not session.queue.is_busy, timeout=WAIT)
    qtbot.waitUntil(lambda: not widget._errands.is_busy, timeout=WAIT)
    assert layers(viewer) == {"found by both": 8, "only one": 0, "only two": 8}
    session.queue.show(session.queue.items()[2])
    qtbot.waitUntil(lambda: session.image.name == "well_3" and not session.queue.is_busy, timeout=WAIT)
    assert layers(viewer) == {}, "nothing is compared there"


def test_pressed_twice_there_are_three_layers_and_a_dock_opened_again_reuses_them(
    viewer: Any, widget: CompareWidget, script: FindingScript, qtbot: Any
) -> None:
    press(widget, qtbot)
    script.places["one"] = TRUE
    press(widget, qtbot)
    assert layers(viewer) == {"found by both": 15, "only one": 0, "only two": 1}
    again = CompareWidget(viewer)
    viewer.window.add_dock_widget(again, name="Compare again")
    assert again.table.rowCount() == 3, "what was compared is still there"
    again.first.choose("two")
    again.second.choose("one")
    press(again, qtbot)
    assert layers(viewer) == {"found by both": 15, "only two": 1, "only one": 0}


def test_one_model_is_judged_by_the_checked_cells(viewer: Any, widget: CompareWidget, qtbot: Any) -> None:
    widget.first.choose("two")
    widget.second.choose("")
    assert widget.button.text() == "Evaluate"
    press(widget, qtbot)
    assert widget.verdict.text == "two finds 30 of 30, invents 2, outlines 0.91."
    assert "AP50 0.94" in widget.basis.text
    assert layers(viewer) == {"found by two": 15, "invented by two": 1, "missed by two": 0}


def test_a_layer_of_another_program_is_judged_on_its_image(
    viewer: Any, widget: CompareWidget, script: FindingScript, qtbot: Any
) -> None:
    theirs = np.zeros((192, 192), np.uint8)
    theirs[4:14, 4:14], theirs[100:105, 150:155] = 7, 9
    viewer.add_labels(theirs, name="cellpose")
    widget.first.choose("layer:cellpose")
    widget.second.choose("")
    assert not widget.annotated.isEnabled()
    press(widget, qtbot)
    assert script.asked == [], "nothing is searched"
    assert widget.verdict.text == "cellpose finds 1 of 15, invents 1, outlines 0.91."


def test_what_cannot_be_compared_is_said(viewer: Any, widget: CompareWidget, qtbot: Any) -> None:
    widget.second.choose("one")
    widget.button.click()
    assert "Both are the same" in widget.message.text
    widget.second.choose("")
    session = widget.session
    session.queue.show(session.queue.items()[2])
    qtbot.waitUntil(lambda: session.image.name == "well_3" and not session.queue.is_busy, timeout=WAIT)
    widget.one_image.setChecked(True)
    widget.button.click()
    qtbot.waitUntil(lambda: widget.job.status.state.is_over, timeout=WAIT)
    assert "no checked cell to judge by" in widget.message.text


def test_without_checked_cells_two_models_are_only_told_apart(
    viewer: Any, widget: CompareWidget, qtbot: Any
) -> None:
    session = widget.session
    session.queue.show(session.queue.items()[2])
    qtbot.waitUntil(lambda: session.image.name == "well_3" and not session.queue.is_busy, timeout=WAIT)
    widget.one_image.setChecked(True)
    press(widget, qtbot)
    assert widget.verdict.text == "Both find 8 cells; one alone 0, two alone 8."
    assert "nobody knows which is right" in widget.basis.text


def test_a_model_is_not_judged_by_its_own_guesses() -> None:
    truth = np.zeros((6, 240), np.int32)
    for number in range(1, 31):
        truth[1:5, 8 * number - 7 : 8 * number - 2] = number
    other, known = np.where(np.arange(240) % 8 == 1, 0, truth), np.ones(truth.shape, bool)
    sentence, basis, kind = verdict_words([compare_image("a", [truth, other], truth, known)], ["cupre", "v1"])
    assert kind == "plain"
    assert "worse" not in sentence
    assert "guesses of cupre that you accepted" in basis
    drawn = np.where(np.arange(6)[:, None] == 1, 0, truth)
    _, basis, kind = verdict_words([compare_image("a", [truth, other], drawn, known)], ["cupre", "v1"])
    assert "accepted" not in basis
    assert kind == "error"


def test_a_round_has_not_seen_cells_that_were_checked_after_it() -> None:
    cells = Cells.of(np.array([[1, 0, 2]]), State.CHECKED, by=By("me", "2026-11-20T10:00:00Z"))
    entry = ProjectImage("a", "a.tif", "", (1, 3))
    assert is_unseen(entry, cells, "2026-11-20T09:00:00Z")
    assert not is_unseen(entry, cells, "2026-11-20T11:00:00Z")
    assert is_unseen(entry, cells, "")
    entry.held = "all"
    assert is_unseen(entry, cells, "2026-11-20T11:00:00Z")
