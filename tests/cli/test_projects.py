"""A project goes where a command takes labels or images."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.cli.main import main
from napari_cupre.cli.projects import channels_of, collect_project, with_projects
from napari_cupre.cli.suggest import split_labelled
from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.evaluation.places import Candidate
from napari_cupre.prediction.onefile import FileJob
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.gestures import place
from napari_cupre.project.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two images; in "a" a cell is checked and one is a guess."""
    with Project.create(tmp_path / "nuclei") as project:
        for seed, name in enumerate("ab"):
            file = tmp_path / f"{name}.tif"
            tifffile.imwrite(file, np.random.default_rng(seed).integers(0, 200, (40, 40), np.uint8))
            project.add(file)
        cells: Cells = project.cells("a")
        cells.apply(place(cells, np.ones((9, 9), bool), (2, 2)))
        cells.apply(place(cells, np.ones((9, 9), bool), (20, 20), state=State.GUESS))
        project.save()
        return project.folder


def test_the_images_of_a_project_are_predicted(project: Path, tmp_path: Path) -> None:
    paths = with_projects([str(project), "x.png"], unexpected)
    assert [Path(path).name for path in paths] == ["a.tif", "b.tif", "x.png"]
    with Project.create(tmp_path / "none"):
        pass
    with pytest.raises(InputError, match="contains no image"):
        with_projects([str(tmp_path / "none.cupre")], unexpected)


def unexpected(path: str, reason: str) -> None:
    raise AssertionError(reason)


def test_an_image_that_is_missing_does_not_keep_the_others_of_its_project(
    command: Callable[..., Any], project: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.tif").unlink()
    ran = command("predict", tiny_model, project, "--out", tmp_path / "results")
    assert ran.code == 2
    assert "1 of 2 images failed" in ran.out
    assert 'a.tif" is missing' in ran.err, "at once"
    assert 'a.tif" is missing' in ran.out, "and in the end"
    assert (tmp_path / "results" / "b.tif").is_file()
    (tmp_path / "b.tif").unlink()
    assert "is missing" in command("predict", tiny_model, project, "--out", tmp_path / "more").err


def test_the_channels_of_a_project_are_those_of_the_command(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that has only one is used as it is; a choice on the command line goes first."""
    seen: dict[str, tuple[int, ...] | None] = {}

    def small(job: FileJob, detector: object, image: CellImage) -> Iterator[object]:
        seen[image.name] = job.options.channels
        raise InputError("enough")
        yield

    monkeypatch.setattr("napari_cupre.prediction.onefile._small", small)
    file = tmp_path / "many.tif"
    tifffile.imwrite(file, np.zeros((5, 40, 40), np.uint8), metadata={"axes": "CYX"}, ome=True)
    with Project.open(project) as opened:
        opened.add(file)
        for entry in opened.images:
            entry.channels = (2, 4)
        opened.save()
    command = ["predict", "cupre", str(project), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert seen == {"a.tif": None, "b.tif": None, "many.tif": (2, 4)}
    main([*command, "--channels", "0"])
    assert seen["many.tif"] == (0,)


def test_projects_of_different_channels_are_not_predicted_with_those_of_one(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "many.tif"
    tifffile.imwrite(file, np.zeros((5, 40, 40), np.uint8), metadata={"axes": "CYX"}, ome=True)
    for name, channels in (("one", (3,)), ("two", (0, 4)), ("three", None)):
        with Project.create(tmp_path / name) as made:
            made.add(file, channels=channels)
            made.save()
    one, two, three = (str(tmp_path / f"{name}.cupre") for name in ("one", "two", "three"))
    assert channels_of([str(project), one, one]) == (3,)  # that one's images have no channels to choose
    assert channels_of([three, str(project)]) is None
    for given in ([one, two], [three, one]):
        assert main(["predict", "cupre", *given, "--out", str(tmp_path / "out")]) == 2
        assert "--channels" in capsys.readouterr().err
    assert channels_of([one, two], (1,)) == (1,)


def test_of_a_file_of_several_images_those_of_the_project_are_predicted(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for number, name in enumerate(("one", "two", "three")):
            writer.write(np.full((10 + number, 12), number, np.uint8), metadata={"axes": "YX", "Name": name})
    with Project.create(tmp_path / "p") as project:
        for name in ("three", "one"):
            project.add(tmp_path / "a.ome.tif", series=name)
        cells = project.cells("a_three")
        cells.apply(place(cells, np.ones((4, 4), bool), (2, 2)))
        project.save()
        folder = str(project.folder)
    scenes = [tmp_path / "a.ome.tif" / name for name in ("three", "one")]
    assert with_projects([folder], unexpected) == list(map(str, scenes))
    assert split_labelled(scenes, folder) == (scenes[1:], scenes[:1])


def test_checked_cells_are_collected_for_training(project: Path, tmp_path: Path) -> None:
    (shot,) = collect_project(str(project), str(project), None, 0).shots
    assert int((shot.labels > 0).sum()) == 81
    assert not shot.known[24, 24]
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.tif").rename(tmp_path / "moved" / "z.tif")
    assert collect_project(str(project), str(tmp_path / "moved"), 1, 0).shots
    with Project.create(tmp_path / "none"):
        pass
    with pytest.raises(InputError, match="annotate some cells first"):
        collect_project(str(tmp_path / "none.cupre"), ".", None, 0)


def test_annotated_images_of_a_project_are_not_suggested(project: Path, tmp_path: Path) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    assert split_labelled(images, str(project)) == (images[1:], images[:1])


def test_predictions_are_judged_where_a_project_knows(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = np.zeros((40, 40), np.int32)
    found[2:11, 2:11], found[20:29, 20:29] = 1, 2  # the second is a guess that nobody answered
    (tmp_path / "out").mkdir()
    tifffile.imwrite(tmp_path / "out" / "a.tif", found)
    page = ["--out", str(tmp_path / "judged"), "--images", str(tmp_path / "*.tif")]
    assert main(["evaluate", str(project), str(tmp_path / "out"), "--json", *page]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["pooled"]["ap"] == 1.0
    assert "data:image/png" not in (tmp_path / "judged" / "report.html").read_text()  # no fault to show


def test_what_a_project_says_itself_is_not_said_twice(project: Path, tmp_path: Path) -> None:
    from napari_cupre.cli.finetune import _collect

    args = Namespace(
        labels=str(project), images=".", partial=True, regions=None, axes=None, series=None, channels=None
    )
    with pytest.raises(InputError, match="already stores"):
        _collect(args, "cupre")


def test_images_without_annotation_are_seen_like_those_of_the_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, and the rating of what to annotate next, see the channels of the project."""
    from napari_cupre.cli.finetune import _collect
    from napari_cupre.service.beside import RateRequest
    from napari_cupre.service.rating import Rating

    folder = tmp_path / "more"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 200, (5, 40, 40)).astype(np.uint8)
    tifffile.imwrite(folder / "many.tif", pixels, metadata={"axes": "CYX"}, ome=True)
    with Project.open(project) as opened:
        for entry in opened.images:
            entry.channels = (3,)
        opened.save()
    given = {"images": str(project), "labels": str(project), "unlabelled": [str(folder)]}
    args = Namespace(
        **given, partial=False, regions=None, axes=None, series=None, channels=None, limit=None, seed=0
    )
    (shot,) = [each for each in _collect(args, "cupre").shots if each.is_unlabelled]
    alone = CellImage.from_array(pixels[3], "YX").normalised()
    np.testing.assert_array_equal(shot.image, alone)
    seen: dict[str, tuple[int, ...] | None] = {}

    def look(candidates: list[Candidate], *args: object, **more: object) -> Iterator[object]:
        seen.update({each.name: each.read().channels for each in candidates})
        raise InputError("enough")
        yield

    monkeypatch.setattr("napari_cupre.evaluation.suggestions.suggest", look)
    request = RateRequest("cupre", str(project), {"loose": str(folder / "many.tif")}, "cpu", channels=(3,))
    with pytest.raises(InputError, match="enough"):
        list(Rating(request).events())
    assert seen == {"a": (3,), "b": (3,), "loose": (3,)}
    seen.clear()
    assert main(["suggest", str(folder), "--labelled", str(project), "--model", "cupre"]) == 2
    assert seen[str(folder / "many.tif")] == (3,)
