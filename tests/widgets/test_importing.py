"""Annotations of many images, imported at once into a project in a real window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plates import write_plate

from napari_cupre.events import RunState
from napari_cupre.io.tiff import write_labels
from napari_cupre.project.cells import State
from napari_cupre.project.gestures import draw
from napari_cupre.project.project import Project
from napari_cupre.project.queue import add_files

WAIT = 60_000
SQUARE = np.array([(4, 4), (4, 14), (14, 14), (14, 4)])


@pytest.fixture
def session(workbench: Any, no_engine: None, tmp_path: Path, discs: Any, qtbot: Any) -> Any:
    """A window with a project of six images; in the sixth a cell is drawn."""
    folder = write_plate(tmp_path / "plate", discs[0], 6)
    with Project.create(tmp_path / "work") as project:
        add_files(project, folder)
        project.save()
    session = workbench.annotate.session
    session.keeper.open(project.folder)
    qtbot.waitUntil(lambda: session.image is not None and not session.queue.is_busy, timeout=WAIT)
    cells = session.keeper.project.cells("well_6")
    cells.apply(draw(cells, SQUARE))
    session.keeper.touch()
    assert session.keeper.stem_of(session.image) == "well_1"
    assert session.keeper.image_of("well_6") is None
    return session


def test_files_go_to_the_images_they_are_named_after(
    workbench: Any,
    session: Any,
    tmp_path: Path,
    discs: Any,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = tmp_path / "annotations"
    files.mkdir()
    for stem in ("well_1", "well_5", "well_6", "elsewhere"):
        write_labels(files / f"{stem}_masks.tif", discs[1])
    (files / "torn.json").write_text("{")
    square = {"name": "polygon", "all_points_x": [5, 15, 15, 5], "all_points_y": [5, 5, 15, 15]}
    regions = [{"shape_attributes": square}]
    names = ("well_3.tif", "well_4.tif", "gone.tif")
    listed = {name: {"filename": name, "regions": regions} for name in names}
    (files / "via.json").write_text(json.dumps(listed))
    counted: list[Any] = []
    monkeypatch.setattr("napari_cupre.widgets.queueing.queue", counted.append)
    workbench.annotate.import_files(*sorted(files.iterdir()))
    qtbot.waitUntil(lambda: session.importing.status.state is RunState.DONE, timeout=WAIT)
    said = workbench.annotate.message.text
    read = "well_1 (36 cells), well_3 (1 cell), well_4 (1 cell), well_5 (36 cells)"
    assert said.startswith(f"Read the cells of 4 images: {read}. Left out: ")
    for part in ("elsewhere", "gone", "torn.json", '"well_6" has checked or edited cells: show it'):
        assert part in said
    assert session.cells_of(session.image).cells.count(State.EDITED) == 36
    qtbot.waitUntil(lambda: not session.keeper.is_dirty, timeout=WAIT)
    with Project.open(session.keeper.project.folder, look_only=True) as stored:
        counts = {f"well_{n}": stored.cells(f"well_{n}").count(State.EDITED) for n in range(1, 7)}
    assert counts == {"well_1": 36, "well_2": 0, "well_3": 1, "well_4": 1, "well_5": 36, "well_6": 1}
    items = {item.stem: item for item in session.queue.items()}
    qtbot.waitUntil(lambda: session.queue.state(items["well_5"]) == "36 cells, 36 checked", timeout=WAIT)
    assert not counted, "all images are counted again for each one, which takes forever for thousands"


def test_two_annotations_of_one_image_are_not_chosen_between(
    workbench: Any, session: Any, tmp_path: Path, discs: Any, qtbot: Any
) -> None:
    for name in ("well_1_masks.tif", "well_1_labels.tif", "well_2_masks.tif"):
        write_labels(tmp_path / name, discs[1])
    names = ("well_1_masks.tif", "well_1_labels.tif", "well_2_masks.tif")
    workbench.annotate.import_files(*(tmp_path / name for name in names))
    qtbot.waitUntil(lambda: session.importing.status.state is RunState.DONE, timeout=WAIT)
    said = workbench.annotate.message.text
    assert said.startswith("Read the cells of 1 image: well_2 (36 cells). Left out:")
    assert '"well_1_masks.tif" is not the only annotation of "well_1" here: choose one.' in said
    found = session.cells_of(session.image)
    assert found is None or not found.cells.count()


def test_a_single_annotation_is_that_of_the_chosen_image(
    workbench: Any, session: Any, tmp_path: Path, discs: Any, qtbot: Any
) -> None:
    write_labels(tmp_path / "any name.tif", discs[1])
    workbench.annotate.import_files(tmp_path / "any name.tif")
    qtbot.waitUntil(lambda: session.importing.status.state is RunState.DONE, timeout=WAIT)
    assert workbench.annotate.message.text == "36 cells read from any name.tif."
    workbench.annotate.import_files(tmp_path / "any name.tif", tmp_path / "none.zip")
    qtbot.waitUntil(lambda: session.importing.status.state is RunState.FAILED, timeout=WAIT)
    assert "No annotation belongs to an image here." in workbench.annotate.message.text
    assert "none.zip" in workbench.annotate.message.text


def test_many_files_with_notes_are_told_in_few_words(
    workbench: Any, session: Any, tmp_path: Path, qtbot: Any
) -> None:
    outside = {"name": "polygon", "all_points_x": [5000, 5010, 5010], "all_points_y": [5, 5, 15]}
    inside = {"name": "polygon", "all_points_x": [5, 15, 15, 5], "all_points_y": [5, 5, 15, 15]}
    regions = [{"shape_attributes": each} for each in (inside, outside)]
    names = [f"well_{number}.tif" for number in range(1, 6)] + [f"gone_{number}.tif" for number in range(5)]
    for name in names:
        (tmp_path / f"{name}.json").write_text(json.dumps({name: {"filename": name, "regions": regions}}))
    workbench.annotate.import_files(*sorted(tmp_path.glob("*.json")))
    qtbot.waitUntil(lambda: session.importing.status.state is RunState.DONE, timeout=WAIT)
    said = workbench.annotate.message.text
    assert said.startswith("Read the cells of 5 images")
    assert " 1 more was left out. " in said
    assert said.count("1 lies outside") == 2
    assert '"well_1.tif.json (well_1.tif)": 1 of 2 shapes became cells' in said, "which image is meant"
    assert said.endswith("3 more files have such notes.")
