"""ImageJ's regions of every kind, as ImageJ fills them, and what of a zip is no cell."""

from __future__ import annotations

import logging
import struct
import zipfile

import numpy as np
import pytest
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiwrite

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.importers import Frame, import_annotations

SHAPE = (100, 120)
SQUARE = np.array([(10, 20), (30, 20), (30, 50), (10, 50)])


def box(kind=ROI_TYPE.RECT, left=10, top=20, right=30, bottom=50, **more):
    roi = ImagejRoi()
    roi.roitype, roi.left, roi.top, roi.right, roi.bottom = kind, left, top, right, bottom
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def points(corners, kind, **more):
    roi = ImagejRoi.frompoints(np.asarray(corners))
    roi.roitype = kind
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def path_of(*operations):
    roi = box()
    roi.multi_coordinates = np.array([number for each in operations for number in each], np.float32)
    roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def mask_of(roi, folder, shape=SHAPE):
    roiwrite(folder / "a.roi", roi, mode="w")
    return import_annotations(folder / "a.roi", shape)["a"] > 0


def import_all(rois, folder, shape=SHAPE):
    """Labels and what was said of regions in a zip."""
    with zipfile.ZipFile(folder / "a_rois.zip", "w") as archive:
        for number, roi in enumerate(rois):
            content = roi if isinstance(roi, bytes) else roi.tobytes()
            archive.writestr(f"{number}.roi", content)
    lost, notes = [], []
    found = import_annotations(folder / "a_rois.zip", shape, on_partial=lost.append, on_note=notes.append)
    (labels,) = found.values()
    return labels, lost, notes


@pytest.mark.parametrize("shift", [0.5, 0.25, 0.999])
@pytest.mark.parametrize("kind", [ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED])
def test_sub_pixel_outlines_keep_their_area(kind, shift, tmp_path):
    assert mask_of(points(SQUARE + np.float32(shift), kind), tmp_path).sum() == 600


def test_a_centre_on_the_left_is_outside_and_on_the_right_inside(tmp_path):
    rows, columns = np.nonzero(mask_of(points(SQUARE + np.float32(0.5), ROI_TYPE.FREEHAND), tmp_path))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 49, 11, 30)


@pytest.mark.parametrize(("width", "height"), [(20, 30), (7, 7), (1, 1), (2, 5), (31, 12)])
def test_ovals_cover_the_pixels_with_their_centre_inside(width, height, tmp_path):
    filled = mask_of(box(ROI_TYPE.OVAL, 10, 20, 10 + width, 20 + height), tmp_path)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    inside = ((x - 10 - width / 2) / (width / 2)) ** 2 + ((y - 20 - height / 2) / (height / 2)) ** 2 <= 1
    assert np.array_equal(filled, inside)


def test_rectangles_with_round_corners_lack_them(tmp_path):
    filled = mask_of(box(rounded_rect_arc_size=10), tmp_path)
    assert not filled[20, 10]
    assert filled[20, 20]
    assert filled[35, 10]
    assert abs((600 - filled.sum()) - (100 - np.pi * 25)) < 4
    assert np.array_equal(filled[:, 10:30], filled[:, 10:30][:, ::-1])


@pytest.mark.parametrize(
    ("subtype", "area"), [(ROI_SUBTYPE.ELLIPSE, np.pi * 20 * 10), (ROI_SUBTYPE.ROTATED_RECT, 40 * 12)]
)
def test_regions_given_by_their_axis_alone(subtype, area, tmp_path):
    roi = box(ROI_TYPE.FREEHAND, 30, 30, 70, 60, subtype=subtype, version=227)
    roi.x1, roi.y1, roi.x2, roi.y2 = 30.0, 45.0, 70.0, 45.0
    content = bytearray(roi.tobytes())
    ratio = 0.5 if subtype == ROI_SUBTYPE.ELLIPSE else 12.0
    content[18:34] = struct.pack(">4f", 30, 45, 70, 45)
    content[16:18] = struct.pack(">h", 0)
    content[52:56] = struct.pack(">f", ratio)
    (tmp_path / "a.roi").write_bytes(bytes(content))
    filled = import_annotations(tmp_path / "a.roi", SHAPE)["a"] > 0
    assert abs(filled.sum() - area) < 20
    assert np.allclose(np.argwhere(filled).mean(axis=0) + 0.5, (45, 50), atol=0.6)


def test_composites_have_holes_and_parts(tmp_path):
    def ring(left, top, side):
        corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
        return [(0, *corners[0]), *((1, *corner) for corner in corners[1:]), (4,)]

    roi = path_of(*ring(10, 10, 20), *ring(15, 15, 5), *ring(50, 50, 4))
    assert mask_of(roi, tmp_path).sum() == 400 - 25 + 16


def test_curves_of_composites_are_followed(tmp_path):
    k = 10 * 4 / 3 * (2**0.5 - 1)
    arcs = [(60, 40), (50, 50), (40, 40), (50, 30)]  # right, bottom, left, top of a circle of radius 10
    quarter = [
        (3, 60, 40 + k, 50 + k, 50, *arcs[1]),
        (3, 50 - k, 50, 40, 40 + k, *arcs[2]),
        (3, 40, 40 - k, 50 - k, 30, *arcs[3]),
        (3, 50 + k, 30, 60, 40 - k, *arcs[0]),
    ]
    filled = mask_of(path_of((0, *arcs[0]), *quarter, (4,)), tmp_path)
    assert abs(filled.sum() - np.pi * 100) < 8
    quad = mask_of(path_of((0, 10, 10), (2, 20, 30, 30, 10), (4,)), tmp_path)
    assert abs(quad.sum() - 2 / 3 * 20 * 10) < 10  # a parabola's segment


def spline_through(count, radius=20.0, centre=50.0):
    """Corners on a circle, saved as ImageJ saves what was made by "Fit Spline"."""
    angles = np.arange(count) * 2 * np.pi / count
    corners = centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])
    roi = points(corners.astype(np.float32), ROI_TYPE.POLYGON)
    roi.options |= ROI_OPTIONS.SPLINE_FIT
    return roi


def test_a_spline_is_filled_as_the_curve_that_imagej_shows(tmp_path):
    filled = mask_of(spline_through(6), tmp_path).sum()
    assert abs(filled - np.pi * 400) < 0.01 * np.pi * 400  # the hexagon itself has 17 % less


def test_a_spline_between_whole_pixels_is_curved_too(tmp_path):
    roi = points([(30, 50), (50, 30), (70, 50), (50, 70)], ROI_TYPE.POLYGON)
    straight = mask_of(roi, tmp_path).sum()
    roi.options |= ROI_OPTIONS.SPLINE_FIT
    assert mask_of(roi, tmp_path).sum() > 1.4 * straight


def test_a_spline_through_a_point_twice_is_read(tmp_path):
    roi = points([(30, 50), (30, 50), (50, 30), (70, 50), (50, 70)], ROI_TYPE.FREEHAND)
    roi.options |= ROI_OPTIONS.SPLINE_FIT
    assert mask_of(roi, tmp_path).sum() > 800


def test_a_path_that_breaks_off_is_damaged(tmp_path):
    with pytest.raises(InputError, match=r"a\.roi.*damaged"):
        mask_of(path_of((0, 10, 10), (1, 20)), tmp_path)


def test_what_is_no_cell_is_counted(tmp_path):
    rois = [
        box(),
        box(left=400, right=430),
        points([(5, 5), (60, 60), (5, 60)], ROI_TYPE.POLYLINE),
        points([(5, 80), (40, 85), (70, 80)], ROI_TYPE.FREELINE),
        points([(5, 5)], ROI_TYPE.POINT),
        box(left=40, right=40),
        box(left=60, right=80, subtype=ROI_SUBTYPE.IMAGE, version=221),
        points(SQUARE[:2], ROI_TYPE.POLYGON),
        box(),
        points(SQUARE, ROI_TYPE.POLYGON).tobytes()[:70],
        b"Iout" + b"\0" * 10,
    ]
    labels, (said,), notes = import_all(rois, tmp_path)
    assert len(np.unique(labels)) == 2
    assert "is damaged" in " ".join(notes)
    assert said == (
        '"a_rois.zip": 1 of 11 shapes became cells: 1 lies outside, 1 repeats another, 2 have no area, '
        "2 are damaged, 2 are lines, 1 is a point, 1 is a picture."
    )


def test_what_roifile_logs_is_not_printed(tmp_path):
    import_all([box(), box(roitype=ROI_TYPE.NOROI)], tmp_path)
    assert logging.getLogger("roifile").handlers  # without one Python prints warnings itself


def test_what_others_hide_is_counted(tmp_path):
    halves = [box(right=20), box(left=20)]
    labels, (said,), _ = import_all([*halves, box()], tmp_path)
    assert said == '"a_rois.zip": 2 of 3 shapes became cells: 1 is hidden under others.'
    assert len(np.unique(labels)) == 3


def test_regions_beyond_the_edge_are_cut_and_noted(tmp_path):
    labels, lost, (note,) = import_all([box(left=-5), box(left=110, right=140)], tmp_path)
    assert not lost
    assert "2 shapes reach beyond the image" in note
    assert (labels == 1).sum() == 30 * 30
    assert (labels == 2).sum() == 10 * 30


def test_nothing_usable_is_an_error(tmp_path):
    with pytest.raises(InputError, match="0 of 2 shapes became cells: 1 lies outside, 1 is a point"):
        import_all([box(left=400, right=420), points([(5, 5)], ROI_TYPE.POINT)], tmp_path)


def test_texts_are_no_cells(tmp_path):
    roi = box(version=228, subtype=ROI_SUBTYPE.TEXT, text="note", text_name="Arial")
    with pytest.raises(InputError, match="1 is a text"):
        import_all([roi], tmp_path)


@pytest.mark.parametrize("junk", ["__MACOSX/set/._a.roi", ".DS_Store", "Thumbs.db", "set/._a.roi"])
def test_junk_in_a_zip_is_no_data(junk, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("set/a.roi", box().tobytes())
        archive.writestr(junk, b"junk")
    said = []
    found = import_annotations(tmp_path / "a.zip", SHAPE, on_partial=said.append, on_note=said.append)
    assert (found["a"] > 0).sum() == 600
    assert not said


def test_an_entry_that_cannot_be_unpacked_does_not_take_the_others_with_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.roi", box().tobytes())
        archive.writestr("bad.roi", box(left=40, right=50).tobytes())
        place = archive.getinfo("bad.roi").header_offset + 40
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[place : place + 8] = b"\xff" * 8
    (tmp_path / "a.zip").write_bytes(bytes(content))
    said = []
    labels = import_annotations(tmp_path / "a.zip", SHAPE, on_partial=said.append)["a"]
    assert (labels > 0).sum() == 600
    assert said == ['"a.zip": 1 of 2 shapes became cells: 1 is damaged.']


def frame(axes):
    sizes = {"T": 4, "Z": 3, "C": 2, "Y": 60, "X": 50}
    return Frame.of(CellImage(np.zeros([sizes[axis] for axis in axes], np.uint8), axes))


@pytest.mark.parametrize(
    ("axes", "position", "plane"),
    [
        ("CYX", {"position": 2}, ()),
        ("CYX", {"c_position": 2}, ()),
        ("CYX", {"z_position": 2}, ()),  # a stack whose planes were taken for channels
        ("ZYX", {"position": 2}, (1,)),
        ("ZYX", {"t_position": 3}, (2,)),
        ("TYX", {"position": 4}, (3,)),
        ("ZCYX", {"position": 4}, (1,)),  # channels first: c 2, z 2
        ("TZCYX", {"position": 1 + 1 + 2 * (2 + 3 * 3)}, (3, 2)),
        ("TZCYX", {"c_position": 2, "z_position": 3, "t_position": 4}, (3, 2)),
        ("ZTYX", {"z_position": 3, "t_position": 4}, (2, 3)),
        ("TZYX", {"z_position": 2}, (0, 1)),
        ("YX", {"c_position": 2}, ()),
        ("YX", {"position": 1}, ()),
    ],
)
def test_positions_find_their_plane(axes, position, plane, tmp_path):
    roiwrite(tmp_path / "a.roi", box(**position))
    labels = import_annotations(tmp_path / "a.roi", frame(axes))["a"]
    assert labels[plane].sum() == labels.sum() == 600
    assert labels[plane].ndim == 2


@pytest.mark.parametrize(
    ("axes", "position"),
    [
        ("YX", {"position": 2}),
        ("CYX", {"position": 3}),
        ("CYX", {"c_position": 3}),
        ("ZYX", {"position": 4}),
        ("TZCYX", {"position": 25}),
        ("TZYX", {"z_position": 4, "t_position": 1}),
        ("ZYX", {"z_position": 2, "t_position": 2}),
    ],
)
def test_planes_that_are_not_there_are_said(axes, position, tmp_path):
    labels, (said,), _ = import_all([box(**position), box(left=40, right=45)], tmp_path, frame(axes))
    assert "1 of 2 shapes became cells: 1 lies on a plane that the image does not have" in said
    assert labels.sum() == 2 * 150 or labels.sum() == 150


def test_regions_of_no_plane_lie_on_the_first_and_that_is_said(tmp_path):
    labels, lost, (note,) = import_all([box()], tmp_path, frame("ZYX"))
    assert labels[0].sum() == labels.sum() == 600
    assert not lost
    assert note == '"a_rois.zip": 1 shape names no plane and lies on the first one.'


def test_the_options_of_sub_pixels_are_those_that_imagej_sets():
    assert points(SQUARE + np.float32(0.5), ROI_TYPE.FREEHAND).options & ROI_OPTIONS.SUB_PIXEL_RESOLUTION
