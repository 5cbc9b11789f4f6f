"""Positions and pixels survive the way from napari layers to the engine and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes

from napari_cupre.errors import InputError
from napari_cupre.widgets.annotation_layers import Annotation, adopt
from napari_cupre.widgets.cells_layer import CellsLayer
from napari_cupre.widgets.layers import (
    cell_image,
    crop_placement,
    current_plane,
    regions_of,
    result_placement,
    visible_box,
)
from napari_cupre.widgets.snapshot import Snapshot

PLACED: dict[str, Any] = {"scale": (0.5, 0.25), "translate": (10.0, -3.0), "rotate": 30.0}
PLACED_3D: dict[str, Any] = {"scale": (1.0, 0.5, 0.25), "translate": (0.0, 10.0, -3.0)}


def test_a_result_lies_where_its_image_lies() -> None:
    layer = Image(np.zeros((20, 30)), name="a", units=("um", "um"), axis_labels=("y", "x"), **PLACED)
    labels = Labels(np.zeros((20, 30), np.int32), **result_placement(layer, cell_image(layer)))
    for corner in ((0, 0), (19, 29), (7, 3)):
        np.testing.assert_allclose(labels.data_to_world(corner), layer.data_to_world(corner))
    assert labels.units == layer.units
    assert labels.axis_labels == layer.axis_labels


@pytest.mark.parametrize(
    ("shape", "axes", "result", "scale"),
    [
        ((3, 40, 50), "CYX", (40, 50), (3.0, 4.0)),
        ((7, 40, 50), "ZYX", (7, 40, 50), (2.0, 3.0, 4.0)),
        ((40, 50, 3), "YXS", (40, 50), (3.0, 4.0)),
    ],
)
def test_channels_and_colours_are_dropped_from_the_result(
    shape: tuple[int, ...], axes: str, result: tuple[int, ...], scale: tuple[float, ...]
) -> None:
    rgb = axes.endswith("S")
    layer = Image(np.zeros(shape), rgb=rgb, scale=(3.0, 4.0) if rgb else (2.0, 3.0, 4.0))
    image = cell_image(layer)
    assert image.axes == axes
    assert image.result_shape == result
    assert tuple(result_placement(layer, image)["scale"]) == scale


def test_a_part_of_a_plane_lies_where_it_was_cut_out() -> None:
    layer = Image(np.zeros((20, 30)), **PLACED)
    part = Labels(np.zeros((5, 5), np.int32), **crop_placement(layer, cell_image(layer), {}, 4, 6))
    np.testing.assert_allclose(part.data_to_world((1, 2)), layer.data_to_world((5, 8)))


def test_a_part_of_a_stack_lies_on_its_plane() -> None:
    layer = Image(np.zeros((9, 20, 30)), scale=(2.0, 0.5, 0.5))
    placement = crop_placement(layer, cell_image(layer), {"Z": 4}, 4, 6)
    part = Labels(np.zeros((1, 5, 5), np.int32), **placement)
    np.testing.assert_allclose(part.data_to_world((0, 1, 2)), layer.data_to_world((4, 5, 8)))


def test_regions_go_through_both_transforms() -> None:
    labels = Labels(np.zeros((20, 30), np.int32), **PLACED)
    pixels = np.array([[2.0, 3.0], [2.0, 9.0], [8.0, 9.0], [8.0, 3.0]])
    world = np.array([labels.data_to_world(corner) for corner in pixels])
    (region,) = regions_of(Shapes([world], shape_type="polygon"), labels)
    np.testing.assert_allclose(region, pixels, atol=1e-4)


def test_an_ellipse_becomes_a_polygon_of_its_area() -> None:
    box = np.array([[5.0, 5.0], [5.0, 25.0], [15.0, 25.0], [15.0, 5.0]])
    (region,) = regions_of(Shapes([box], shape_type="ellipse"), Labels(np.zeros((20, 30), np.int32)))
    y, x = region.T
    area = 0.5 * abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1)))
    assert area == pytest.approx(np.pi * 5 * 10, rel=0.01)


def test_a_line_encloses_nothing() -> None:
    shapes = Shapes([np.array([[0.0, 0.0], [5.0, 5.0]])], shape_type="line", name="my shapes")
    with pytest.raises(InputError, match='"my shapes" contains a line'):
        regions_of(shapes, Labels(np.zeros((20, 30), np.int32)))


def test_the_plane_on_show_is_the_layers_own_whatever_the_sliders_step() -> None:
    viewer = ViewerModel()
    fine = viewer.add_image(np.zeros((9, 20, 30)), name="fine")
    coarse = viewer.add_image(np.zeros((9, 20, 30)), scale=(2.0, 1.0, 1.0), name="coarse")
    shifted = viewer.add_image(np.zeros((9, 20, 30)), translate=(3.0, 0.0, 0.0), name="shifted")

    def on_show(layer: Image) -> int:
        return current_plane(layer, cell_image(layer), viewer.dims.point, viewer.dims.units)["Z"]

    viewer.dims.set_point(0, 6.0)
    assert [on_show(layer) for layer in (fine, coarse, shifted)] == [6, 3, 3]
    viewer.dims.set_point(0, 99.0)
    assert on_show(fine) == 8, "the nearest, where the layer has none"
    flat = Image(np.zeros((20, 30)))
    assert current_plane(flat, cell_image(flat), viewer.dims.point) == {}


def test_the_plane_on_show_of_layers_in_other_units() -> None:
    viewer = ViewerModel()
    units = {"um": 1.0, "nm": 1000.0}
    layers = [
        viewer.add_image(np.zeros((9, 20, 30)), scale=(step,) * 3, units=(unit,) * 3)
        for unit, step in units.items()
    ]
    if not hasattr(viewer.dims, "units"):
        pytest.skip("this napari does not convert units")
    viewer.dims.set_current_step(0, 4)
    found = [current_plane(x, cell_image(x), viewer.dims.point, viewer.dims.units)["Z"] for x in layers]
    assert found == [4, 4]


@pytest.mark.parametrize("axes", ["ZCYX", "TCYX", "YXC", "TZCYX", "CYX", "YXZ", "CZYX"])
def test_annotation_shares_the_sliders_of_its_image(axes: str) -> None:
    """napari aligns layers at the last axis: a channel left out in the middle would shift the others."""
    sizes = {"T": 2, "Z": 4, "C": 3, "Y": 20, "X": 30}
    layer = Image(
        np.zeros([sizes[axis] for axis in axes]), rgb=False, scale=range(2, 2 + len(axes)), name="i"
    )
    image = cell_image(layer, axes)
    annotation = Annotation(layer)
    annotation.cells = annotation.new_cells(image)
    for channel in range(sizes["C"] if "C" in axes else 1):
        place = {"T": 1, "Z": 2, "C": channel, "Y": 7, "X": 11}
        world = layer.data_to_world([place[axis] for axis in axes])
        cell = tuple(np.round(annotation.cells.world_to_data(world)).astype(int))
        annotation.cells.data[cell] = 5
    labels = CellsLayer(layer, image, annotation.cells).cells.labels
    assert labels.shape == image.result_shape
    expected = tuple({"T": 1, "Z": 2, "Y": 7, "X": 11}[axis] for axis in image.result_axes)
    assert labels[expected] == 5
    assert (labels > 0).sum() == 1


TURNED = np.array([[1.0, 0, 0, 0], [0, 0.8, -0.6, 30], [0, 0.6, 0.8, 4], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "moved",
    [{"affine": TURNED}, {"rotate": TURNED[:3, :3]}, {"shear": [0, 0, 0.4]}, {"affine": TURNED, **PLACED_3D}],
)
def test_a_turned_image_of_channels_has_its_annotation_under_the_brush(moved: dict[str, Any]) -> None:
    layer = Image(np.zeros((3, 20, 30)), name="turned", **moved)
    labels = Labels(np.zeros((20, 30), np.int32), **result_placement(layer, cell_image(layer)))
    for pixel in ((0, 0), (19, 29), (7, 3)):
        np.testing.assert_allclose(
            labels.data_to_world(pixel), layer.data_to_world((0, *pixel))[1:], atol=1e-9
        )


def test_channels_that_lie_apart_are_refused() -> None:
    mixing = np.eye(4)
    mixing[1, 0] = 5.0  # each channel five pixels lower
    layer = Image(np.zeros((3, 20, 30)), name="apart", affine=mixing)
    with pytest.raises(InputError, match="apart"):
        result_placement(layer, cell_image(layer))


def test_the_visible_part_is_bounded_and_never_empty() -> None:
    layer = Image(np.zeros((400, 300)))
    image = cell_image(layer)
    layer.corner_pixels = np.array([[0, 0], [400, 300]])
    assert visible_box(layer, image, 200) == (100, 50, 300, 250)
    layer.corner_pixels = np.array([[10, 20], [30, 60]])
    assert visible_box(layer, image, 200) == (10, 20, 30, 60)
    layer.corner_pixels = np.array([[0, 0], [0, 0]])
    assert visible_box(layer, image, 200) == (100, 50, 300, 250)


def test_layers_of_the_right_names_are_adopted() -> None:
    image = Image(np.zeros((20, 30)), name="field")
    cells = Labels(np.zeros((20, 30), np.int32), name="field cells")
    other = Labels(np.zeros((20, 30), np.int32), name="other cells")
    annotation = Annotation(image)
    adopt(annotation, [image, other, cells])
    assert annotation.cells is cells
    assert annotation.regions is None


def test_labels_of_another_size_are_refused_with_both_shapes() -> None:
    layer = Image(np.zeros((20, 30)), name="field")
    with pytest.raises(InputError, match=r"\(20, 31\).*\(20, 30\)"):
        CellsLayer(layer, cell_image(layer), Labels(np.zeros((20, 31), np.int32), name="wrong"))


def test_a_stack_gives_one_shot_per_annotated_plane_and_flat_regions_count_on_each() -> None:
    layer = Image(np.random.default_rng(0).normal(size=(6, 40, 40)), name="stack")
    cells = np.zeros((6, 40, 40), np.int32)
    cells[1, 10:20, 10:20] = 1
    cells[4, 10:20, 10:20] = 2
    region = Shapes([np.array([[0.0, 0.0], [0.0, 39.0], [25.0, 39.0], [25.0, 0.0]])], shape_type="polygon")
    bound = CellsLayer(layer, cell_image(layer), Labels(cells))
    bound.follow_regions(region)
    shots = list(Snapshot.of(bound).shots())
    assert [int(shot.labels.max()) for shot in shots] == [1, 2]
    assert all(shot.known[:25].all() and not shot.known[30:].any() for shot in shots)
    where = np.nonzero(np.pad(np.ones((1, 8, 8), int), ((2, 3), (10, 22), (10, 22))))
    bound.layer.data_setitem(where, 3)
    shots = list(Snapshot.of(bound).shots())
    assert [shot.name for shot in shots] == [f"stack (Z={at})" for at in (1, 2, 4)]
    assert all(shot.known[:25].all() for shot in shots), "also on a plane that is annotated later"


def test_of_a_pyramid_the_finest_level_is_read() -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    layer = Image([pixels, pixels[::2, ::2]], multiscale=True)
    image = cell_image(layer)
    assert image.data is cell_image(layer).data, "what it is told apart by stays"
    assert np.array_equal(np.asarray(image.lazy_plane({})[10:20, 30:40]), pixels[10:20, 30:40])
