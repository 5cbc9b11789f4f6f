"""Files in and out: kinds of pixels, axes, scale and units, and what damaged files get."""

from __future__ import annotations

import errno
import tempfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_cupre.data.axes import canonical_unit
from napari_cupre.data.image import CellImage
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.io import pixel_size, tiff, tiff_labels
from napari_cupre.io.images import read_image, read_labels, write_labels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
COLOUR = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
STEPS = st.floats(1e-3, 1e3)


def noise_over(axes, end):
    return RNG.integers(0, end, tuple({"T": 2, "Z": 3, "C": 2, "Y": 8, "X": 9}[axis] for axis in axes))


def write_zarr(path, array, axes, *, version, scale=None, translation=None, units=None, chunks=None):
    """A minimal OME-Zarr image with two levels."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    for name, level in (("0", array), ("1", array[..., ::2, ::2])):
        stored = group.create_array(name, shape=level.shape, dtype=level.dtype, chunks=chunks or level.shape)
        stored[...] = level
    kinds = {"t": "time", "c": "channel"}
    entries = []
    for axis in axes:
        entry = {"name": axis, "type": kinds.get(axis, "space")}
        if units and axis in units:
            entry["unit"] = units[axis]
        entries.append(entry)
    transforms = [{"type": "scale", "scale": list(scale or [1.0] * array.ndim)}]
    if translation:
        transforms.append({"type": "translation", "translation": list(translation)})
    datasets = [{"path": name, "coordinateTransformations": transforms} for name in ("0", "1")]
    multiscales = [{"version": version, "axes": entries, "datasets": datasets}]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}


# --- pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "axes", "dtype"),
    [("L", "YX", "uint8"), ("RGB", "YXS", "uint8"), ("RGBA", "YXS", "uint8"), ("I;16", "YX", "uint16")],
)
def test_png_of_every_mode(tmp_path, mode, axes, dtype):
    pixels = RNG.integers(0, 255, (20, 30) + ((len(mode),) if "S" in axes else ()), dtype=dtype)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image.axes, image.data.dtype, image.guessed, image.name) == (axes, dtype, False, "a.png")
    np.testing.assert_array_equal(image.data, pixels)


def test_png_of_16_bit_colours_keeps_its_bits(tmp_path):
    pixels = RNG.integers(0, 65535, (20, 30, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, pixels)


def test_palettes_bits_and_alpha(tmp_path):
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "palette.png")
    colours = read_image(tmp_path / "palette.png")
    assert colours.axes == "YXS"
    assert abs(colours.data.astype(int) - COLOUR).mean() < 60
    Image.fromarray(GREY > 100).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png").data > 0, GREY > 100)
    Image.fromarray(np.stack([GREY, GREY], -1), "LA").save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png").data, GREY)


def test_jpeg(tmp_path):
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "a.JPG")
    image = read_image(tmp_path / "a.JPG")
    assert image.axes == "YXS"
    assert abs(image.data.astype(int) - 90).max() < 3
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "print.jpg")
    assert read_image(tmp_path / "print.jpg").data.shape == (20, 30, 3)


# --- TIFF -------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    axes=st.sampled_from(["YX", "CYX", "ZYX", "TYX", "TCYX", "ZCYX", "TZCYX"]),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "int32"]),
    steps=st.tuples(STEPS, STEPS, STEPS, STEPS),
    unit=st.sampled_from(["\u00b5m", "nm", "mm", "pixel"]),
)
def test_ome_tiff_round_trip(axes, dtype, steps, unit):
    array = RNG.integers(
        0, 100, tuple({"T": 2, "Z": 3, "C": 2, "Y": 8, "X": 9}[axis] for axis in axes)
    ).astype(dtype)
    metadata = {"axes": axes, "TimeIncrement": steps[0], "TimeIncrementUnit": "ms"}
    for axis, step in zip("ZYX", steps[1:]):
        metadata |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": unit}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ome.tif"
        tifffile.imwrite(path, array, ome=True, photometric="minisblack", metadata=metadata)
        image = read_image(path)
    assert (image.axes, image.guessed, image.notices) == (axes, False, ())
    np.testing.assert_array_equal(image.data, array)
    assert image.data.dtype == dtype
    expected = {"T": steps[0], "Z": steps[1], "Y": steps[2], "X": steps[3]}
    assert image.scale == pytest.approx({axis: expected[axis] for axis in axes if axis != "C"})
    assert image.units["X"] == canonical_unit(unit)
    if "T" in axes:
        assert image.units["T"] == "millisecond"


@settings(max_examples=25, deadline=None)
@given(
    axes=st.sampled_from(["YX", "ZYX", "TYX", "TZYX"]),
    steps=st.tuples(STEPS, STEPS, STEPS, STEPS),
    places=st.tuples(STEPS, STEPS, STEPS),
    unit=st.sampled_from(["micrometer", "nanometer", "pixel", "inch"]),
)
@example("YX", (1.0, 1.0, 1.0, 0.001953125), (1.0, 1.0, 1.0), "nanometer")  # no TIFF resolution is so fine
def test_written_labels_come_back_with_their_place(axes, steps, places, unit):
    labels = noise_over(axes, 2**31 - 1)
    source = CellImage(
        labels,
        axes,
        scale=dict(zip("TZYX", steps)),
        translate=dict(zip("ZYX", places)),
        units={"T": "second", **dict.fromkeys("ZYX", unit)},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        write_labels(path, labels, source.scale, source.units, source.translate, axes)
        image = read_image(path)
        np.testing.assert_array_equal(read_labels(path), labels)
        with tifffile.TiffFile(path) as file:
            assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert file.pages[0].dtype == np.int32
    assert image.axes == axes
    assert not image.guessed
    assert image.scale == pytest.approx(source.scale)
    assert image.translate == pytest.approx(source.translate)
    assert image.units == source.units


def test_a_time_step_that_nobody_knows_is_not_a_second(tmp_path):
    write_labels(tmp_path / "a.tif", np.ones((3, 8, 9), np.int32), axes="TYX")
    assert read_image(tmp_path / "a.tif").units["T"] == "pixel"


def test_labels_without_any_metadata(tmp_path):
    write_labels(tmp_path / "new" / "a.tif", np.arange(12).reshape(3, 4))
    image = read_image(tmp_path / "new" / "a.tif")
    assert (image.axes, image.scale, image.units) == ("YX", {"Y": 1, "X": 1}, {"Y": "pixel", "X": "pixel"})


def test_labels_tell_their_scale_to_programs_without_ome(tmp_path):
    write_labels(tmp_path / "a.tif", GREY, {"Y": 0.5, "X": 0.25}, dict.fromkeys("YX", "micrometer"))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert pixel_size.tiff_scales(file)[0] == pytest.approx({"Y": 0.5, "X": 0.25})


def test_imagej_hyperstacks(tmp_path):
    array = RNG.integers(0, 999, (2, 3, 2, 8, 9), dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "TZCYX", "spacing": 3.5, "unit": "um", "finterval": 0.1},
    )
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "TZCYX"
    assert not image.guessed
    assert image.scale == pytest.approx({"T": 0.1, "Z": 3.5, "Y": 0.5, "X": 0.25})
    assert image.units == {"T": "second", **dict.fromkeys("ZYX", "micrometer")}


def test_plain_resolution_is_a_scale_only_where_it_can_be(tmp_path):
    tifffile.imwrite(tmp_path / "scope.tif", GREY, resolution=(2e4, 1e4), resolutionunit="CENTIMETER")
    assert read_image(tmp_path / "scope.tif").scale == pytest.approx({"Y": 1, "X": 0.5})
    tifffile.imwrite(tmp_path / "print.tif", GREY, resolution=(300, 300), resolutionunit="INCH")
    assert read_image(tmp_path / "print.tif").units == {"Y": "pixel", "X": "pixel"}


def test_channels_are_never_slices(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 3), photometric="minisblack", metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.guessed) == ("CYX", True)
    assert read_image(tmp_path / "a.tif", axes="ZYX").axes == "ZYX"
    tifffile.imwrite(tmp_path / "b.tif", np.stack([GREY] * 9), photometric="minisblack", metadata=None)
    assert read_image(tmp_path / "b.tif").axes == "ZYX"
    with pytest.raises(InputError, match=r"a\.tif.*TZYX"):
        read_image(tmp_path / "a.tif", axes="TZYX")


def test_axes_of_planar_colours_name_the_files_dimensions_or_the_returned_ones(tmp_path):
    stored = COLOUR.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "rgb.tif", stored, photometric="rgb", planarconfig="separate")
    returned = read_image(tmp_path / "rgb.tif", "YXS")
    assert returned.axes == "YXS"
    assert np.array_equal(returned.data, COLOUR)
    channels = read_image(tmp_path / "rgb.tif", "CYX")
    assert channels.axes == "CYX"
    assert np.array_equal(channels.data, stored)
    assert read_image(tmp_path / "rgb.tif", "ZYX").plane_shape == COLOUR.shape[:2]


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_are_colours_or_channels(tmp_path, planar):
    shown = COLOUR if planar == "contig" else COLOUR.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "rgb.tif", shown, photometric="rgb", planarconfig=planar)
    image = read_image(tmp_path / "rgb.tif")
    assert image.axes == "YXS"
    np.testing.assert_array_equal(image.data, COLOUR)
    tifffile.imwrite(tmp_path / "stains.tif", shown, photometric="minisblack", planarconfig=planar)
    assert read_image(tmp_path / "stains.tif").axes.replace("Y", "").replace("X", "") == "C"


def test_palette_tiff(tmp_path):
    palette = RNG.integers(0, 65535, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, (palette.T >> 8)[GREY])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), GREY)


def test_pyramids_give_their_finest_level(tmp_path):
    array = RNG.integers(0, 99, (128, 160), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(array, subifds=1, tile=(32, 32))
        writer.write(array[::2, ::2], subfiletype=1, tile=(32, 32))
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif").data, array)


@pytest.mark.parametrize("options", [{}, {"tile": (32, 32), "compression": "zlib"}, {"compression": "lzw"}])
def test_big_tiffs_are_read_on_demand(tmp_path, monkeypatch, options):
    monkeypatch.setattr(tiff, "LAZY_BYTES", 1000)
    array = RNG.integers(0, 999, (3, 130, 150), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"}, photometric="minisblack", **options)
    image = read_image(tmp_path / "a.tif")
    assert image.is_lazy
    for index, plane in image.planes():
        np.testing.assert_array_equal(plane, array[index["Z"]])
    np.testing.assert_array_equal(image.lazy_plane({"Z": 1})[40:90, 60:70].compute(), array[1, 40:90, 60:70])


# --- OME-Zarr ---------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    axes=st.sampled_from(["yx", "cyx", "zyx", "tczyx"]),
    version=st.sampled_from(["0.4", "0.5"]),
    steps=st.tuples(STEPS, STEPS, STEPS),
)
def test_ome_zarr_round_trip(axes, version, steps):
    array = RNG.integers(
        0, 99, tuple({"t": 2, "z": 2, "c": 3, "y": 8, "x": 9}[axis] for axis in axes)
    ).astype("u2")
    scale = [dict(zip("zyx", steps)).get(axis, 1.0) for axis in axes]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        write_zarr(
            path,
            array,
            axes,
            version=version,
            scale=scale,
            translation=[2.0] * array.ndim,
            units=dict.fromkeys("zyx", "micrometer"),
        )
        image = read_image(path)
        assert image.is_lazy
        assert not image.guessed
        assert image.axes == axes.upper()
        np.testing.assert_array_equal(np.asarray(image.data), array)
    assert image.scale == pytest.approx(
        {axis: step for axis, step in zip(axes.upper(), scale) if axis != "C"}
    )
    assert set(image.translate.values()) == {2.0}
    assert image.units["Y"] == image.units["X"] == "micrometer"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_lost_chunk_is_told_from_one_that_was_never_written(tmp_path, version):
    path = tmp_path / "a.zarr"
    pixels = np.zeros((2, 24, 24), np.uint8)
    pixels[:, 4:20, 4:20] = 1  # a mosaic; writers leave the empty chunks around it out
    pixels[:, 4:8, 4:8] = 0
    write_zarr(path, pixels, "zyx", version=version, chunks=(1, 4, 4))
    image = read_image(path)
    assert image.lacks == ""
    assert "lacks 42 of 72 chunks" in image.notices[0]
    for place in ("1.2.3", "1.2.2"):  # two beside each other
        (path / "0" / (place if version == "0.4" else "c/" + place.replace(".", "/"))).unlink()
        pixels[1, 8:12, 4 * int(place[-1]) : 4 * int(place[-1]) + 4] = 0
    image = read_image(path)
    assert image.notices == ()
    assert image.lacks == (
        '"a.zarr" lacks 44 of 72 chunks, such as the one at row 8, column 8, which read as 0: copy it again.'
    )
    np.testing.assert_array_equal(np.asarray(image.data), pixels)


def test_a_chunk_at_the_border_can_be_lost_too(tmp_path):
    path = tmp_path / "a.zarr"
    # Before 3.1.3 zarr loses part of what `create_array` is given as `data` for shards.
    zarr.create_array(path, shape=(16, 24), dtype="uint8", chunks=(4, 4), shards=(8, 8))[:] = 1
    assert (read_image(path).lacks, read_image(path).notices) == ("", ())
    (path / "c" / "0" / "1").unlink()
    assert "lacks 1 of 6 chunks, such as the one at row 0, column 8" in read_image(path).lacks


@pytest.mark.parametrize(
    ("how", "cut"),
    [({"compression": "zlib"}, False), ({"compression": "zlib", "ome": True}, True), ({}, True)],
)
def test_a_damaged_page_of_a_stack_is_left_out_on_request(tmp_path, how, cut):
    path = tmp_path / "stack.tif"
    stack = RNG.integers(1, 255, (5, 64, 64)).astype(np.uint8)
    tifffile.imwrite(path, stack, **how)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages[3].dataoffsets[0]
    content[start + 50 : start + 1000] = bytes(950)
    path.write_bytes(content[: start + 1000] if cut else content)
    with pytest.raises(InputError, match=r"stack\.tif.*copy it again"):
        read_image(path)
    image = read_image(path, partial=True)
    assert "stack.tif" in image.lacks
    assert "copy it again" in image.lacks
    assert ("pages 4" in image.lacks) or cut
    found = np.asarray(image.data)
    np.testing.assert_array_equal(found[:3], stack[:3])
    assert not found[3:4].any()
    if not cut:
        np.testing.assert_array_equal(found[4], stack[4])


def test_a_stack_without_a_page_that_can_be_read_is_refused(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.ones((3, 16, 16), np.uint8), compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            content[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]] = bytes(
                page.databytecounts[0]
            )
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"stack\.tif.*copy it again"):
        read_image(path, partial=True)


def test_broken_chunks_are_input_errors(tmp_path):
    path = tmp_path / "a.zarr"
    write_zarr(path, RNG.integers(0, 99, (8, 8)), "yx", version="0.4", chunks=(4, 4))
    (path / "0" / "0.0").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"a\.zarr.*damaged"):
        read_image(path).plane()


def test_collections_plain_arrays_and_labels(tmp_path):
    array = RNG.integers(0, 9, (2, 8, 9)).astype(np.uint8)
    root = zarr.open_group(str(tmp_path / "b2r.zarr"), mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    write_zarr(tmp_path / "b2r.zarr" / "0", array, "cyx", version="0.4")
    assert read_image(tmp_path / "b2r.zarr").axes == "CYX"
    zarr.create_array(str(tmp_path / "plain.zarr"), data=array)
    plain = read_image(tmp_path / "plain.zarr")
    assert (plain.axes, plain.guessed) == ("CYX", True)
    write_zarr(tmp_path / "c.zarr", array, "cyx", version="0.5")
    (tmp_path / "c.zarr" / "labels").mkdir()
    zarr.open_group(str(tmp_path / "c.zarr"), mode="a").require_group("labels").attrs["labels"] = ["cells"]
    write_zarr(tmp_path / "c.zarr" / "labels" / "cells", array[1], "yx", version="0.5")
    np.testing.assert_array_equal(read_labels(tmp_path / "c.zarr"), array[1])


def test_plates_and_odd_axes_are_named(tmp_path):
    zarr.open_group(str(tmp_path / "plate.zarr"), mode="w").attrs["plate"] = {}
    with pytest.raises(InputError, match=r"plate\.zarr.*plate"):
        read_image(tmp_path / "plate.zarr")
    write_zarr(tmp_path / "a.zarr", np.zeros((2, 8, 8)), "lyx", version="0.4")
    with pytest.raises(InputError, match=r"a\.zarr.*not understood"):
        read_image(tmp_path / "a.zarr")
    assert read_image(tmp_path / "a.zarr", axes="TYX").axes == "TYX"


# --- labels -----------------------------------------------------------------------------------------


def test_label_files_of_every_kind(tmp_path):
    labels = RNG.integers(0, 200, (20, 30))
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.stack([labels.astype(np.uint8)] * 3, -1)).save(tmp_path / "grey.png")
    palette = Image.fromarray(labels.astype(np.uint8), "P")
    palette.putpalette(list(RNG.integers(0, 255, 768)))
    palette.save(tmp_path / "palette.png")
    tifffile.imwrite(tmp_path / "float.tif", labels.astype(np.float32))
    tifffile.imwrite(tmp_path / "deep.tif", labels[None].astype(np.uint32), metadata={"axes": "ZYX"})
    for path in tmp_path.iterdir():
        read = read_labels(path)
        assert read.dtype == np.int32, path
        np.testing.assert_array_equal(read, labels, err_msg=path.name)


def test_pictures_are_no_labels(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png.*colour image"):
        read_labels(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", GREY + 0.5)
    with pytest.raises(InputError, match=r"b\.tif.*non-integer"):
        read_labels(tmp_path / "b.tif")


def test_a_full_disk_keeps_the_old_labels(tmp_path, monkeypatch):
    write_labels(tmp_path / "a.tif", GREY)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tiff_labels.tifffile, "imwrite", full)
    with pytest.raises(EnvironmentFault, match=r"a\.tif.*disk is full"):
        write_labels(tmp_path / "a.tif", GREY * 0)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), GREY)


# --- bad files --------------------------------------------------------------------------------------


def sound_files(folder):
    noise = RNG.integers(0, 255, (7, 60, 70), dtype=np.uint8)
    Image.fromarray(noise[0]).save(folder / "a.png")
    Image.fromarray(noise[0]).save(folder / "a.jpg")
    tifffile.imwrite(folder / "plain.tif", noise)
    tifffile.imwrite(folder / "bare.tif", noise, metadata=None)
    tifffile.imwrite(folder / "deflated.tif", noise, compression="zlib")
    tifffile.imwrite(folder / "hyper.tif", noise, imagej=True)
    tifffile.imwrite(folder / "a.ome.tif", noise, tile=(32, 32), compression="zlib")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("share", [0.98, 0.6, 0.2, 0.01])
def test_truncated_files_are_named(tmp_path, share):
    for path in sound_files(tmp_path):
        whole, content = read_image(path).data, path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        try:
            # Some formats end with what repeats the beginning: a loss there is none.
            np.testing.assert_array_equal(read_image(path).data, whole, err_msg=path.name)
        except InputError as error:
            assert path.name in str(error)
        else:
            assert share > 0.9, path.name


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused_but_never_crash(data):
    with tempfile.TemporaryDirectory() as folder:
        path = data.draw(st.sampled_from(sound_files(Path(folder))))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 20))):
            content[data.draw(st.integers(0, min(400, len(content) - 1)))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            read_image(path).plane()
        except InputError as error:
            assert path.name in str(error)


def test_hostile_xml_is_refused(tmp_path):
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><OME>&b;</OME>'
    tifffile.imwrite(tmp_path / "a.tif", GREY, description=bomb, metadata=None)
    with pytest.raises(InputError, match=r"a\.tif.*unsafe XML"):
        read_image(tmp_path / "a.tif")


def test_decompression_bombs_are_refused(tmp_path):
    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = (60000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(bomb)
    with pytest.raises(InputError, match="too big"):
        read_image(tmp_path / "a.png")


def test_a_bad_file_is_named(tmp_path):
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.tif").write_text("no image")
    for name in ("b.png", "c.tif", "e.png"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
