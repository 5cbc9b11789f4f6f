"""Images larger than memory, predicted for the window by the engine's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from predict_oracle import disc_labels, scattered_discs, seeing_model

from napari_cupre.events import Event, Finished, Notice
from napari_cupre.service.jobs import Prediction
from napari_cupre.service.protocol import PredictRequest, SlideGrown
from napari_cupre.service.slides import is_slide_in_use, slide_path

SHAPE = (500, 540)
DISCS = scattered_discs(11, SHAPE, (9, 14), 120, 3.0)
OPTIONS = {"diameter": 24.0, "score": None, "tile": 256}


@pytest.fixture(autouse=True)
def slides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the results, and a model that finds discs."""
    monkeypatch.setenv("NAPARI_CUPRE_SLIDES", str(tmp_path / "slides"))
    monkeypatch.setattr("napari_cupre.model.zoo.open_model", lambda *_: seeing_model())
    return tmp_path / "slides"


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "slide.zarr"
    pixels = (disc_labels(DISCS, SHAPE) > 0).astype(np.uint8) * 250
    zarr.create_array(path, data=pixels, chunks=(128, 128), zarr_format=2)
    return path


def predict(path: Path, stop_after: int | None = None, **changes: Any) -> list[Any]:
    request = PredictRequest("scratch", str(path), "YX", "my slide", "cpu", False, OPTIONS, True)
    job = Prediction(PredictRequest(**{**vars(request), **changes}))
    events = []
    for event in job.events():
        events.append(event)
        if sum(isinstance(each, SlideGrown) for each in events) == stop_after:
            job.stop()
    return events


def grown(events: list[Event]) -> list[SlideGrown]:
    return [event for event in events if isinstance(event, SlideGrown)]


def test_a_slide_that_was_cancelled_goes_on_and_one_that_is_done_is_there_at_once(
    slide: Path, slides: Path
) -> None:
    first = predict(slide, stop_after=3)
    assert len(grown(first)) == 4
    second = predict(slide)
    total = predict(slide, options={**OPTIONS, "score": 0.4})
    assert len(grown(first)) + len(grown(second)) == len(grown(total)) + 1
    third = predict(slide)
    assert len(grown(third)) == 1
    assert grown(third)[0].path == grown(second)[0].path
    for events in (second, total, third):
        assert isinstance(events[-1], Finished)
        assert events[-1].result["complete"]
        assert events[-1].result["cells"] == len(DISCS)
    assert len(list(slides.glob("*.zarr"))) == 2, "another score is another result"
    finest = np.asarray(zarr.open_group(grown(third)[0].path, mode="r")["0"])
    assert len(np.unique(finest)) - 1 == len(DISCS)


def test_a_copy_is_told_by_its_pixels(tmp_path: Path) -> None:
    plane = (disc_labels(DISCS, SHAPE) > 0).astype(np.uint8) * 250
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", plane)
    first = predict(tmp_path / "one.npy", is_copy=True)
    again = predict(tmp_path / "two.npy", is_copy=True)
    np.save(tmp_path / "three.npy", plane[::-1])
    other = predict(tmp_path / "three.npy", is_copy=True)
    assert grown(first)[0].path == grown(again)[0].path != grown(other)[0].path
    assert not list(tmp_path.glob("*.npy")), "copies are removed"


def test_a_changed_file_is_another_image(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    plane = (disc_labels(DISCS, SHAPE) > 0).astype(np.uint8) * 250
    tifffile.imwrite(path, plane)
    first = predict(path)
    tifffile.imwrite(path, np.concatenate([plane, plane]))
    assert grown(predict(path))[0].path != grown(first)[0].path


def test_a_damaged_part_is_left_out_and_said(tmp_path: Path) -> None:
    slide = tmp_path / "wide.zarr"
    pixels = np.tile(disc_labels(DISCS, SHAPE) > 0, (3, 3)).astype(np.uint8) * 250
    zarr.create_array(slide, data=pixels, chunks=(512, 512), zarr_format=2)
    (slide / "0.0").write_bytes(b"no chunk")
    events = predict(slide)
    assert any(isinstance(event, Notice) and "rows 0-" in event.message for event in events)
    assert not events[-1].result["complete"]
    assert "partial" in events[-1].verdict
    assert events[-1].result["cells"] > 0


@pytest.mark.parametrize("name", ["a/b\\c:d.ome.zarr", "", "..", "x" * 300])
def test_any_name_makes_a_path(name: str, slides: Path, slide: Path) -> None:
    from dataclasses import replace

    from napari_cupre.io.images import read_image

    image = replace(read_image(slide, "YX"), name=name)
    path = slide_path(image, slide, False, "scratch", OPTIONS)
    assert path.parent == slides
    assert len(path.name) < 100


def test_older_results_go_beyond_the_limit_and_the_one_being_made_stays(slide: Path, slides: Path) -> None:
    (first,) = {event.path for event in grown(predict(slide))}
    (again,) = {event.path for event in grown(predict(slide, keep_bytes=0))}
    assert again == first, "it continues what is there"
    (other,) = {
        event.path for event in grown(predict(slide, options={**OPTIONS, "score": 0.4}, keep_bytes=0))
    }
    assert not Path(first).exists()
    assert Path(other).exists()


def test_a_result_is_in_use_while_it_is_made(slide: Path, slides: Path) -> None:
    request = PredictRequest("scratch", str(slide), "YX", "my slide", "cpu", False, OPTIONS, True)
    job = Prediction(request)
    events = job.events()
    path = next(Path(event.path) for event in events if isinstance(event, SlideGrown))
    assert is_slide_in_use(path)
    job.stop()
    list(events)
    assert not is_slide_in_use(path)
