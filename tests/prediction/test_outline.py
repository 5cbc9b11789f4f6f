"""Outlines of what a person points at: the right cell, at the right place, for any prompt."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from outline_oracle import SeeingDetector, iou
from predict_oracle import disc_image, disc_labels, scattered_discs

import napari_cupre as cupre
from napari_cupre.data.image import CellImage, Stretch
from napari_cupre.errors import InputError
from napari_cupre.model.checkpoint import Model, new_model
from napari_cupre.prediction.featuremaps import FeatureMaps
from napari_cupre.prediction.outliner import Outliner
from napari_cupre.prediction.reader import PlaneReader
from napari_cupre.prediction.tiles import Window

SHAPE = (640, 900)


@pytest.fixture(scope="module")
def discs() -> np.ndarray:
    """Centre y, x and radius; small ones and large ones, some across the borders of windows."""
    return np.concatenate(
        [scattered_discs(1, SHAPE, (7, 30), 40, 4.0), [[3.0, 450.0, 12.0], [636.0, 898.0, 14.0]]]
    )


@pytest.fixture(scope="module")
def labels(discs: np.ndarray) -> np.ndarray:
    return disc_labels(discs, SHAPE)


@pytest.fixture(scope="module")
def image(discs: np.ndarray) -> np.ndarray:
    return np.repeat((disc_labels(discs, SHAPE) > 0)[..., None], 3, axis=2).astype(np.float32)


@pytest.fixture
def detector() -> SeeingDetector:
    return SeeingDetector()


def true_boxes(discs: np.ndarray, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    y, x, radius = discs.T
    boxes = np.stack([x - radius, y - radius, x + radius, y + radius], axis=1)
    return np.clip(boxes, 0, [shape[1], shape[0]] * 2)


def clicks(discs: np.ndarray) -> np.ndarray:
    inside = discs[:, :2] + 0.2 * discs[:, 2:]
    return np.clip(inside, 0, np.array(SHAPE) - 1)


def whole(outline, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    x0, y0, x1, y1 = outline.box
    mask[y0:y1, x0:x1] = outline.mask
    return mask


@pytest.mark.parametrize("ask", ["boxes", "points"])
def test_each_prompt_gets_its_cell_in_order(ask: str, detector, image, labels, discs) -> None:
    outliner = Outliner(detector, image, diameter=30)
    order = np.random.default_rng(0).permutation(len(discs))
    given = true_boxes(discs) if ask == "boxes" else clicks(discs)
    found = getattr(outliner, ask)(given[order])
    assert len(found) == len(discs)
    for outline, number in zip(found, order):
        assert iou(whole(outline), labels == number + 1) > 0.85, discs[number]
        x0, y0, x1, y1 = outline.box
        assert outline.mask.shape == (y1 - y0, x1 - x0)
        # the box is that of the mask
        assert outline.mask.any(axis=1)[[0, -1]].all()
        assert outline.mask.any(axis=0)[[0, -1]].all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_image_has_flipped_outlines(axis: int, detector, image, discs) -> None:
    boxes = true_boxes(discs)
    flipped = boxes.copy()
    low, high = (1, 3) if axis == 0 else (0, 2)
    flipped[:, [low, high]] = SHAPE[axis] - boxes[:, [high, low]]
    there = Outliner(detector, image).boxes(boxes)
    back = Outliner(detector, np.flip(image, axis).copy()).boxes(flipped)
    for one, other in zip(there, back):
        assert iou(whole(one), np.flip(whole(other), axis)) > 0.93


def test_loose_boxes_give_whole_cells(detector, image, labels, discs) -> None:
    boxes = true_boxes(discs)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], (1, 2))
    loose = boxes + np.random.default_rng(0).choice([-0.1, 0.1], boxes.shape) * sides
    found = Outliner(detector, image).boxes(np.clip(loose, 0, [SHAPE[1], SHAPE[0]] * 2))
    assert np.mean([iou(whole(o), labels == i + 1) for i, o in enumerate(found)]) > 0.85


@pytest.mark.parametrize("ask", ["boxes", "points"])
def test_an_outline_that_sharpening_would_lose_stays(ask: str, detector, image, discs, monkeypatch) -> None:
    from napari_cupre.prediction import outliner

    monkeypatch.setattr(outliner, "finer_mask", lambda *given: np.zeros((56, 56)))
    given = true_boxes(discs[:4]) if ask == "boxes" else clicks(discs[:4])
    assert all(outline.area for outline in getattr(Outliner(detector, image, diameter=30), ask)(given))


def test_an_outline_depends_on_nothing_that_was_asked_before(image, discs) -> None:
    model = new_model("tiny")
    boxes, points = true_boxes(discs[:6]), clicks(discs[:3])
    used = Outliner(model, image, diameter=30, memory=1 << 22)
    used.points(points[1:])
    used.boxes(boxes[3:])
    fresh = Outliner(model, image, diameter=30)
    for one, other in zip(
        used.boxes(boxes[:3]) + used.points(points[:3]), fresh.boxes(boxes[:3]) + fresh.points(points[:3])
    ):
        assert one.box == other.box
        assert (one.mask == other.mask).all()


def test_features_are_computed_once_and_no_more_are_kept_than_fit(detector, image, discs) -> None:
    outliner = Outliner(detector, image, diameter=30)
    seen = list(outliner.prepare())
    assert seen[-1][0] == seen[-1][1] == len(detector.pieces)
    usual = discs[:-2][np.abs(discs[:-2, 2] - 15) < 4]
    assert len(usual) > 3
    outliner.boxes(true_boxes(usual))
    assert len(detector.pieces) == seen[-1][1]
    small = FeatureMaps(detector, lambda region, step: image[region.slices], SHAPE, 30, memory=1)
    for place in (0, 639):
        small.window(small.key(small.scale(30), place, place))
    assert not small.has(small.key(small.scale(30), 0, 0))
    assert small.has(small.key(small.scale(30), 639, 639))


def test_a_region_is_prepared_from_its_middle(detector, image) -> None:
    outliner = Outliner(detector, image, diameter=6)
    assert list(outliner.prepare(Window(100, 100, 110, 110)))[-1] == (1, 1)
    assert list(outliner.prepare(Window(700, 100, 710, 110))) == []


def test_readings_rise_in_size_and_hold_the_click(detector) -> None:
    rows, columns = np.mgrid[:200, :200]
    from_middle = np.hypot(rows - 100, columns - 100)
    image = np.repeat((from_middle < 20)[..., None], 3, axis=2).astype(np.float32)
    outliner = Outliner(detector, image, diameter=30)
    readings = outliner.readings((100, 104))
    areas = [outline.area for outline in readings.outlines]
    assert areas == sorted(areas)
    best = readings.outlines[readings.best]
    assert iou(whole(best, (200, 200)), from_middle < 20) > 0.85
    assert best.box == outliner.points([(100, 104)])[0].box


def test_a_click_beside_everything_finds_nothing(detector, image, labels) -> None:
    rows, columns = np.nonzero(labels == 0)
    outline = Outliner(detector, image, diameter=30).points([(rows[0] + 0.5, columns[0] + 0.5)])[0]
    assert not outline.mask.any()
    cells = Outliner(detector, image, diameter=30).instances([outline])
    assert len(cells) == 1
    assert not cells.labels.any()


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    [
        ([[10, 10, 10, 20]], "Box 1 .* has no area"),
        ([[1, 1, 5, 5], [np.nan, 10, 20, 20]], "Box 2 .* not finite"),
        ([[0, 0, np.inf, 20]], "not finite"),
        ([[1000, 10, 1020, 20]], "outside the image of 900 x 640"),
        ([[-30, -30, -10, -10]], "outside the image"),
        ([[10, 10, 20]], "4 numbers"),
        ([10, 10, 20, 20], "one row of 4 numbers"),
        ([["a", 10, 20, 20]], "takes 4 numbers"),
        ([[1, 2, 3, 4], [1, 2]], "takes 4 numbers"),
        (None, "either boxes"),
    ],
)
def test_an_impossible_box_is_one_sentence(boxes, sentence: str, image) -> None:
    with pytest.raises(InputError, match=sentence) as raised:
        cupre.outline(new_model("tiny"), image, boxes=boxes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([[np.nan, 3]], "Point 1 .* not finite"),
        ([[5, 5], [641, 3]], "Point 2 .* outside the image of 640 rows"),
        ([[-2, 3]], "outside"),
        ([[1, 2, 3]], "2 numbers"),
        ([7], "one row of 2 numbers"),
    ],
)
def test_an_impossible_point_is_one_sentence(points, sentence: str, image) -> None:
    with pytest.raises(InputError, match=sentence):
        cupre.outline(new_model("tiny"), image, points=points)


def test_both_kinds_at_once_and_bad_diameters_are_refused(image) -> None:
    model = new_model("tiny")
    with pytest.raises(InputError, match="either boxes"):
        cupre.outline(model, image, boxes=[[1, 1, 5, 5]], points=[[2, 2]])
    for diameter in (0, -1, np.nan, np.inf):
        with pytest.raises(InputError, match="diameter"):
            cupre.outline(model, image, points=[[2, 2]], diameter=diameter)


def test_corners_in_any_order_and_boxes_over_the_border(detector, image, labels, discs) -> None:
    outliner = Outliner(detector, image)
    box = true_boxes(discs[:1])[0]
    there = outliner.boxes([box])[0]
    assert outliner.boxes([box[[2, 3, 0, 1]]])[0].box == there.box
    (across,) = outliner.boxes([[438.0, -9.0, 462.0, 15.0]])
    assert iou(whole(across), labels == len(discs) - 1) > 0.85


@pytest.mark.parametrize("given", [[], np.zeros((0, 4)), np.zeros((0, 2)), ()])
def test_no_prompt_is_no_outline(given, image) -> None:
    model = new_model("tiny")
    for kind in ("boxes", "points"):
        cells = cupre.outline(model, image, diameter=20, **{kind: given})
        assert (len(cells), len(cells.masks), cells.boxes.shape) == (0, 0, (0, 4))
        assert cells.labels.shape == SHAPE


@pytest.mark.parametrize(
    "box",
    [[5, 5, 6, 6], [0.2, 0.2, 0.4, 0.4], [0, 0, 900, 640], [0, 300, 900, 302], [899.9, 639.9, 2000, 2000]],
)
def test_any_size_of_box_is_answered(box, image) -> None:
    cells = cupre.outline(new_model("tiny"), image, boxes=[box])
    assert len(cells) == 1
    x0, y0, x1, y1 = cells.boxes[0].astype(int)
    assert cells.masks[0].shape == (y1 - y0, x1 - x0)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1), np.uint8),
        np.zeros((40, 50, 3), np.uint8),
        np.zeros((40, 50, 4), np.uint8),
        np.zeros((40, 50, 2), np.float64),
        np.ones((40, 50), bool),
        np.arange(2000, dtype=np.int32).reshape(40, 50),
    ],
)
def test_images_of_any_kind(pixels: np.ndarray) -> None:
    cells = cupre.outline(new_model("tiny"), pixels, points=[[0.5, 0.5]], diameter=20)
    assert cells.labels.shape == pixels.shape[:2]
    assert cells.labels.dtype == np.int32


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((5, 4, 3, 3)), "two dimensions"),
        (np.zeros((40, 50, 5)), "5 channels"),
        (CellImage.from_array(np.zeros((3, 40, 50)), "ZYX"), "3 planes"),
    ],
)
def test_what_is_no_plane_is_refused(pixels, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        cupre.outline(new_model("tiny"), pixels, points=[[1, 1]])


def test_of_a_slide_only_the_surroundings_are_read(detector, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def block(block_info=None) -> np.ndarray:
        (y0, y1), (x0, x1) = block_info[None]["array-location"]
        read.append((y0, x0))
        rows, columns = np.ogrid[y0:y1, x0:x1]
        return ((((rows % 200) - 100) ** 2 + ((columns % 200) - 100) ** 2) < 40**2).astype(np.uint8) * 255

    slide = da.map_blocks(block, chunks=da.core.normalize_chunks(1000, (40_000, 50_000)), dtype=np.uint8)
    image = CellImage.from_array(slide, "YX")
    monkeypatch.setattr(CellImage, "stretch", lambda *_: Stretch((0.0,), (255.0,)))
    outliner = Outliner(detector, PlaneReader(image, {}), diameter=80)
    cells = outliner.instances(outliner.boxes([[30_060, 20_060, 30_140, 20_140], [60, 60, 140, 140]]))
    assert len(set(read)) <= 8
    assert cells.labels.shape == (40_000, 50_000)
    part = np.asarray(cells.labels[20_000:20_200, 30_000:30_200])
    rows, columns = np.ogrid[:200, :200]
    assert iou(part == 1, (rows - 100) ** 2 + (columns - 100) ** 2 < 40**2) > 0.93
    assert set(np.unique(np.asarray(cells.labels[:200, :200]))) == {0, 2}


def test_a_box_larger_than_a_window_is_looked_at_from_afar(detector) -> None:
    rows, columns = np.ogrid[:3000, :3000]
    disc = (rows - 1500) ** 2 + (columns - 1500) ** 2 < 1200**2
    image = np.broadcast_to(disc[..., None], (3000, 3000, 3)).astype(np.float32)
    (outline,) = Outliner(detector, image).boxes([[300, 300, 2700, 2700]])
    assert iou(whole(outline, (3000, 3000)), disc) > 0.95
    assert max(detector.pieces[0]) <= 1500


def test_masks_of_both_kinds_are_arrays_inside_their_boxes(detector, image, discs) -> None:
    outliner = Outliner(detector, image)
    cells = outliner.instances(outliner.boxes(true_boxes(discs)))
    assert isinstance(cells.masks, list)
    for number, (box, mask) in enumerate(zip(cells.boxes.astype(int), cells.masks)):
        assert mask.dtype == bool
        assert (cells.masks.full(number)[box[1] : box[3], box[0] : box[2]] == mask).all()
        assert cells.masks.full(number).sum() == mask.sum()
    from pycocotools import mask as coco_mask

    assert [int(coco_mask.area(rle)) for rle in cells.masks.rle()] == [int(m.sum()) for m in cells.masks]
    predicted = cupre.predict(_model_that_sees(discs), image, diameter=30)
    for number, mask in enumerate(predicted.masks):
        assert mask.sum() == predicted.masks.full(number).sum()
        assert (predicted.masks[number] == mask).all()
    assert len(list(predicted.masks)) == len(predicted) > 0


def _model_that_sees(discs: np.ndarray) -> Model:
    from predict_oracle import seeing_model

    assert disc_image(discs, SHAPE).shape[:2] == SHAPE
    return seeing_model()


def test_where_outlines_overlap_the_surer_one_stays(detector, image) -> None:
    from dataclasses import replace

    outliner = Outliner(detector, image)
    (one,) = outliner.boxes([[10, 10, 40, 40]])
    square = np.ones((20, 20), bool)
    outlines = [
        replace(one, box=(10, 10, 30, 30), mask=square, score=0.9),
        replace(one, box=(20, 20, 40, 40), mask=square, score=0.4),
    ]
    labels = outliner.instances(outlines).labels
    assert labels[25, 25] == 1
    assert labels[35, 35] == 2
