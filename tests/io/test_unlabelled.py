"""The index of unlabelled files and the crops drawn from it."""

from __future__ import annotations

import gc
import pickle
import sqlite3
import tracemalloc
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import zarr

from napari_cupre.errors import InputError
from napari_cupre.io.unlabelled import UnlabelledCrops, UnlabelledIndex, smooth_deviation, walk_images
from napari_cupre.io.windows import ImageCache, image_sizes


def textured(shape: tuple[int, ...], seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    """Blobs of 8 px that no filter for flat crops takes for empty."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (-(-shape[0] // 8), -(-shape[1] // 8), *shape[2:]))
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)[: shape[0], : shape[1]].astype(dtype)


@pytest.mark.parametrize("name", ["exp#1", "a?mode=rwc", "50%20", "ü [1] b"])
def test_an_index_may_lie_anywhere(folder: Path, tmp_path: Path, name: str) -> None:
    index = UnlabelledIndex.build(tmp_path / name / "unlabelled.sqlite", [folder])
    assert len(list(index)) == len(index) > 0
    assert {entry.name for entry in (tmp_path / name).iterdir()} == {"unlabelled.sqlite"}


def test_an_index_that_is_done_with_closes_its_file(folder: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    connection = index._connection
    del index
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Grey and colour, 8 and 16 bit, one subfolder, a Zarr, and junk."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    iio.imwrite(folder / "grey.png", textured((90, 70)))
    iio.imwrite(folder / "colour.png", textured((64, 96, 3), 1))
    tifffile.imwrite(
        folder / "deep" / "stack.tif", np.stack([textured((80, 80), s, "uint16") for s in (2, 3)])
    )
    group = zarr.open_group(str(folder / "field.zarr"), mode="w")
    array = group.create_array("0", shape=(100, 120), chunks=(50, 50), dtype="uint8")
    array[:] = textured((100, 120), 4)
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [{"path": "0"}],
        }
    ]
    for junk in ("Thumbs.db", ".DS_Store", "._grey.png", "notes.txt"):
        (folder / junk).write_bytes(b"junk")
    return folder


def test_junk_is_no_image_and_a_zarr_is_one(folder: Path) -> None:
    names = {Path(path).name for path in walk_images(folder)}
    assert names == {"grey.png", "colour.png", "stack.tif", "field.zarr"}


def test_the_index_is_sorted_kept_on_disk_and_travels(folder: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder, folder / "grey.png"])
    assert [str(path) for path in index] == sorted(walk_images(folder))
    assert list(UnlabelledIndex(tmp_path / "index.sqlite")) == list(index)
    assert list(pickle.loads(pickle.dumps(index))) == list(index)
    with pytest.raises(IndexError):
        index[len(index)]


def test_held_out_images_are_left_out(folder: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder], frozenset({"grey", "stack"}))
    assert {path.stem for path in index} == {"colour", "field"}


def test_a_folder_without_images_and_one_that_is_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"No images were found.*empty"):
        UnlabelledIndex.build(tmp_path / "i.sqlite", [tmp_path / "empty"])
    with pytest.raises(InputError, match="missing does not exist"):
        UnlabelledIndex.build(tmp_path / "i.sqlite", [tmp_path / "missing"])


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:05}.png").touch()
    tracemalloc.start()
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [tmp_path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(index) == 3000
    assert peak < 200_000  # the names alone are 3000 x ~100 bytes


def test_crops_of_every_kind_of_image(folder: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    crops = UnlabelledCrops(index, 48, seed=0, zoom=1.0)
    seen = {}
    for number in range(12):
        crop, _ = crops.draw(number)
        assert crop.image.dtype == np.float32
        assert not crop.skipped
        assert crop.image.shape[:2] == (48, 48)
        assert crop.image.min() >= -0.5
        assert crop.image.max() <= 1.5
        seen[index[crop.number].name] = crop.image.shape[2]
    assert seen == {"grey.png": 1, "stack.tif": 1, "field.zarr": 1, "colour.png": 3}


def test_every_image_is_drawn_once_in_a_pass(folder: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    crops = UnlabelledCrops(index, 32, seed=5)
    for turn in range(3):
        drawn = [crops.draw(turn * len(index) + place)[0].number for place in range(len(index))]
        assert sorted(drawn) == list(range(len(index)))


def test_weights_say_how_often_an_image_is_drawn(folder: Path, tmp_path: Path) -> None:
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    weights = np.array([0.0, 3.0, 0.0, 1.0])
    crops = UnlabelledCrops(index, 32, seed=5, weights=weights)
    counts = np.bincount([crops.draw(number)[0].number for number in range(80)], minlength=4)
    assert counts[0] == counts[2] == 0
    assert 0.55 < counts[1] / 80 < 0.92


def test_a_crop_is_taken_where_there_is_something(tmp_path: Path) -> None:
    field = np.zeros((400, 400), np.uint8)
    field[40:200, 40:200] = textured((160, 160))
    iio.imwrite(tmp_path / "corner.png", field)
    index = UnlabelledIndex.build(tmp_path / "i.sqlite", [tmp_path / "corner.png"])
    crops = UnlabelledCrops(index, 64, seed=0)
    held = [smooth_deviation(crops.draw(number)[0].image) > 0.04 for number in range(30)]
    assert sum(held) >= 25


def test_corrupt_files_are_reported_and_replaced(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"not a picture")
    (folder / "cut.tif").write_bytes((folder / "deep" / "stack.tif").read_bytes()[:200])
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    crops = UnlabelledCrops(index, 32, seed=1)
    skipped = {Path(name).name for number in range(12) for name, _ in crops.draw(number)[0].skipped}
    assert skipped == {"broken.png", "cut.tif"}


def test_a_set_of_broken_files_alone_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no")
    index = UnlabelledIndex.build(tmp_path / "i.sqlite", [tmp_path])
    with pytest.raises(InputError, match="in a row could not be read"):
        UnlabelledCrops(index, 32, seed=0).draw(0)


def test_crops_come_from_every_image_of_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as writer:
        for name, side in (("one", 64), ("two", 48), ("label", 8)):
            writer.write(textured((side, side)), metadata={"axes": "YX", "Name": name})
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    assert image_sizes(index[0]) == [(64, 64), (48, 48)]
    assert index.distinct_crops(16) == 16 + 9
    crops = UnlabelledCrops(index, 64, seed=0, zoom=1.0)
    drawn = [crops.draw(number)[0] for number in range(20)]
    assert {crop.image.shape[:2] for crop in drawn} == {(64, 64), (48, 48)}
    again = UnlabelledCrops(index, 64, seed=0, zoom=1.0)
    assert all(np.array_equal(again.draw(n)[0].image, crop.image) for n, crop in enumerate(drawn))


def test_label_files_beside_their_images_are_left_out(folder: Path, tmp_path: Path) -> None:
    for name in ("grey_mask.png", "deep/stack_masks.png", "alone_mask.png"):
        iio.imwrite(folder / name, textured((80, 80)))
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    kept = {path.name for path in index}
    assert kept == {"grey.png", "colour.png", "stack.tif", "field.zarr", "alone_mask.png"}
    assert {path.name for path in index.labels} == {"grey_mask.png", "stack_masks.png"}
    named = UnlabelledIndex.build(tmp_path / "n.sqlite", [folder, folder / "grey_mask.png"])
    assert "grey_mask.png" in {path.name for path in named}


def test_sizes_come_from_headers_and_count_distinct_crops(folder: Path, tmp_path: Path) -> None:
    sizes = {Path(path).name: image_sizes(Path(path)) for path in walk_images(folder)}
    assert sizes == {
        "grey.png": [(90, 70)],
        "colour.png": [(64, 96)],
        "stack.tif": [(80, 80)],
        "field.zarr": [(100, 120)],
    }
    index = UnlabelledIndex.build(tmp_path / "index.sqlite", [folder])
    assert index.distinct_crops(32) == 2 * 2 + 2 * 3 + 2 * 2 + 3 * 3
    assert index.distinct_crops(1000) == 4


def test_the_cache_is_bounded(folder: Path) -> None:
    cache = ImageCache(max_bytes=10_000, max_images=2)
    for path in walk_images(folder):
        cache.get(Path(path))
    assert len(cache._images) <= 2
    assert len(pickle.loads(pickle.dumps(cache))._images) == 0
