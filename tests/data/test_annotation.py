"""What partial annotations vouch for, and the training set on disk."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_cupre.data.annotation import (
    as_labels,
    cells_with_rim,
    check_shots,
    default_rim,
    make_shot,
    median_diameter,
    region_mask,
    scattered_labels,
    shots_from_image,
)
from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.io.shot_store import load_shots, save_shots


def disk(shape, centre, radius):
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (80, 100), dtype=np.uint8)


@pytest.fixture
def labels():
    labels = np.zeros((80, 100), np.uint16)
    labels[disk(labels.shape, (20, 20), 10)] = 3
    labels[disk(labels.shape, (60, 70), 10)] = 7
    return labels


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint64, np.int64, np.float16, np.float32, np.float64, bool]
)
def test_labels_of_any_type(dtype):
    values = np.array([[0, 1], [1, 0]] if dtype is bool else [[0, 1], [100, 0]], dtype)
    result = as_labels(values)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, values)


def test_huge_values_are_renumbered():
    huge = np.array([[0, 2**40], [2**40 + 1, 5]], np.uint64)
    np.testing.assert_array_equal(as_labels(huge), [[0, 2], [3, 1]])
    assert as_labels(huge[:, 1:]).min() == 1  # without background no cell becomes background


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([[-1, 0]], "negative"), ([[0.5, 1]], "non-integer"), ([[np.nan, 1]], "non-integer"), ([["a"]], "type")],
)
def test_unusable_labels(values, sentence):
    with pytest.raises(InputError, match=sentence):
        as_labels(np.array(values), "dish")


def test_diameter_is_that_of_disks(labels):
    assert median_diameter(labels) == pytest.approx(20, rel=0.05)
    assert np.isnan(median_diameter(np.zeros((4, 4), np.int32)))
    assert median_diameter(np.array([[0, 2**30]], np.int32)) == pytest.approx(2 / np.sqrt(np.pi))


def test_without_regions_cells_and_rims_are_known(image, labels):
    shot = make_shot(image, labels)
    assert shot.labels.dtype == np.int32
    assert shot.known.dtype == bool
    assert shot.image.shape == (80, 100, 3)
    rim = default_rim(shot.labels)
    assert rim == pytest.approx(4, abs=0.2)
    expected = disk(image.shape, (20, 20), 10 + rim) | disk(image.shape, (60, 70), 10 + rim)
    assert (shot.known != expected).sum() < 40  # rim is measured from pixel centres, not from the circle
    assert shot.known[20, 20 + 13]
    assert not shot.known[20, 20 + 16]


def test_rim_stays_within_its_bounds():
    small, large = np.zeros((99, 99), np.int32), np.ones((99, 99), np.int32)
    small[5:7, 5:7] = 1
    assert default_rim(small) == 2
    assert default_rim(large) == 6
    assert default_rim(np.zeros((9, 9), np.int32)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 5), (60, 70)])
@pytest.mark.parametrize("width", [0.5, 1.0, 2.0, 2.83, 5.0, 6.0, 11.7, 40.0])
def test_a_rim_reaches_every_pixel_within_its_width(shape, width):
    cells = np.random.default_rng(3).random(shape) < 0.01
    cells[0, 0] = True
    expected = ndimage.distance_transform_edt(~cells) <= width
    np.testing.assert_array_equal(cells_with_rim(cells, width), expected)


def test_rim_can_be_set_to_nothing(image, labels):
    np.testing.assert_array_equal(make_shot(image, labels, rim=0).known, labels > 0)


def test_regions_are_known_and_cut_cells_stay_known_outside(image, labels):
    shot = make_shot(image, labels, regions=[np.array([(0, 0), (0, 20), (40, 20), (40, 0)])])
    assert shot.known[:41, :21].all()
    assert shot.known[20, 30]  # the cut cell's own pixels
    assert not shot.known[20, 32]  # but nothing around it outside the region
    assert shot.known[60, 82]
    assert not shot.known[60, 86]


def test_painted_background_is_known(image, labels):
    background = np.zeros(labels.shape, bool)
    background[:, 95:] = True
    background[20, 20] = True  # a slip over a cell changes nothing
    shot = make_shot(image, labels, background=background)
    assert shot.known[:, 95:].all()
    assert shot.labels[20, 20] == 3


def test_complete_annotation_is_known_everywhere(image, labels):
    assert make_shot(image, labels, complete=True).known.all()


@given(top=st.integers(0, 20), left=st.integers(0, 20), height=st.integers(1, 20), width=st.integers(1, 20))
def test_rectangles_cover_their_pixels(top, left, height, width):
    corners = np.array([(top, left), (top + height - 1, left + width - 1)], float)
    expected = np.zeros((50, 50), bool)
    expected[top : top + height, left : left + width] = True
    if height > 1 and width > 1:
        np.testing.assert_array_equal(region_mask([corners], (50, 50)), expected)
    # Drawn around the pixels rather than through their centres, it covers the same.
    np.testing.assert_array_equal(region_mask([corners + [(-0.4, -0.4), (0.4, 0.4)]], (50, 50)), expected)


def test_regions_may_hang_over_the_edge():
    mask = region_mask([np.array([(-5, -5), (-5, 3), (3, 3), (3, -5)])], (10, 10))
    assert mask[:4, :4].all()
    assert mask.sum() == 16


@pytest.mark.parametrize(
    ("region", "sentence"),
    [
        ([(200, 200), (210, 210)], "covers no pixel"),
        ([(1, 1)], "not a rectangle or polygon"),
        ([(1, 1), (np.nan, 4), (5, 5)], "not a rectangle or polygon"),
        ([(1, 1, 1), (4, 4, 4), (5, 5, 5)], "not a rectangle or polygon"),
    ],
)
def test_unusable_regions(image, labels, region, sentence):
    with pytest.raises(InputError, match=f"Region 1.*dish.*{sentence}"):
        make_shot(image, labels, regions=[np.array(region, float)], name="dish")


def test_different_sizes_are_both_named(image):
    with pytest.raises(InputError, match=r"\(80, 100\).*\(80, 99\)"):
        make_shot(image, np.zeros((80, 99), int))
    with pytest.raises(InputError, match=r"\(3, 3\).*\(80, 100\)"):
        make_shot(image, np.zeros((80, 100), int), background=np.zeros((3, 3), bool))


def test_every_annotated_plane_becomes_a_shot(labels):
    data = np.random.default_rng(0).random((4, 2, 80, 100))
    stack = np.zeros((4, 80, 100), int)
    stack[1] = labels
    image = CellImage(data, "ZCYX", name="film")
    square = [(2, 10, 10), (2, 10, 30), (2, 30, 30), (2, 30, 10)]
    shots = list(shots_from_image(image, stack, regions=[np.array(square)]))
    assert [shot.name for shot in shots] == ["film (Z=1)", "film (Z=2)"]
    assert shots[0].labels.any()
    assert not shots[1].labels.any()
    assert shots[1].known.sum() == 21 * 21
    assert len(list(shots_from_image(image, stack, complete=True))) == 4


def test_planes_and_labels_must_fit(labels):
    image = CellImage(np.zeros((4, 80, 100)), "ZYX", name="film")
    with pytest.raises(InputError, match=r"\(4, 80, 100\).*\(80, 100\)"):
        list(shots_from_image(image, labels))
    with pytest.raises(InputError, match="no plane"):
        list(shots_from_image(image, np.zeros((4, 80, 100), int), regions=[np.zeros((3, 3)) + 9]))
    single = CellImage(np.random.default_rng(0).random((1, 80, 100)), "ZYX")
    corners = np.array([(0, 0), (5, 5)])
    assert len(list(shots_from_image(single, labels, regions=[corners]))) == 1


def test_a_cell_that_a_cut_divides_is_unknown_on_both_sides():
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 2:6], labels[8:12, 8:14], labels[14:18, 20:26] = 1, 2, 3
    whole = Shot(np.zeros((20, 30, 3), np.float32), labels, np.ones((20, 30), bool), "a")
    for axis, at, ids in ((1, 10, ([1], [3])), (0, 7, ([1], [2, 3]))):
        halves = whole.halves(axis, at)
        assert tuple(np.unique(half.labels[half.labels > 0]).tolist() for half in halves) == ids
        assert sum(half.labels.size for half in halves) == labels.size
    before, after = whole.halves(1, 10)
    assert not before.known[8:12, 8:10].any()
    assert not after.known[8:12, :4].any()
    assert before.known.sum() + after.known.sum() == labels.size - 24
    assert whole.labels.max() == 3
    assert whole.known.all()


def test_a_part_loses_exactly_the_cells_that_have_pixels_elsewhere():
    labels = np.kron(np.random.default_rng(5).integers(0, 40, (12, 15)), np.ones((3, 3))).astype(np.int32)
    labels[labels == 7] = 2**30  # as large as numbers can be
    shot = Shot(np.zeros((*labels.shape, 3), np.float32), labels, np.ones(labels.shape, bool))
    part = (slice(4, 20), slice(10, 31))
    beyond = np.ones(labels.shape, bool)
    beyond[part] = False
    divided = np.isin(labels[part], np.setdiff1d(labels[beyond], [0]))
    cut = shot.cut(*part)
    np.testing.assert_array_equal(cut.labels, np.where(divided, 0, labels[part]))
    np.testing.assert_array_equal(cut.known, ~divided)


def test_training_needs_one_cell(image, labels):
    empty = make_shot(image, np.zeros_like(labels))
    for shots in ([], [empty]):
        with pytest.raises(InputError):
            check_shots(shots)
    one = make_shot(image, np.where(labels == 3, labels, 0))
    check_shots([empty, one])


def test_two_cells_of_one_number_are_noticed(labels):
    assert scattered_labels(labels) == []
    joined = np.where(labels > 0, 40000, 0).astype(np.int32)
    assert scattered_labels(joined) == [40000]


def test_a_crumb_of_the_brush_is_no_second_cell(labels):
    labels[79, 0] = 3
    assert scattered_labels(labels) == []


def test_training_sets_come_back_whole(tmp_path, image, labels):
    colour = np.random.default_rng(1).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    shots = [make_shot(image, labels, name="a"), make_shot(colour, labels, complete=True, name="b")]
    save_shots(tmp_path / "set", shots)
    save_shots(tmp_path / "set", shots[::-1])
    loaded = load_shots(tmp_path / "set")
    assert [shot.name for shot in loaded] == ["b", "a"]
    for before, after in zip(shots[::-1], loaded):
        for part in ("image", "labels", "known"):
            np.testing.assert_array_equal(getattr(before, part), getattr(after, part))
            assert getattr(before, part).dtype == getattr(after, part).dtype
    save_shots(tmp_path / "set", shots[:1])
    assert len(list((tmp_path / "set").iterdir())) == 2


def test_a_full_disk_keeps_the_old_training_set(tmp_path, image, labels, monkeypatch):
    shots = [make_shot(image, labels, name="a")]
    save_shots(tmp_path, shots)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(EnvironmentFault, match="disk is full"):
        save_shots(tmp_path, [make_shot(image, labels, complete=True)])
    assert load_shots(tmp_path)[0].name == "a"


def test_damaged_training_sets_are_named(tmp_path, image, labels):
    with pytest.raises(InputError, match="no training set"):
        load_shots(tmp_path)
    save_shots(tmp_path, [make_shot(image, labels)])
    index = json.loads((tmp_path / "shots.json").read_text())
    file = tmp_path / index["shots"][0]["file"]
    whole = file.read_bytes()
    for content in (whole[:200], b"", b"junk"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=file.name):
            load_shots(tmp_path)
    np.savez(file, image=np.array([{}], object), labels=labels, known=labels > 0)
    with pytest.raises(InputError, match=file.name):
        load_shots(tmp_path)
    (tmp_path / "shots.json").write_text(json.dumps({**index, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        load_shots(tmp_path)
    (tmp_path / "shots.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_shots(tmp_path)
