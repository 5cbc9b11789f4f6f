"""Importers on hostile, truncated and damaged files: one clear error, no code run, memory bounded."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from export_fakes import discs
from roifile import ImagejRoi

from napari_cupre.errors import CupreError, InputError
from napari_cupre.io.importers import imagej as imagej_reader
from napari_cupre.io.importers import import_annotations, import_to_folder
from napari_cupre.io.writers import write

SHAPE = (60, 80)


def npy_with(payload: bytes) -> bytes:
    """A `.npy` of one Python object, whose pickle is `payload`."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + payload


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("depth", ["alone", "in the masks", "as a call of a call"])
def test_a_pickle_runs_nothing(depth, tmp_path):
    bait = Runs(Path.touch, tmp_path / "owned")
    content = {
        "alone": bait,
        "in the masks": {"masks": bait},
        "as a call of a call": {"masks": Runs(np.ndarray, bait)},
    }[depth]
    (tmp_path / "a_seg.npy").write_bytes(npy_with(pickle.dumps(content)))
    with pytest.raises(InputError, match=r"a_seg\.npy"):
        import_annotations(tmp_path / "a_seg.npy")
    assert not (tmp_path / "owned").exists()
    with contextlib.suppress(TypeError):
        np.load(tmp_path / "a_seg.npy", allow_pickle=True)  # the bait does bite elsewhere
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__])
def test_builtins_are_refused_by_name(function, tmp_path):
    (tmp_path / "a_seg.npy").write_bytes(npy_with(pickle.dumps(Runs(function, "1"))))
    with pytest.raises(InputError, match=f"builtins.{function.__name__}"):
        import_annotations(tmp_path / "a_seg.npy")


def masks_of(shape, dtype="<u2", content=b"\0" * 8):
    """A Cellpose pickle whose masks claim any shape and type."""
    array = np.zeros(4, np.uint16)
    function, arguments, state = array.__reduce__()
    state = (state[0], shape, np.dtype(dtype), False, content)

    class Lies:
        def __reduce__(self):
            return function, arguments, state

    return npy_with(pickle.dumps({"masks": Lies()}))


@pytest.mark.parametrize(
    "content",
    [
        masks_of((10**6, 10**6)),
        masks_of((-1, -4)),
        masks_of((4,)),
        masks_of((1, 1), "|O", [1]),
        masks_of((2, 2), "|V2"),
        masks_of(()),
        masks_of((0, 5), content=b""),
        npy_with(pickle.dumps({"outlines": 1})),
        npy_with(pickle.dumps([1, 2])),
        npy_with(b"\x80\x04r\xff\xff\xff\x7f."),  # a memo of two thousand million places
        npy_with(b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x."),  # a terabyte of bytes
        npy_with(b"(" * 10000),
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': [0]*10}",
    ],
)
def test_lying_arrays_are_refused_without_reserving_memory(content, tmp_path):
    (tmp_path / "a_seg.npy").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a_seg\.npy"):
        import_annotations(tmp_path / "a_seg.npy")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_names_in_a_zip_are_no_paths(tmp_path):
    roi = ImagejRoi.frompoints(np.array([(1, 1), (9, 1), (9, 9), (1, 9)])).tobytes()
    folder = tmp_path / "in"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../../escaped.roi", roi)
        archive.writestr(str(tmp_path / "absolute.roi"), roi)
    before = sorted(tmp_path.rglob("*"))
    assert import_annotations(folder / "a.zip", SHAPE)["a"].max() == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_names_in_a_json_do_not_leave_the_output_folder(tmp_path):
    (path,) = write(discs(), tmp_path / "a", "coco")
    document = json.loads(path.read_text())
    document["images"][0]["file_name"] = "../../escaped.tif"
    path.write_text(json.dumps(document))
    (written,) = import_to_folder(path, tmp_path / "out")
    assert written == tmp_path / "out" / "escaped.tif"


def test_zip_bombs_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(imagej_reader, "LARGEST_ROI", 10**6)
    monkeypatch.setattr(imagej_reader, "LARGEST_ZIP", 10**7)
    for name, sizes in (("one", [5 * 10**6]), ("many", [9 * 10**5] * 20)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for number, size in enumerate(sizes):
                archive.writestr(f"{number}.roi", b"\0" * size)
        tracemalloc.start()
        with pytest.raises(InputError, match=name):
            import_annotations(tmp_path / f"{name}.zip", SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 6e6
        tracemalloc.stop()


def test_far_and_broken_corners_are_refused(tmp_path):
    ring = [[0, 0], [5, 0], [5, 5], [0, 0]]
    for corner in ([1e300, 0], [float("nan"), 0], ["x", 0], [], None):
        feature = {"type": "Polygon", "coordinates": [[*ring, corner]]}
        (tmp_path / "a.geojson").write_text(json.dumps(feature))
        with pytest.raises(InputError, match=r"a\.geojson"):
            import_annotations(tmp_path / "a.geojson", SHAPE)


def test_endless_nesting_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"a\.json"):
        import_annotations(tmp_path / "a.json", SHAPE)


def test_a_billion_laughs_in_tiff_metadata(tmp_path):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    laughs = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><OME>&l9;</OME>'
    tifffile.imwrite(tmp_path / "a.tif", discs(), description=laughs)
    with pytest.raises(InputError, match=r"a\.tif"):
        import_annotations(tmp_path / "a.tif")


def test_a_label_image_of_absurd_size_is_refused(tmp_path, monkeypatch):
    from napari_cupre.io.importers import sheets

    monkeypatch.setattr(sheets, "LARGEST_LABELS", 1000)
    iio.imwrite(tmp_path / "a.png", discs().astype(np.uint8))
    with pytest.raises(InputError, match="too many"):
        import_annotations(tmp_path / "a.png")


def good_files(folder: Path) -> dict[str, bytes]:
    """One sound file of every kind."""
    labels = discs()
    for name in ("tif", "roi", "coco", "geojson"):
        write(labels, folder / "a", name)
    iio.imwrite(folder / "a.png", labels.astype(np.uint8))
    np.save(folder / "a_seg.npy", {"masks": labels, "flows": [np.zeros((3, 3))]})
    (folder / "b.roi").write_bytes(ImagejRoi.frompoints(np.array([(1, 1), (9, 1), (9, 9)])).tobytes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name", ["a.tif", "a.png", "a_rois.zip", "b.roi", "a.json", "a.geojson", "a_seg.npy"]
)
def test_damaged_files_give_labels_or_a_clear_error(name, tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    content = good_files(folder)[name]
    path = tmp_path / name
    rng = np.random.default_rng(sum(map(ord, name)))
    for trial in range(60):
        damaged = bytearray(content)
        if trial % 2:
            for place in rng.integers(0, len(content), 1 + trial % 5):
                damaged[place] = rng.integers(0, 256)
        else:
            del damaged[rng.integers(0, len(content)) :]
        path.write_bytes(bytes(damaged))
        try:
            for labels in import_annotations(path, SHAPE).values():
                assert labels.dtype == np.int32
        except CupreError as error:
            assert name in str(error)
            assert str(error).count("\n") == 0
