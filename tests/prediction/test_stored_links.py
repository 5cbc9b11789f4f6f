"""Linked planes of images larger than memory: as in memory, whatever interrupts."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from predict_oracle import disc_labels, scattered_discs, seeing_model
from predict_runs import drained, stored

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.prediction import bigfiles, linker
from napari_cupre.prediction.big import BigResult, predict_big
from napari_cupre.prediction.bigfiles import ledger_path
from napari_cupre.prediction.labelstore import LabelStore, StoredPlane
from napari_cupre.prediction.linker import frames_of
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.stack import ImageResult, predict_image

SHAPE = (150, 170)
PLAIN = PredictOptions(diameter=24.0, tile=256)
BOTH = replace(PLAIN, link_z=True, link_t=True)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells lie across the borders of blocks."""
    monkeypatch.setattr(linker, "BLOCK", 64)


def moving(frames: int, planes: int) -> np.ndarray:
    """uint8 (T, Z, Y, X): drifting discs; one appears, one leaves, all shrink away from the middle."""
    discs = scattered_discs(5, SHAPE, (11, 14), 14, 6.0)
    data = np.zeros((frames, planes, *SHAPE), np.uint8)
    for t in range(frames):
        for z in range(planes):
            shown = discs[1:] if t == 0 else discs[:-1] if t == 2 else discs
            radii = shown[:, 2] - 2 * abs(z - planes // 2)
            placed = np.column_stack([shown[:, 0] + 2 * t, shown[:, 1] + t, radii])
            data[t, z] = (disc_labels(placed, SHAPE) > 0) * 250
    return data


def image_of(data: np.ndarray, axes: str) -> CellImage:
    return CellImage.from_array(da.from_array(data, chunks=(*[1] * (data.ndim - 2), 64, 64)), axes)


def on_disk(image: CellImage, out: Path, options: PredictOptions, **more) -> tuple[list[Any], BigResult]:
    return drained(predict_big(seeing_model(), image, out, options, **more))


def in_memory(image: CellImage, options: PredictOptions) -> ImageResult:
    return drained(predict_image(seeing_model(), image, options))[1]


def goes_on_to_the_end(image: CellImage, out: Path) -> None:
    """What was interrupted is completed, and equals what links in memory."""
    _, result = on_disk(image, out, BOTH)
    assert result.complete
    assert same_identities(stored(out), in_memory(image, BOTH).labels)


def same_identities(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two label images differ in nothing but the numbers, in all planes together."""
    pairs = np.unique(np.stack([first.reshape(-1), second.reshape(-1)]), axis=1)
    return pairs.shape[1] == len(np.unique(first)) == len(np.unique(second))


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "TZYX", "ZTYX"])
@pytest.mark.parametrize("links", ["z", "t", "zt"])
def test_disk_links_as_memory_does(axes: str, links: str, tmp_path: Path) -> None:
    data = moving(3, 3)
    data = {"ZYX": data[0], "TYX": data[:, 1], "TZYX": data, "ZTYX": data.swapaxes(0, 1)}[axes]
    image, out = image_of(data, axes), tmp_path / "labels.zarr"
    options = replace(PLAIN, link_z="z" in links, link_t="t" in links)
    _, result = on_disk(image, out, options)
    expected = in_memory(image, options)
    assert result.complete
    assert result.count == expected.count
    assert not ledger_path(out).exists()
    if any(letter in axes for letter in links.upper()):
        for ours, theirs in zip(parts(stored(out), axes, links), parts(expected.labels, axes, links)):
            assert same_identities(ours, theirs)
    table = pd.read_csv(result.table)
    for place, rows in table.groupby([letter for letter in axes if letter in "TZ"]):
        plane = stored(out)[place if isinstance(place, tuple) else (place,)]
        assert sorted(rows["label"]) == np.unique(plane)[1:].tolist()


def parts(labels: np.ndarray, axes: str, links: str) -> list[np.ndarray]:
    """The parts of a label image within which labels are unique: all, or each time point."""
    if "t" in links and "T" in axes:
        return [labels]
    return list(np.moveaxis(labels, axes.index("T"), 0)) if "T" in axes else [labels]


def test_coarser_levels_are_linked_too(tmp_path: Path) -> None:
    data = np.zeros((2, 1200, 100), np.uint8)
    data[:, 20:45, 20:45] = data[1:, 1100:1125, 30:55] = 250
    on_disk(image_of(data, "TYX"), tmp_path / "labels.zarr", replace(PLAIN, link_t=True))
    group = zarr.open_group(tmp_path / "labels.zarr", mode="r")
    np.testing.assert_array_equal(np.asarray(group["1"]), np.asarray(group["0"])[:, ::2, ::2])


@pytest.mark.parametrize("crash_at", [1, 4, 9])
def test_a_job_killed_while_it_links_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    image, out = image_of(moving(3, 2), "TZYX"), tmp_path / "labels.zarr"
    on_disk(image, out, PLAIN, should_stop=Countdown(5))  # of six planes, each of one tile
    write, calls = StoredPlane.__setitem__, []

    def crash(plane: StoredPlane, key: tuple[slice, slice], value: np.ndarray) -> None:
        calls.append(key)
        if len(calls) == 1 + crash_at:  # the first is the last plane's tile
            half = (key[0].start + key[0].stop) // 2
            write(plane, (slice(key[0].start, half), key[1]), value[: half - key[0].start])
            raise KeyboardInterrupt
        write(plane, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(StoredPlane, "__setitem__", crash)
        with pytest.raises(KeyboardInterrupt):
            on_disk(image, out, BOTH)
    goes_on_to_the_end(image, out)


@pytest.mark.parametrize("stop_after", range(1, 60, 4))
def test_a_stop_at_any_time_loses_nothing_and_links_may_change(tmp_path: Path, stop_after: int) -> None:
    image, out = image_of(moving(3, 2), "TZYX"), tmp_path / "labels.zarr"
    on_disk(image, out, replace(PLAIN, link_t=True), should_stop=Countdown(stop_after))
    assert ledger_path(out).exists()
    on_disk(image, out, BOTH, should_stop=Countdown(3))
    goes_on_to_the_end(image, out)


@pytest.mark.parametrize("crash_at", ["first move", "second move", "end", "last deletion"])
def test_a_job_killed_while_linked_labels_take_their_place_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    image, out = image_of(moving(2, 2), "TZYX"), tmp_path / "labels.zarr"
    moves, move, remove = [], bigfiles._rename, bigfiles.remove

    def killed_move(folder: Path, to: Path) -> None:
        moves.append(folder)
        if len(moves) == ("first move", "second move").index(crash_at) + 1:
            raise KeyboardInterrupt
        move(folder, to)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def killed_remove(folder: Path) -> None:
        if folder == bigfiles.unlinked_path(out):
            raise KeyboardInterrupt
        # What the clean-up of a dying process does, a killed one does not.
        if folder != bigfiles.linking_path(out):
            remove(folder)

    with monkeypatch.context() as patch:
        if crash_at == "end":
            patch.setattr(LabelStore, "finish", killed)
        if "move" in crash_at:
            patch.setattr(bigfiles, "_rename", killed_move)
        patch.setattr(bigfiles, "remove", killed_remove)
        with pytest.raises(KeyboardInterrupt):
            on_disk(image, out, BOTH)
    goes_on_to_the_end(image, out)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [out.name]


@pytest.mark.parametrize("lost", ["labels.zarr", "labels.zarr.unlinked", "labels.zarr.progress"])
def test_whatever_is_deleted_of_a_linked_job_with_a_damaged_part_comes_back(
    tmp_path: Path, lost: str
) -> None:
    whole, out = image_of(moving(2, 2), "TZYX"), tmp_path / "labels.zarr"
    assert not on_disk(torn(whole, 1), out, BOTH)[1].complete
    path = tmp_path / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    _, result = on_disk(whole, out, BOTH)
    assert result.complete
    assert same_identities(stored(out), in_memory(whole, BOTH).labels)
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == [out.name]


def test_a_stack_is_scaled_on_disk_as_in_memory(tmp_path: Path) -> None:
    """Cells of another size than trained for are seen on the planes beside an empty middle one."""
    data = np.zeros((5, *SHAPE), np.uint8)
    data[1] = data[3] = (disc_labels(np.array([(45.0, 50.0, 30.0), (110.0, 120.0, 30.0)]), SHAPE) > 0) * 250
    image, model = image_of(data, "ZYX"), seeing_model(20.0)
    _, memory = drained(predict_image(model, image, PredictOptions(tile=256)))
    _, disk = drained(predict_big(model, image, tmp_path / "labels.zarr", PredictOptions(tile=256)))
    assert disk.diameter == memory.diameter == pytest.approx(60, rel=0.1)
    assert disk.count == memory.count == 4


def test_half_a_job_of_an_earlier_layout_is_refused(tmp_path: Path) -> None:
    image, out = image_of(moving(2, 2), "TZYX"), tmp_path / "labels.zarr"
    on_disk(image, out, BOTH, should_stop=Countdown(2))
    base = sqlite3.connect(ledger_path(out))
    base.execute("""UPDATE settings SET document = json_set(document, '$."layout of tiles"', 3)""")
    base.commit()
    base.close()
    with pytest.raises(InputError, match="another layout of tiles"):
        on_disk(image, out, BOTH)


class Countdown:
    """True when asked for the n-th time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def torn(whole: CellImage, plane: int) -> CellImage:
    """The image with one plane that cannot be read."""

    def fail(block: np.ndarray, block_info: dict) -> np.ndarray:
        if np.ravel_multi_index(block_info[0]["chunk-location"][:2], whole.data.shape[:2]) == plane:
            raise OSError("page is truncated")
        return block

    meta = np.empty((0, 0, 0, 0), np.uint8)
    damaged = CellImage.from_array(whole.data.map_blocks(fail, dtype=np.uint8, meta=meta), "TZYX")
    damaged.stretch = lambda *_: whole.stretch()  # type: ignore[method-assign]
    return damaged


@pytest.mark.parametrize("plane", [0, 2, 5])
def test_what_was_damaged_is_filled_in_and_planes_are_linked_anew(tmp_path: Path, plane: int) -> None:
    whole, out = image_of(moving(3, 2), "TZYX"), tmp_path / "labels.zarr"
    events, result = on_disk(torn(whole, plane), out, BOTH)
    assert not result.complete
    assert "run the same again" in events[-1].verdict
    assert result.count == len(np.unique(stored(out))) - 1
    _, result = on_disk(whole, out, BOTH)
    assert result.complete
    assert same_identities(stored(out), in_memory(whole, BOTH).labels)


def test_a_finished_result_with_other_links_is_refused(tmp_path: Path) -> None:
    image, out = image_of(moving(2, 2), "TZYX"), tmp_path / "labels.zarr"
    _, before = on_disk(image, out, BOTH)
    assert on_disk(image, out, BOTH)[1] == before
    with pytest.raises(InputError, match="other options"):
        on_disk(image, out, PLAIN)


def test_frames_are_the_planes_of_a_time() -> None:
    indices = [{"Z": z, "T": t} for z in range(2) for t in range(3)]
    assert frames_of(indices) == [[0, 3], [1, 4], [2, 5]]
    assert frames_of([{"T": t} for t in range(3)]) == [[0], [1], [2]]
    assert frames_of([{"Z": z} for z in range(3)]) == [[0, 1, 2]]
    assert frames_of([{}]) == [[0]]
