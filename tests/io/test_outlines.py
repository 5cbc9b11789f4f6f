"""Outlines along pixel edges: exact, valid, and undone to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely.geometry import MultiPolygon, Polygon

from napari_cupre.io.writers.outlines import fill, trace

LABELS = hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))


def painted(outlines, shape):
    labels = np.zeros(shape, np.int32)
    for value, parts in outlines.items():
        rings = [ring for part in parts for ring in (part.exterior, *part.holes)]
        labels[fill(rings, shape)] = value
    return labels


@given(LABELS)
@settings(deadline=None, max_examples=80)
def test_filling_undoes_tracing(labels):
    assert np.array_equal(painted(trace(labels), labels.shape), labels)


@given(LABELS)
@settings(deadline=None, max_examples=80)
def test_polygons_are_valid_and_of_the_right_area(labels):
    for value, parts in trace(labels).items():
        shape = MultiPolygon([Polygon(part.exterior, part.holes) for part in parts])
        assert shape.is_valid
        assert shape.area == sum(part.area for part in parts) == (labels == value).sum()


def test_a_square_has_four_corners():
    labels = np.zeros((10, 10), np.int32)
    labels[2:5, 3:7] = 6
    (part,) = trace(labels)[6]
    assert {tuple(corner) for corner in part.exterior} == {(3, 2), (7, 2), (7, 5), (3, 5)}
    assert part.holes == []
    assert part.area == 12


def test_parts_in_holes_find_their_owner():
    labels = np.ones((9, 9), np.int32)
    labels[1:8, 1:8] = 0
    labels[2:7, 2:7] = 1
    labels[4, 4] = 0
    outer, inner = trace(labels)[1]
    assert (outer.area, inner.area) == (32, 24)
    assert len(outer.holes) == len(inner.holes) == 1
    assert {tuple(c) for c in inner.holes[0]} == {(4, 4), (5, 4), (5, 5), (4, 5)}


def test_pixels_meeting_at_a_corner_are_two_parts():
    assert [part.area for part in trace(np.eye(2, dtype=np.int32))[1]] == [1, 1]


def test_nothing_has_no_outline():
    assert trace(np.zeros((5, 5), np.int32)) == {}


def test_outlines_beyond_the_image_are_cut():
    ring = np.array([(-5, -5), (3, -5), (3, 2), (-5, 2)], float)
    rows, columns = fill([ring], (4, 4))
    assert set(zip(rows.tolist(), columns.tolist())) == {(r, c) for r in range(2) for c in range(3)}


@pytest.mark.parametrize("ring", [np.array([(1.0, 1.0)]), np.array([(1.0, 1.0), (3.0, 3.0)])])
def test_degenerate_outlines_hold_no_area_to_speak_of(ring):
    assert len(fill([ring], (5, 5))[0]) <= 3


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
def test_an_edge_through_pixel_centres_counts_on_one_side(shift):
    """As ImageJ's PolygonFiller: 20 x 30 px wherever the rectangle lies."""
    corners = np.array([(10, 20), (30, 20), (30, 50), (10, 50)]) + shift
    rows, columns = fill([corners], (100, 120))
    assert len(rows) == 600
    # A centre on the left edge is outside and one on the right edge inside; above inside, below outside.
    assert columns.min() == (11 if shift >= 0.5 else 10)
    assert rows.min() == (21 if shift > 0.5 else 20)


@given(st.lists(st.tuples(st.integers(0, 18), st.integers(0, 18)), min_size=3, max_size=8), st.booleans())
@settings(deadline=None, max_examples=80)
def test_pixels_inside_are_those_with_their_centre_inside(corners, halves):
    """Against a point-in-polygon test of each centre, nudged off the edges to ImageJ's side."""
    ring = np.array(corners, float) / (2 if halves else 1)
    y, x = np.mgrid[:18, :18]
    # Just left of, and just below, the centre.
    centres = np.column_stack([x.ravel() + 0.5 - 3e-7, y.ravel() + 0.5 + 1e-9])
    wanted = even_odd(centres, ring).reshape(18, 18)
    filled = np.zeros((18, 18), bool)
    filled[fill([ring], (18, 18))] = True
    assert np.array_equal(filled, wanted)


def even_odd(points, ring):
    inside = np.zeros(len(points), bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0)):
        if y1 != y2:
            spans = (y1 > points[:, 1]) != (y2 > points[:, 1])
            inside ^= spans & (points[:, 0] < x1 + (points[:, 1] - y1) * (x2 - x1) / (y2 - y1))
    return inside


def test_parts_that_share_an_edge_share_no_pixel():
    corners = np.array([(1.5, 2.5), (9.5, 2.5), (17.5, 15.5), (3.5, 12.5)])
    one, other = corners[[0, 1, 2]], corners[[0, 2, 3]]
    count = sum(len(fill([ring], (20, 20))[0]) for ring in (one, other))
    assert count == len(fill([corners], (20, 20))[0])


def test_an_endless_outline_is_filled_piece_by_piece():
    ring = np.tile([(0.0, 0.0), (9.0, 3000.0)], (3000, 1))
    assert len(fill([ring], (3000, 9))[0]) == 0  # each edge lies on another one
