"""Axes that are never silently wrong, planes, and the stretch that any image survives."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cupre.data.axes import canonical_unit, micrometers_per, parse_axes
from napari_cupre.data.image import CellImage, Stretch, fit_stretch, guess_axes, normalise
from napari_cupre.errors import InputError

REAL = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.unsigned_integer_dtypes(endianness="="),
    hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
)
PLANES = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)),
)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((64, 64), "YX"),
        ((3, 64, 64), "CYX"),
        ((5, 64, 64), "CYX"),
        ((30, 64, 64), "ZYX"),
        ((64, 64, 3), "YXS"),
        ((64, 64, 4), "YXS"),
        ((64, 64, 2), "YXC"),
        ((10, 64, 64, 3), "ZYXS"),
        ((10, 2, 64, 64), "ZCYX"),
        ((2, 10, 64, 64), "CZYX"),
        ((2, 3, 64, 64), "ZCYX"),
        ((12, 10, 64, 64), "TZYX"),
        ((12, 10, 3, 64, 64), "TZCYX"),
        ((12, 3, 10, 64, 64), "TCZYX"),
        ((2, 2), "YX"),
    ],
)
def test_guesses(shape, axes):
    assert guess_axes(shape) == axes


def test_guess_obeys_rgb():
    assert guess_axes((64, 64, 3), rgb=False) == "YXC"
    assert guess_axes((4, 4, 3), rgb=True) == "YXS"
    assert guess_axes((3, 64, 64), rgb=False) == "CYX"


@pytest.mark.parametrize("shape", [(5,), (), (2, 3, 4, 5, 6, 7), (9, 9, 9, 9, 9)])
def test_no_guess_is_an_input_error(shape):
    with pytest.raises(InputError, match="give them"):
        guess_axes(shape)


def test_guess_is_recorded_and_can_be_changed():
    image = CellImage.from_array(np.zeros((3, 8, 9)), scale={"Y": 2.0})
    assert (image.axes, image.guessed) == ("CYX", True)
    stack = image.with_axes("zyx")
    assert (stack.axes, stack.guessed, stack.scale) == ("ZYX", False, {"Z": 1.0, "Y": 2.0, "X": 1.0})
    assert not CellImage.from_array(np.zeros((8, 9))).guessed


@pytest.mark.parametrize("axes", ["YY", "ZX", "AYX", "SYX", "YX", "TZYX"])
def test_unfit_axes_are_refused(axes):
    with pytest.raises(InputError, match=axes):
        CellImage(np.zeros((3, 8, 8)), axes)


def test_unusable_arrays_are_refused():
    with pytest.raises(InputError, match="complex"):
        CellImage(np.zeros((8, 8), complex), "YX")
    with pytest.raises(InputError, match="no pixel"):
        CellImage(np.zeros((0, 8)), "YX")
    with pytest.raises(InputError, match="2 colour samples"):
        CellImage(np.zeros((8, 8, 2)), "YXS")
    with pytest.raises(InputError, match="channels of RGB colours"):
        CellImage(np.zeros((2, 8, 8, 3)), "CYXS")


@given(order=st.permutations("TZCYX"), sizes=st.permutations([2, 3, 4, 5, 6]))
def test_planes_are_those_of_the_array_whatever_its_axes(order, sizes):
    axes, length = "".join(order), dict(zip(order, sizes))
    array = np.arange(720).reshape(sizes)
    image = CellImage(array, axes)
    canonical = array.transpose([axes.index(axis) for axis in "TZYXC"])[..., :3]
    planes = list(image.planes())
    assert len(planes) == length["T"] * length["Z"]
    for index, plane in planes:
        expected = canonical[index["T"], index["Z"]]
        np.testing.assert_array_equal(plane, expected)
    assert image.result_shape == tuple(length[axis] for axis in image.result_axes)
    assert sorted(image.result_axes) == ["T", "X", "Y", "Z"]


def test_channels_are_chosen():
    array = np.arange(4 * 6 * 7).reshape(4, 6, 7)
    image = CellImage(array, "CYX")
    np.testing.assert_array_equal(image.plane(channels=[2]), array[2])
    np.testing.assert_array_equal(image.plane(channels=[3, 0]), array[[3, 0]].transpose(1, 2, 0))
    lazy = CellImage(da.from_array(array), "CYX")
    np.testing.assert_array_equal(lazy.plane(channels=[3, 0, 1]), array[[3, 0, 1]].transpose(1, 2, 0))
    with pytest.raises(InputError, match="no channel 4"):
        image.plane(channels=[4])
    with pytest.raises(InputError, match="one to three"):
        image.plane(channels=[0, 1, 2, 3])


def test_alpha_is_dropped():
    rgba = np.random.default_rng(0).integers(0, 255, (6, 7, 4), dtype=np.uint8)
    image = CellImage(rgba, "YXS")
    np.testing.assert_array_equal(image.plane(), rgba[..., :3])
    np.testing.assert_array_equal(normalise(rgba), normalise(rgba[..., :3]))


def test_planes_outside_are_refused():
    image = CellImage(np.zeros((3, 8, 8)), "ZYX")
    with pytest.raises(InputError, match="Z=3"):
        image.plane({"Z": 3})
    with pytest.raises(InputError, match="along"):
        image.plane({"T": 0})


def test_a_damaged_lazy_plane_is_an_input_error():
    def fail(block):
        raise OSError("unexpected end of file")

    lazy = da.zeros((8, 8), chunks=4).map_blocks(fail, meta=np.zeros((0, 0)), dtype=float)
    image = CellImage(lazy, "YX", name="torn")
    for read in (image.plane, image.stretch):
        with pytest.raises(InputError, match=r"torn.*unexpected end of file"):
            read()


def test_the_stretch_of_a_small_damaged_plane_comes_from_what_can_be_read():
    def fail(block, block_info=None):
        if block_info[0]["chunk-location"] == (0, 1):
            raise OSError("unexpected end of file")
        return block

    pixels = np.arange(64.0).reshape(8, 8)
    lazy = da.from_array(pixels, chunks=4).map_blocks(fail, meta=np.zeros((0, 0)), dtype=float)
    stretch = CellImage(lazy, "YX", name="torn").stretch()
    rest = np.concatenate([pixels[:4, :4].ravel(), pixels[4:].ravel()])
    assert stretch == fit_stretch(rest[:, None])


def test_layer_values_follow_their_axes():
    image = CellImage.from_layer_data(
        np.zeros((2, 5, 8, 9)),
        scale=(1, 3.0, 0.5, 0.25),
        translate=(0, 1, 2, 3),
        units=("pixel", "um", "µm", "micron"),
        axis_labels=("channel", "z", "y", "x"),
    )
    assert (image.axes, image.guessed) == ("CZYX", False)
    assert image.scale == {"Z": 3.0, "Y": 0.5, "X": 0.25}
    assert image.units == dict.fromkeys("ZYX", "micrometer")
    assert image.values_for("ZYX")["translate"] == (1.0, 2.0, 3.0)
    assert image.pixel_size_um == pytest.approx(0.375)


def test_layer_without_names_is_guessed_and_pyramids_use_their_finest_level():
    levels = [np.zeros((8, 9, 3)), np.zeros((4, 4, 3))]
    image = CellImage.from_layer_data(levels, rgb=True, scale=(2, 3), axis_labels=("axis -2", "axis -1"))
    assert (image.axes, image.scale, image.plane_shape) == ("YXS", {"Y": 2.0, "X": 3.0}, (8, 9))
    assert image.pixel_size_um is None
    stack = CellImage.from_layer_data(np.zeros((9, 8, 8)), axis_labels=("-3", "-2", "-1"))
    assert (stack.axes, stack.guessed) == ("ZYX", True)


def test_units_have_one_spelling():
    for spelling in ("um", "µm", "μm", "micron", "Micrometers"):
        assert canonical_unit(spelling) == "micrometer"
    assert canonical_unit(None) == canonical_unit("") == "pixel"
    assert canonical_unit("parsec") == "parsec"
    assert micrometers_per("nm") == 1e-3
    assert micrometers_per("pixel") is None
    assert parse_axes(" zyx ") == "ZYX"


@settings(max_examples=200)
@given(data=st.data(), dtype=REAL, shape=PLANES)
def test_normalise_survives_any_plane(data, dtype, shape):
    plane = data.draw(hnp.arrays(dtype, shape))
    if dtype.kind == "f" and not np.isfinite(plane).any():
        with pytest.raises(InputError, match="NaN"):
            normalise(plane)
        return
    if dtype.kind == "f" and plane.ndim == 3 and not np.isfinite(plane).any(axis=(0, 1)).all():
        with pytest.raises(InputError):
            normalise(plane)
        return
    result = normalise(plane)
    assert result.dtype == np.float32
    assert result.shape == (*shape[:2], 3)
    assert np.isfinite(result).all()
    assert result.min() >= -0.5
    assert result.max() <= 1.5


@given(dtype=REAL, shape=PLANES, value=st.integers(0, 1))
def test_constant_planes_become_zero(dtype, shape, value):
    assert not normalise(np.full(shape, value, dtype)).any()


@given(
    plane=hnp.arrays(np.uint16, (9, 8), elements=st.integers(0, 4000), unique=True),
    gain=st.sampled_from([1, 2, 8]),
    offset=st.integers(0, 1000),
)
def test_gain_and_offset_do_not_matter(plane, gain, offset):
    np.testing.assert_allclose(
        normalise(plane), normalise((plane.astype(np.int64) * gain + offset).astype(np.uint16)), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_all_types_agree(dtype):
    plane = np.random.default_rng(0).integers(0, 120, (64, 64))
    np.testing.assert_allclose(normalise(plane.astype(dtype)), normalise(plane), atol=1e-6)


def test_the_channels_of_a_grey_view_are_one_in_memory():
    plane = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
    stretch = fit_stretch(plane)
    view = stretch.view(plane)
    np.testing.assert_array_equal(view, stretch(plane))
    assert view.strides[2] == 0
    assert not view.flags.writeable  # a change would show in all three
    assert stretch(plane).flags.writeable


def test_percentiles_become_zero_and_one():
    plane = np.arange(1001, dtype=np.float32).reshape(7, 143)
    result = normalise(plane)[..., 0]
    np.testing.assert_allclose(result.ravel()[[10, 998]], [0, 1], atol=1e-6)


def test_sparse_and_saturated_planes_keep_their_contrast():
    sparse = np.zeros((100, 100), np.uint16)
    sparse[50, 50] = 900
    assert normalise(sparse)[50, 50, 0] == 1
    assert normalise(sparse)[0, 0, 0] == 0
    saturated = np.full((100, 100), 255, np.uint8)
    saturated[3, 3] = 0
    assert normalise(saturated)[3, 3, 0] == 0
    assert normalise(saturated)[0, 0, 0] == 1


def test_nan_counts_as_dark():
    plane = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    plane[2, 2], plane[3, 3], plane[4, 4] = np.nan, np.inf, -np.inf
    result = normalise(plane)
    assert result[2, 2, 0] == 0
    assert result[3, 3, 0] == 1.5
    assert result[4, 4, 0] == -0.5


def test_colours_are_stretched_jointly_and_channels_each_by_itself():
    rng = np.random.default_rng(0)
    plane = np.stack(
        [rng.integers(0, 100, (32, 32)), rng.integers(100, 200, (32, 32))] + [np.zeros((32, 32))], -1
    )
    joint = normalise(plane.astype(np.uint8))
    assert joint[..., 0].mean() < 0.4 < 0.6 < joint[..., 1].mean()
    apart = normalise(plane.astype(np.uint16))
    np.testing.assert_allclose(apart[..., 0].mean(), apart[..., 1].mean(), atol=0.05)
    two = normalise(plane[..., :2].astype(np.uint8))
    np.testing.assert_allclose(two[..., 2], two[..., :2].mean(-1), atol=1e-6)


def test_too_many_channels_are_refused():
    with pytest.raises(InputError, match="5 channels"):
        normalise(np.zeros((8, 8, 5)))
    with pytest.raises(InputError, match="two dimensions"):
        normalise(np.zeros((8, 8, 3, 2)))


def test_a_tile_is_stretched_as_its_plane():
    plane = np.random.default_rng(0).integers(0, 5000, (90, 80), dtype=np.uint16)
    stretch = fit_stretch(plane)
    np.testing.assert_array_equal(stretch(plane[10:40, 20:60]), normalise(plane)[10:40, 20:60])


def test_big_planes_are_sampled():
    rng = np.random.default_rng(0)
    plane = rng.normal(1000, 100, (3000, 2500)).astype(np.float32)
    exact = np.percentile(plane, [1, 99.8])
    for source in (plane, da.from_array(plane, chunks=500)):
        stretch = fit_stretch(source)
        np.testing.assert_allclose([stretch.low[0], stretch.high[0]], exact, atol=10)


@pytest.mark.parametrize("chunks", [(512, 512), (7, 4000), (4096, 4096)])
@pytest.mark.parametrize("corner", [(1200, 900), (2500, 300), (3400, 2900)])
def test_a_small_bright_part_of_a_big_lazy_plane_is_seen(corner, chunks):
    """Under one percent of the plane holds all that is bright: the windows of a coarse grid miss it."""
    rng = np.random.default_rng(1)
    plane = rng.integers(90, 110, (4200, 4000)).astype(np.uint16)
    y, x = corner
    plane[y : y + 360, x : x + 360] = rng.integers(20_000, 30_000, (360, 360))
    stretch = fit_stretch(da.from_array(plane, chunks=chunks))
    assert stretch.low[0] == pytest.approx(90, abs=2)
    assert stretch.high[0] == pytest.approx(np.percentile(plane, 99.8), rel=0.1)


def test_blocks_that_cannot_be_read_do_not_hide_the_rest():
    def torn(block, block_info=None):
        if block_info[0]["chunk-location"] == (1, 1):
            raise OSError("unexpected end of file")
        return np.full(block.shape, sum(block_info[0]["chunk-location"]), np.uint16)

    plane = da.zeros((1500, 1500), chunks=512, dtype=np.uint16).map_blocks(
        torn, dtype=np.uint16, meta=np.zeros((0, 0), np.uint16)
    )
    assert fit_stretch(plane) == Stretch((0.0,), (4.0,))


def test_a_plane_without_numbers_names_its_place():
    image = CellImage(np.stack([np.ones((8, 8)), np.full((8, 8), np.nan)]), "TYX", name="film")
    with pytest.raises(InputError, match='The image "film" at T=1 contains only NaN'):
        image.normalised({"T": 1})
