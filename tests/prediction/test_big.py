"""Images larger than memory: same cells, continued after a stop, a kill and a damaged file."""

from __future__ import annotations

import errno
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from predict_oracle import disc_labels, scattered_discs, seeing_model, slide_of_discs
from predict_runs import drained, stored

from napari_cupre.data.image import CellImage
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.events import Event, Finished, Notice, TileDone
from napari_cupre.io.images import read_image
from napari_cupre.model.checkpoint import Model
from napari_cupre.prediction.big import predict_big
from napari_cupre.prediction.bigfiles import ledger_path
from napari_cupre.prediction.labelstore import LabelStore
from napari_cupre.prediction.limits import is_big
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.stack import ImageResult, predict_image

SHAPE = (400, 440)
OPTIONS = PredictOptions(diameter=24.0, tile=256)


@pytest.fixture
def image() -> CellImage:
    return slide_of_discs(SHAPE, 120, scale={"Y": 0.5, "X": 0.5}, units={"Y": "um", "X": "um"})


def run(image: CellImage, out: Path, options: PredictOptions = OPTIONS, model: Model | None = None, **more):
    return drained(predict_big(model or seeing_model(), image, out, options, **more))


def same_cells(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two label images hold the same instances, whatever their numbers."""
    match = match_instances(first, second)
    return len(match.truth_ids) == len(match.predicted_ids) and bool((match.truth_iou == 1).all())


def test_disk_gets_what_memory_gets(image: CellImage, tmp_path: Path) -> None:
    out = tmp_path / "slide.zarr"
    events, result = run(image, out)
    memory = drained(predict_image(seeing_model(), image, OPTIONS))[0][-1].result
    assert result.complete
    assert result.count == memory["cells"] == len(np.unique(stored(out))) - 1
    untiled = drained(predict_image(seeing_model(), image, PredictOptions(diameter=24.0)))[1].labels
    right, extra, missed = match_instances(untiled, stored(out)).counts(0.5)
    assert 2 * right / (2 * right + extra + missed) >= 0.99
    assert isinstance(events[-1], Finished)
    assert not ledger_path(out).exists()


def test_a_slide_with_cells_of_another_size_than_trained_for(tmp_path: Path) -> None:
    discs = scattered_discs(12, SHAPE, (28, 32), 60, 4.0)
    plane = (disc_labels(discs, SHAPE) > 0).astype(np.uint8) * 250
    slide = CellImage.from_array(da.from_array(plane, chunks=64), "YX", name="slide")
    events, result = run(slide, tmp_path / "slide.zarr", PredictOptions(tile=256), model=seeing_model(20.0))
    assert result.count == len(discs)
    assert result.diameter == pytest.approx(60, rel=0.1)
    assert "where the model was trained on 20 px" in events[-1].verdict


def test_result_is_an_ome_zarr_with_scale_levels_and_table(image: CellImage, tmp_path: Path) -> None:
    out = tmp_path / "slide.zarr"
    shape = (1250, 440)
    data = da.concatenate([image.data, image.data, image.data, image.data[:50]])
    wide = CellImage.from_array(data, "YX", scale=image.scale, units=image.units)
    _, result = run(wide, out)
    group = zarr.open_group(out, mode="r")
    assert group["0"].shape == shape
    np.testing.assert_array_equal(np.asarray(group["1"]), np.asarray(group["0"])[::2, ::2])
    again = read_image(out)
    assert again.scale == {"Y": 0.5, "X": 0.5}
    assert again.units == {"Y": "micrometer", "X": "micrometer"}
    table = pd.read_csv(result.table)
    assert sorted(table["label"]) == np.unique(stored(out))[1:].tolist()
    assert set(table["class"]) == {"cell"}
    for row in table.head(20).itertuples():
        rows, columns = np.nonzero(stored(out) == row.label)
        assert rows.min() >= row.y1 - 1
        assert columns.max() <= row.x2 + 1


@pytest.mark.parametrize("parts", range(4))
def test_coarser_levels_grow_with_the_finest(tmp_path: Path, parts: int) -> None:
    """Viewers show the whole of a slide by them, long before it is done."""
    rng = np.random.default_rng(parts)
    shape = (3, 2100, 1501)
    store = LabelStore(tmp_path / "labels.zarr", CellImage.from_array(da.zeros(shape, chunks=500), "ZYX"))
    for _ in range(5):
        top, left = rng.integers(0, 2099), rng.integers(0, 1500)
        bottom, right = rng.integers(top + 1, 2101), rng.integers(left + 1, 1502)
        part = rng.integers(0, 900, (bottom - top, right - left), dtype=np.int32)
        store.plane({"Z": 1})[top:bottom, left:right] = part
    group = zarr.open_group(tmp_path / "labels.zarr", mode="r")
    finest = np.asarray(group["0"])
    assert finest[1].any()
    assert not finest[0].any()
    assert [level["path"] for level in group.attrs["multiscales"][0]["datasets"]] == ["0", "1", "2"]
    for level in (1, 2):
        np.testing.assert_array_equal(np.asarray(group[str(level)]), finest[:, :: 2**level, :: 2**level])


def test_a_stopped_job_goes_on_where_it_was(image: CellImage, tmp_path: Path) -> None:
    run(image, tmp_path / "whole.zarr")
    out = tmp_path / "slide.zarr"
    answers = iter([False] * 4 + [True])
    events, result = run(image, out, should_stop=lambda: next(answers))
    first = sum(isinstance(event, TileDone) for event in events)
    assert not result.complete
    assert not zarr.open_group(out, mode="r").attrs["napari_cupre"]["complete"]
    assert stored(out).any()
    events, result = run(image, out)
    second = sum(isinstance(event, TileDone) for event in events)
    assert result.complete
    assert first == 5
    total = run(image, tmp_path / "third.zarr")[0]
    assert first + second == sum(isinstance(event, TileDone) for event in total)
    assert same_cells(stored(tmp_path / "whole.zarr"), stored(out))


@pytest.mark.parametrize("crash_at", [1, 3, 6])
def test_a_job_killed_while_writing_a_tile_loses_nothing(
    image: CellImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    run(image, tmp_path / "whole.zarr")
    out = tmp_path / "slide.zarr"
    from napari_cupre.prediction.labelstore import StoredPlane

    write = StoredPlane.__setitem__
    calls = []

    def crash(plane: StoredPlane, key: tuple[slice, slice], value: np.ndarray) -> None:
        calls.append(key)
        if len(calls) == crash_at:
            # Half of the tile reaches the disk.
            half = (key[0].start + key[0].stop) // 2
            write(plane, (slice(key[0].start, half), key[1]), value[: half - key[0].start])
            raise KeyboardInterrupt
        write(plane, key, value)

    monkeypatch.setattr(StoredPlane, "__setitem__", crash)
    with pytest.raises(KeyboardInterrupt):
        run(image, out)
    monkeypatch.setattr(StoredPlane, "__setitem__", write)
    _, result = run(image, out)
    assert result.complete
    assert same_cells(stored(tmp_path / "whole.zarr"), stored(out))


def test_unreadable_part_is_named_and_filled_later(image: CellImage, tmp_path: Path) -> None:
    out = tmp_path / "slide.zarr"

    def broken(block: np.ndarray, block_info=None) -> np.ndarray:
        if block_info and block_info[0]["chunk-location"] == (0, 0):
            raise OSError("tile is truncated")
        return block

    meta = np.empty((0, 0), np.uint8)
    bad = CellImage.from_array(image.data.map_blocks(broken, dtype=np.uint8, meta=meta), "YX", name="slide")
    # The sparse look for the grey values would meet the damage too.
    bad.stretch = lambda *_: image.stretch()  # type: ignore[method-assign]
    events, result = run(bad, out)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "truncated" in notices[0]
    assert "rows 0-" in notices[0]
    assert not result.complete
    assert "partial" in events[-1].verdict
    _, mended = run(image, out)
    assert mended.complete
    assert mended.count > result.count
    run(image, tmp_path / "whole.zarr")
    _, extra, missed = match_instances(stored(tmp_path / "whole.zarr"), stored(out)).counts(0.5)
    assert (extra, missed) == (0, 0)


def test_full_disk_says_so_and_the_job_goes_on_later(
    image: CellImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "slide.zarr"
    run(image, out, should_stop=lambda: True)
    write = zarr.Array.__setitem__

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(EnvironmentFault, match=r"disk is full.*continues where it was"):
        run(image, out)
    monkeypatch.setattr(zarr.Array, "__setitem__", write)
    _, result = run(image, out)
    assert result.complete
    run(image, tmp_path / "whole.zarr")
    assert same_cells(stored(tmp_path / "whole.zarr"), stored(out))


def test_other_settings_or_folders_are_refused(image: CellImage, tmp_path: Path) -> None:
    out = tmp_path / "slide.zarr"
    run(image, out, should_stop=lambda: True)
    with pytest.raises(InputError, match="another score"):
        run(image, out, PredictOptions(diameter=24.0, tile=256, score=0.7))
    run(image, out)
    with pytest.raises(InputError, match="result of another model, other options or another state"):
        run(image, out, PredictOptions(diameter=24.0, tile=256, score=0.7))
    foreign = tmp_path / "foreign.zarr"
    zarr.create_group(foreign)
    with pytest.raises(InputError, match="not a label image of this image"):
        run(image, foreign)
    ledger_path(tmp_path / "odd.zarr").write_bytes(b"no database, but long enough to be taken for one" * 30)
    with pytest.raises(InputError, match="damaged"):
        run(image, tmp_path / "odd.zarr")


def test_what_is_finished_is_returned_at_once(image: CellImage, tmp_path: Path) -> None:
    out = tmp_path / "slide.zarr"
    _, before = run(image, out)
    events, result = run(image, out)
    assert result == before
    assert not any(isinstance(event, TileDone) for event in events)


def test_a_lost_chunk_leaves_a_partial_result(tmp_path: Path) -> None:
    path = tmp_path / "slide.zarr"
    discs = scattered_discs(11, SHAPE, (9, 14), 120, 3.0)
    pixels = (disc_labels(discs, SHAPE) > 0).astype(np.uint8) * 250 + 1
    zarr.create_array(path, data=pixels, chunks=(64, 64), zarr_format=2)
    (path / "1.1").unlink()
    damaged = read_image(path, "YX")
    for result, events in (
        run(damaged, tmp_path / "labels.zarr")[::-1],
        run(damaged, tmp_path / "labels.zarr")[::-1],
        in_memory(damaged)[::-1],
    ):
        assert not result.complete
        assert result.count > 0
        assert sum("lacks 1 of 49 chunks" in each.message for each in notices(events)) == 1
        assert events[-1].verdict.endswith("; the result is partial.")
    zarr.create_array(path, data=pixels, chunks=(64, 64), zarr_format=2, overwrite=True)
    with pytest.raises(InputError, match="another state of the image"):
        run(read_image(path, "YX"), tmp_path / "labels.zarr")


def notices(events: list[Event]) -> list[Notice]:
    return [event for event in events if isinstance(event, Notice)]


def in_memory(image: CellImage) -> tuple[list[Event], ImageResult]:
    """Events and result of `predict_image`."""
    return drained(predict_image(seeing_model(), image, OPTIONS))


def test_planes_of_a_stack(image: CellImage, tmp_path: Path) -> None:
    stack = CellImage.from_array(da.stack([image.data, image.data[::-1]]), "ZYX")
    _, result = run(stack, tmp_path / "stack.zarr")
    labels = stored(tmp_path / "stack.zarr")
    assert labels.shape == (2, *SHAPE)
    assert result.count == sum(len(np.unique(plane)) - 1 for plane in labels)
    assert set(pd.read_csv(result.table)["Z"]) == {0, 1}


@pytest.mark.parametrize("torn", [0, 1, 2])
def test_a_truncated_page_of_a_stack_costs_that_page_alone(
    image: CellImage, tmp_path: Path, torn: int
) -> None:
    def fail(block: np.ndarray, block_info: dict) -> np.ndarray:
        if block_info[0]["chunk-location"][0] == torn:
            raise OSError("page is truncated")
        return block

    planes = da.stack([image.data, image.data[::-1], image.data[:, ::-1]]).rechunk((1, *SHAPE))
    meta = np.empty((0, 0, 0), np.uint8)
    stack = CellImage.from_array(planes.map_blocks(fail, dtype=np.uint8, meta=meta), "ZYX", name="stack")
    options = PredictOptions(tile=256)
    events, result = run(stack, tmp_path / "stack.zarr", options)
    assert not result.complete
    assert "run the same again" in events[-1].verdict
    (notice,) = notices(events)
    assert f"Z={torn}" in notice.message
    assert "truncated" in notice.message
    assert [plane.any() for plane in stored(tmp_path / "stack.zarr")] == [n != torn for n in range(3)]
    _, mended = run(CellImage.from_array(planes, "ZYX", name="stack"), tmp_path / "stack.zarr", options)
    assert mended.complete
    assert stored(tmp_path / "stack.zarr")[torn].any()


def test_a_stack_of_which_nothing_can_be_read_is_refused(image: CellImage, tmp_path: Path) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise OSError("page is truncated")

    torn = da.stack([image.data] * 2).map_blocks(fail, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    with pytest.raises(InputError, match="truncated"):
        run(CellImage.from_array(torn, "ZYX"), tmp_path / "stack.zarr", PredictOptions(tile=256))


def test_what_is_big(image: CellImage) -> None:
    assert not is_big(image)
    assert is_big(CellImage.from_array(da.zeros((20000, 20000), dtype="u1", chunks=1024), "YX"))
    series = da.zeros((2000, 3, 1024, 1024), dtype="u1", chunks=1024)
    assert is_big(CellImage.from_array(series, "TCYX"))
    assert not is_big(CellImage.from_array(series[:900], "TCYX"))


def test_a_store_refuses_another_size(image: CellImage, tmp_path: Path) -> None:
    LabelStore(tmp_path / "a.zarr", image)
    other = CellImage.from_array(np.zeros((50, 60)), "YX")
    with pytest.raises(InputError, match="not a label image"):
        LabelStore(tmp_path / "a.zarr", other)
