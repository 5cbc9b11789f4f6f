"""Pixel sizes as ImageJ, scanners and plain files mean them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.io.images import read_image, write_labels
from napari_cupre.io.pixel_size import tiff_scales

STACK = np.zeros((3, 8, 9), np.uint16)


def write_imagej(path, array, **metadata):
    axes = metadata.pop("axes", "ZYX"[-array.ndim :])
    resolution = metadata.pop("resolution", None)
    unit = metadata.pop("resolutionunit", None)
    tifffile.imwrite(
        path,
        array,
        imagej=True,
        resolution=resolution,
        resolutionunit=unit,
        metadata={"axes": axes, **metadata},
    )


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m", "microns", "micrometer"])
def test_spellings_of_the_micrometre(tmp_path, unit):
    write_imagej(tmp_path / "a.tif", STACK, resolution=(2, 4), unit=unit, spacing=0.3)
    image = read_image(tmp_path / "a.tif")
    assert image.scale == pytest.approx({"Z": 0.3, "Y": 0.25, "X": 0.5})
    assert set(image.units.values()) == {"micrometer"}


def test_each_axis_may_have_a_unit_of_its_own(tmp_path):
    write_imagej(
        tmp_path / "a.tif", STACK, resolution=(2, 0.002), unit="micron", yunit="nm", zunit="mm", spacing=0.003
    )
    image = read_image(tmp_path / "a.tif")
    assert image.scale == pytest.approx({"Z": 3, "Y": 0.5, "X": 0.5})
    assert set(image.units.values()) == {"micrometer"}
    assert image.pixel_size_um == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("metadata", "size"),
    [
        ({"resolution": (30769.23, 30769.23), "resolutionunit": 3}, 0.325),
        ({"resolution": (30769.23, 30769.23), "unit": "cm"}, 0.325),
        ({"resolution": (50800, 50800), "resolutionunit": 2}, 0.5),
        ({"resolution": (50800, 50800), "unit": "inch"}, 0.5),
        ({"resolution": (2e-3, 2e-3), "unit": "nm"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": 2}, None),
        ({"resolution": (2, 2)}, None),
        ({"resolution": (2, 2), "unit": "pixel"}, None),
    ],
)
def test_lengths_become_micrometres(tmp_path, metadata, size):
    write_imagej(tmp_path / "a.tif", STACK[0], **metadata)
    found = read_image(tmp_path / "a.tif").pixel_size_um
    assert found is None if size is None else found == pytest.approx(size, rel=1e-4)


def test_time_has_a_unit_too(tmp_path):
    write_imagej(tmp_path / "a.tif", STACK, axes="TYX", unit="um", finterval=30, resolution=(2, 2))
    write_imagej(
        tmp_path / "b.tif", STACK, axes="TYX", unit="um", finterval=2, tunit="min", resolution=(2, 2)
    )
    first, second = read_image(tmp_path / "a.tif"), read_image(tmp_path / "b.tif")
    assert (first.axes, first.scale["T"], first.units["T"]) == ("TYX", 30, "second")
    assert (second.scale["T"], second.units["T"]) == (2, "minute")


@settings(max_examples=25, deadline=None)
@given(
    axes=st.sampled_from(["YX", "ZYX", "TYX", "TZYX"]),
    size=st.floats(0.05, 10),
    depth=st.floats(0.05, 10),
    interval=st.floats(0.1, 1e3),
)
def test_labels_of_an_imagej_file_lie_where_it_does(tmp_path_factory, axes, size, depth, interval):
    folder = tmp_path_factory.mktemp("labels")
    array = np.zeros([{"T": 2, "Z": 3, "Y": 8, "X": 9}[axis] for axis in axes], np.uint8)
    write_imagej(
        folder / "a.tif",
        array,
        axes=axes,
        unit="micron",
        resolution=(1 / size, 1 / size),
        spacing=depth,
        finterval=interval,
    )
    image = read_image(folder / "a.tif")
    write_labels(folder / "b.tif", array, image.scale, image.units, image.translate, image.result_axes)
    labels = read_image(folder / "b.tif")
    assert labels.axes == image.axes == axes
    assert labels.units == image.units
    assert labels.scale == pytest.approx(image.scale, rel=1e-4)
    expected = {"T": interval, "Z": depth, "Y": size, "X": size}
    assert image.scale == pytest.approx({axis: expected[axis] for axis in axes}, rel=1e-3)


def test_metaseries_says_its_calibration(tmp_path):
    said = {"spatial-calibration-x": 0.65, "spatial-calibration-y": 0.65}
    properties = "".join(f'<prop id="{name}" type="float" value="{size}"/>' for name, size in said.items())
    units = '<prop id="spatial-calibration-units" type="string" value="um"/>'
    xml = f"<MetaData><PlaneInfo>{properties}{units}</PlaneInfo></MetaData>"
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], description=xml, software="MetaSeries", metadata=None)
    assert read_image(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        (
            {"XCalibration": 0.3, "YCalibration": 0.4, "CalibrationUnits": "um", "ZDistance": [0.0, 2, 2]},
            {"X": 0.3, "Y": 0.4, "Z": 2},
        ),
        ({"XCalibration": 1.0, "YCalibration": 1.0, "CalibrationUnits": "pixel"}, {}),
        ({}, {}),
    ],
)
def test_metamorph_stacks_say_their_calibration(told, scale):
    """tifffile writes none, so a file stands here that is one to the reader."""
    tags = SimpleNamespace(valueof=lambda *_: None)
    first = SimpleNamespace(tags=tags, description="")
    kinds = dict.fromkeys(["is_lsm", "is_imagej", "is_metaseries", "is_sis"], False)
    file = SimpleNamespace(**kinds, is_stk=True, stk_metadata=told, pages=SimpleNamespace(first=first))
    found, _, units = tiff_scales(file)
    assert found == scale
    assert set(units.values()) <= {"micrometer"}


def test_olympus_says_metres():
    told = {"pixelsizex": 1.6e-7, "pixelsizey": 1.6e-7}
    kinds = dict.fromkeys(["is_lsm", "is_imagej", "is_stk", "is_metaseries"], False)
    file = SimpleNamespace(**kinds, is_sis=True, sis_metadata=told)
    assert tiff_scales(file)[0] == pytest.approx({"Y": 0.16, "X": 0.16})


def test_pixels_are_square_where_one_side_is_known(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], metadata={"axes": "YX", "PhysicalSizeX": 0.5})
    assert read_image(tmp_path / "a.ome.tif").scale == {"Y": 0.5, "X": 0.5}
