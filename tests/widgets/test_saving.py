"""Results written from the window and from File > Save are what the other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_cupre.errors import InputError
from napari_cupre.events import Finished
from napari_cupre.io.importers import import_annotations
from napari_cupre.project.gestures import accept, reject
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.layers import cell_image
from napari_cupre.widgets.saving import FORMAT_CHOICES, Savable, safe_stem, savable, save_results
from napari_cupre.widgets.session import METADATA_KEY, Session


def test_the_formats_offered_are_those_that_exist() -> None:
    from napari_cupre.io.writers import FORMATS

    assert {name for name, _ in FORMAT_CHOICES} == set(FORMATS)


@pytest.fixture
def result(discs: tuple[np.ndarray, np.ndarray]) -> Savable:
    """Two overlapping cells in linked numbering: ids 7 and 4 are rows 0 and 1."""
    labels = np.zeros((40, 50), np.int32)
    labels[5:15, 5:15], labels[15:25, 5:15] = 7, 4
    plane = {
        "index": {},
        "ids": np.array([7, 4], np.int32),
        "boxes": np.array([[5, 5, 15, 15], [5, 10, 15, 25]], np.float32),
        "scores": np.array([0.9, 0.6], np.float32),
        "classes": np.array([1, 2]),
        "class_names": ["round", "long"],
        "masks": np.ones((2, 28, 28), np.float16),
        "diameter": 11.0,
        "areas": np.array([100, 100]),
    }
    return Savable(cell_image(Image(np.ones((40, 50)), name="my field")), labels, (plane,))


def test_every_format_is_written_and_scores_and_overlap_are_kept(result: Savable, tmp_path: Path) -> None:
    formats = [name for name, _ in FORMAT_CHOICES]
    events = list(save_results([result], tmp_path, formats))
    assert any(isinstance(event, Finished) for event in events)
    assert len([file for file in tmp_path.iterdir() if not file.name.startswith(".")]) == len(formats)
    document = json.loads((tmp_path / "my field.json").read_text())
    assert sorted(a["score"] for a in document["annotations"]) == pytest.approx([0.6, 0.9])
    assert sum(a["area"] for a in document["annotations"]) > (result.labels > 0).sum(), "the masks overlap"
    (back,) = import_annotations(tmp_path / "my field.tif").values()
    np.testing.assert_array_equal(back, result.labels)
    assert [c["name"] for c in document["categories"]] == ["round", "long"]
    table = (tmp_path / "my field.csv").read_text()
    assert "round" in table
    assert "long" in table


def test_files_of_one_name_are_saved_under_the_names_of_the_project(
    viewer: Any, result: Savable, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session.of(viewer)
    names = []
    for name in ("well", "well", "mine"):
        image = viewer.add_image(np.ones((40, 50)), name=name)
        viewer.add_labels(result.labels, name=f"{image.name} cells")
        monkeypatch.setattr(session.keeper, "stem_of", lambda image: "well_2")
        names.append(savable(session, session.images()[-1]).image.name)
    assert names == ["well", "well_2", "mine"], "napari calls the second well [1]"


def test_edited_labels_are_written_as_they_are_now(viewer: Any, result: Savable, tmp_path: Path) -> None:
    viewer.add_image(np.ones((40, 50)), name="my field")
    session = Session.of(viewer)
    (image,) = session.images()
    with pytest.raises(InputError, match="no cells yet"):
        savable(session, image)
    metadata = {METADATA_KEY: {"planes": list(result.planes), "axes": "YX"}}
    layer = Labels(result.labels.copy(), metadata=metadata, name="my field cells")
    session.viewer.add_layer(layer)
    assert len(savable(session, image).planes) == 1
    layer.save(str(tmp_path / "saved.json"), plugin="napari-cupre")
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert sorted(a["score"] for a in saved["annotations"]) == pytest.approx([0.6, 0.9])
    assert [c["name"] for c in saved["categories"]] == ["round", "long"]
    cells = session.make_cells(image)
    cells.do(lambda now: accept(now, [7]))
    assert len(savable(session, image).planes) == 1, "a cell that is accepted is as it was found"
    layer.data[30:35, 30:35] = 9
    assert savable(session, image).planes == ()
    layer.save(str(tmp_path / "edited.json"), plugin="napari-cupre")
    edited = json.loads((tmp_path / "edited.json").read_text())
    assert len(edited["annotations"]) == 3
    assert "score" not in edited["annotations"][0]


def test_what_is_hidden_or_rejected_is_not_written(viewer: Any, result: Savable, tmp_path: Path) -> None:
    viewer.add_image(np.ones((40, 50)), name="my field")
    session = Session.of(viewer)
    (image,) = session.images()
    cells = session.make_cells(image)
    cells.do(lambda now: renew_guesses(now, result.labels, {7: 0.9, 4: 0.6}))
    assert set(np.unique(savable(session, image).labels)) == {0, 1, 2}
    cells.certainty = 0.7
    (number,) = [n for n in cells.cells.rows if cells.visible(n)]
    assert set(np.unique(savable(session, image).labels)) == {0, number}
    cells.do(lambda now: reject(now, [number]))
    assert not savable(session, image).labels.any()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "c:d", "", " . "])
def test_a_layer_name_is_no_path(name: str) -> None:
    stem = safe_stem(name)
    assert stem
    assert Path(stem).name == stem
    assert "/" not in stem
    assert ":" not in stem


@pytest.mark.parametrize("ending", [".zip", ".geojson", ".json", ".csv"])
def test_napari_saves_a_labels_layer(
    viewer: Any, discs: tuple[np.ndarray, np.ndarray], ending: str, tmp_path: Path
) -> None:
    layer = viewer.add_labels(discs[1], name="field")
    path = tmp_path / f"field{ending}"
    assert layer.save(str(path), plugin="napari-cupre") == [str(path)]
    if ending == ".csv":
        assert len(path.read_text().splitlines()) == discs[1].max() + 1
        return
    (back,) = import_annotations(path, discs[1].shape).values()
    np.testing.assert_array_equal(back > 0, discs[1] > 0)
    assert len(np.unique(back)) == len(np.unique(discs[1]))


def test_results_beside_the_images_replace_neither_image_nor_earlier_result(
    result: Savable, tmp_path: Path
) -> None:
    raw = tmp_path / "my field.ome.tif"
    raw.write_bytes(b"raw pixels")
    hand_made = tmp_path / "my field_labels.tif"
    hand_made.write_bytes(b"by hand")
    for _ in range(2):
        events = list(save_results([result], tmp_path, ["tif", "csv"], [raw], empty=2))
    said = next(event.verdict for event in events if isinstance(event, Finished))
    assert raw.read_bytes() == b"raw pixels"
    assert hand_made.read_bytes() == b"by hand"
    assert "my field_labels-3" in said
    assert str(tmp_path) in said
    assert said.endswith("2 images have no cells.")
    assert (tmp_path / "my field_labels-2.csv").exists()
    assert (tmp_path / "my field_labels-3.tif").exists()


def test_layers_whose_names_differ_in_signs_alone_have_files_of_their_own(
    result: Savable, tmp_path: Path
) -> None:
    twins = []
    for number, name in enumerate(("well A/1", "well A:1"), start=1):
        labels = np.zeros((40, 50), np.int32)
        labels[:5, : 5 * number] = 1
        twins.append(Savable(cell_image(Image(np.ones((40, 50)), name=name)), labels, ()))
    list(save_results(twins, tmp_path, ["tif"]))
    areas = [
        int((next(iter(import_annotations(path).values())) > 0).sum())
        for path in sorted(tmp_path.glob("*.tif"))
    ]
    assert sorted(areas) == [25, 50]


@pytest.mark.parametrize("name", ["x" * 300, "é" * 200, "CON", "nul.txt", "lpt1"])
def test_every_layer_name_can_be_a_file_on_every_system(name: str) -> None:
    stem = safe_stem(name)
    assert len(stem.encode()) <= 180
    assert stem.split(".")[0].lower() not in {"con", "nul", "lpt1"}


def test_a_folder_that_cannot_be_written_is_told_in_words(
    viewer: Any, result: Savable, tmp_path: Path, qtbot: Any
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    job = Session.of(viewer).saving
    job.start(save_results, [result], blocked / "below", ["tif"])
    qtbot.waitUntil(lambda: job.status.state.is_over, timeout=60_000)
    assert job.status.error
    assert "Errno" not in job.status.error
