"""Positions and pixels survive the way from napari layers to the engine and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes

from napari_cupre.errors import InputError
from napari_cupre.widgets.annotation import Annotation, adopt
from napari_cupre.widgets.layers import (
    cell_image,
    crop_placement,
    current_plane,
    regions_of,
    result_placement,
    visible_box,
)

PLACED: dict[str, Any] = {"scale": (0.5, 0.25), "translate": (10.0, -3.0), "rotate": 30.0}


def test_a_result_lies_where_its_image_lies() -> None:
    layer = Image(np.zeros((20, 30)), name="a", units=("um", "um"), axis_labels=("y", "x"), **PLACED)
    labels = Labels(np.zeros((20, 30), np.int32), **result_placement(layer, cell_image(layer)))
    for corner in ((0, 0), (19, 29), (7, 3)):
        np.testing.assert_allclose(labels.data_to_world(corner), layer.data_to_world(corner))
    assert labels.units == layer.units and labels.axis_labels == layer.axis_labels


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
    assert image.axes == axes and image.result_shape == result
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
    with pytest.raises(InputError, match='"my shapes" holds a line'):
        regions_of(shapes, Labels(np.zeros((20, 30), np.int32)))


def test_the_plane_on_show_follows_the_sliders_from_the_last_dimension() -> None:
    stack = cell_image(Image(np.zeros((9, 20, 30))))
    assert current_plane(stack, (4, 0, 0)) == {"Z": 4}
    assert current_plane(stack, (1, 4, 0, 0)) == {"Z": 4}, "another layer has one dimension more"
    assert current_plane(stack, (99, 0, 0)) == {"Z": 8}, "another layer is longer"
    assert current_plane(cell_image(Image(np.zeros((20, 30)))), (3, 0, 0)) == {}


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
    assert annotation.cells is cells and annotation.regions is None


def test_labels_of_another_size_are_refused_with_both_shapes() -> None:
    layer = Image(np.zeros((20, 30)), name="field")
    annotation = Annotation(layer, cells=Labels(np.zeros((20, 31), np.int32), name="wrong"))
    with pytest.raises(InputError, match=r"\(20, 31\).*\(20, 30\)"):
        annotation.snapshot(cell_image(layer))


def test_a_stack_gives_one_shot_per_annotated_plane_and_flat_regions_count_on_each() -> None:
    layer = Image(np.random.default_rng(0).normal(size=(6, 40, 40)), name="stack")
    cells = np.zeros((6, 40, 40), np.int32)
    cells[1, 10:20, 10:20] = 1
    cells[4, 10:20, 10:20] = 2
    region = Shapes([np.array([[0.0, 0.0], [0.0, 39.0], [25.0, 39.0], [25.0, 0.0]])], shape_type="polygon")
    annotation = Annotation(layer, cells=Labels(cells), regions=region)
    snapshot = annotation.snapshot(cell_image(layer))
    shots = list(snapshot.shots())
    assert [int(shot.labels.max()) for shot in shots] == [1, 2]
    assert all(shot.known[:25].all() and not shot.known[30:].any() for shot in shots)
    assert snapshot.marks({"Z": 0}) is None
    marks = snapshot.marks({"Z": 4})
    assert marks is not None
    np.testing.assert_array_equal(marks.known, shots[1].known)
