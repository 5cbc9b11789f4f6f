"""Pictures of one content in every way that TIFF keeps colours."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2lab

from napari_cupre.errors import InputError
from napari_cupre.io import tiff
from napari_cupre.io.images import read_image, read_labels

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def ink(rgb):
    black = 255 - rgb.max(-1, keepdims=True).astype(float)
    cmy = 255 * (1 - rgb / np.maximum(1, 255 - black))
    return np.concatenate([cmy, black], -1).round().astype(np.uint8)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_ink_is_no_light(tmp_path, monkeypatch, lazy, planar):
    monkeypatch.setattr(tiff, "LAZY_BYTES", 0 if lazy else 2**30)
    stored = ink(RGB) if planar == "contig" else ink(RGB).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", planarconfig=planar)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YXS"
    assert image.is_lazy == lazy
    np.testing.assert_allclose(np.asarray(image.data).astype(int), RGB, atol=2)


def test_ink_of_16_bits_and_ink_with_alpha(tmp_path):
    deep = ink(RGB).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="separated")
    image = read_image(tmp_path / "deep.tif")
    assert image.data.dtype == np.uint16
    np.testing.assert_allclose(image.data / 257, RGB, atol=2)
    alpha = np.concatenate([ink(RGB), np.full((20, 30, 1), 9, np.uint8)], -1)
    tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="separated", extrasamples=["unassalpha"])
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").data.astype(int), RGB, atol=2)


def test_other_inks_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", ink(RGB), photometric="separated", extratags=[(332, "H", 1, 2, True)]
    )
    with pytest.raises(InputError, match=r"a\.tif.*inks.*RGB"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_zero_may_be_white(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), photometric="miniswhite")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif").data, np.iinfo(dtype).max - GREY.astype(dtype)
    )
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), GREY)


def test_alpha_is_no_channel(tmp_path):
    pair = np.stack([GREY, np.full_like(GREY, 200)], -1)
    tifffile.imwrite(tmp_path / "a.tif", pair, photometric="minisblack", extrasamples=["unassalpha"])
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YX"
    assert np.array_equal(image.data, GREY)
    tifffile.imwrite(tmp_path / "b.tif", pair, photometric="minisblack", planarconfig="contig")
    assert read_image(tmp_path / "b.tif").channel_count == 2  # nothing says that it is alpha
    Image.fromarray(pair, "LA").save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_image(tmp_path / "c.png").data, GREY)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_colours_are_those_before_alpha(tmp_path, kind):
    alpha = np.full((20, 30, 1), 128, np.uint8)
    stored = RGB if kind == "unassalpha" else (RGB * (128 / 255)).round().astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", np.concatenate([stored, alpha], -1), photometric="rgb", extrasamples=[kind]
    )
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").plane().astype(int), RGB, atol=2)


def test_an_alpha_of_nothing_hides_no_colours(tmp_path):
    stored = np.concatenate([RGB, np.zeros((20, 30, 1), np.uint8)], -1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").plane(), RGB)


def test_stacks_of_colours_may_be_named_by_the_user(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RGB, RGB]), imagej=True)  # says that these are channels
    with pytest.raises(InputError, match="2 channels of RGB colours: name its axes, such as ZYXS"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", "ZYXS")
    assert (image.axes, image.sizes["Z"]) == ("ZYXS", 2)


def test_lab_becomes_rgb(tmp_path):
    lab = rgb2lab(RGB, illuminant="D50")
    stored = np.concatenate([lab[..., :1] * 2.55, lab[..., 1:]], -1).round().astype(np.int16)
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(np.uint8), photometric="cielab")
    shown = read_image(tmp_path / "a.tif")
    assert shown.axes == "YXS"
    assert np.abs(shown.data.astype(int) - RGB).mean() < 3


def test_look_up_tables_show_grey_values_and_palettes_are_pictures(tmp_path):
    ramp = np.arange(256, dtype=np.uint16) * 257
    red = np.stack([ramp, 0 * ramp, 0 * ramp])
    tifffile.imwrite(tmp_path / "red.tif", GREY, imagej=True, colormap=red, metadata={"axes": "YX"})
    image = read_image(tmp_path / "red.tif")
    assert image.axes == "YX"
    assert np.array_equal(image.data, GREY)
    few = RNG.integers(0, 256, (3, 256)).astype(np.uint16)  # of 8 bits, as some write them
    tifffile.imwrite(tmp_path / "few.tif", GREY, photometric="palette", colormap=few)
    np.testing.assert_array_equal(read_image(tmp_path / "few.tif").data, few.T[GREY])


def test_bits_and_jpeg_in_tiff(tmp_path):
    bits = GREY > 99
    tifffile.imwrite(tmp_path / "bits.tif", bits, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.tif").data, ~bits)
    smooth = np.repeat(np.repeat(RGB[:2, :4], 16, 0), 16, 1)
    tifffile.imwrite(tmp_path / "jpeg.tif", smooth, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "jpeg.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    image = read_image(tmp_path / "jpeg.tif")
    assert image.axes == "YXS"
    assert np.abs(image.data[8::16, 8::16].astype(int) - RGB[:2, :4]).max() < 90


def test_the_users_axes_go_before_colours(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ink(RGB), photometric="separated")
    assert read_image(tmp_path / "a.tif", "YXC").channel_count == 4
