"""COCO AP equals pycocotools', at any number of detections."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from export_fakes import FakeMasks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from napari_cupre.data.rle import encode_labels
from napari_cupre.errors import InputError
from napari_cupre.evaluation.coco_ap import LIVECELL, CocoSettings, coco_evaluate
from napari_cupre.evaluation.coco_documents import results_for, truth_document, unmatched_images


def field(seed: int, cells: int, size: int = 160) -> np.ndarray:
    """A label image of discs of very different sizes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number in range(1, cells + 1):
        radius, cy, cx = rng.uniform(2, 24), *rng.uniform(0, size, 2)
        labels[((y - cy) ** 2 + (x - cx) ** 2 < radius**2) & (labels == 0)] = number
    return labels


@dataclass
class FakeInstances:
    scores: np.ndarray
    classes: np.ndarray
    masks: FakeMasks


def shifted(labels: np.ndarray, seed: int) -> FakeInstances:
    """A prediction: the truth moved by a pixel or two, with random scores, and some cells invented."""
    rng = np.random.default_rng(seed)
    _, rles = encode_labels(np.roll(labels, rng.integers(0, 3, 2), (0, 1)))
    rles += encode_labels(field(seed + 100, 6))[1]
    scores = rng.permutation(len(rles)) / len(rles)
    return FakeInstances(scores, np.ones(len(rles), int), FakeMasks(rles))


def reference(truth, predictions, kind, settings):
    document = truth_document(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = document
        true.createIndex()
        evaluation = COCOeval(true, true.loadRes(results_for(document, predictions, kind)), kind)
        small, medium = settings.areas
        evaluation.params.areaRng = [[0, 1e10], [0, small], [small, medium], [medium, 1e10]]
        evaluation.params.areaRngLbl = ["all", "small", "medium", "large"]
        evaluation.params.maxDets = list(settings.max_detections)
        evaluation.params.useCats = int(settings.use_categories)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(table):
        return table[table > -1].mean() if (table > -1).any() else np.nan

    figures = [mean(precision[..., 0, -1]), mean(precision[0, :, :, 0, -1]), mean(precision[5, :, :, 0, -1])]
    figures += [mean(precision[..., area, -1]) for area in (1, 2, 3)]
    figures += [mean(recall[:, :, 0, i]) for i in range(len(settings.max_detections))]
    return figures + [mean(recall[:, :, area, -1]) for area in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("settings", [CocoSettings(), LIVECELL, CocoSettings((5, 20), (100, 400))])
def test_equal_to_pycocotools(kind, settings):
    truth = [field(seed, 25) for seed in range(4)] + [np.zeros((160, 160), np.int32)]
    predictions = [shifted(labels, seed) for seed, labels in enumerate(truth)]
    report = coco_evaluate(truth, predictions, kind=kind, settings=settings)
    ours = [value for _, value in report._figures()]
    assert np.allclose(ours, reference(truth, predictions, kind, settings), atol=1e-6, equal_nan=True)
    assert 0.1 < report.ap < 0.9


def test_several_categories_and_crowds_equal_pycocotools():
    document = truth_document([field(seed, 25) for seed in range(3)])
    for number, annotation in enumerate(document["annotations"]):
        annotation["category_id"] = 1 + number % 2
        annotation["iscrowd"] = int(number % 7 == 0)
    document["categories"] = [{"id": 1, "name": "round"}, {"id": 2, "name": "flat"}]
    predictions = [shifted(field(seed, 25), seed) for seed in range(3)]
    for settings in (CocoSettings(), LIVECELL):
        ours = [value for _, value in coco_evaluate(document, predictions, settings=settings)._figures()]
        expected = reference(document, predictions, "segm", settings)
        assert np.allclose(ours, expected, atol=1e-6, equal_nan=True)


def grid(side: int = 240, step: int = 6) -> np.ndarray:
    """1,600 squares of 4 x 4 px."""
    y, x = np.mgrid[:side, :side]
    inside = (y % step < 4) & (x % step < 4)
    return np.where(inside, y // step * (side // step) + x // step + 1, 0).astype(np.int32)


def test_figures_are_read_at_the_largest_number_of_detections():
    report = coco_evaluate([grid()], [grid()], settings=LIVECELL)
    assert report.ap == report.ap50 == report.recall[2000] == 1
    assert report.recall[100] == pytest.approx(100 / 1600)
    assert report.recall[500] == pytest.approx(500 / 1600)
    assert report.ap_by_area["small"] == 1
    assert np.isnan(report.ap_by_area["large"])


def test_documents_are_matched_by_file_stem(tmp_path):
    truth = truth_document([field(1, 10), field(2, 10)])
    truth["images"] = [{**image, "file_name": f"plate/{n}.tif"} for n, image in zip("ab", truth["images"])]
    predicted = {
        "images": [{"id": 70, "file_name": "b.png"}, {"id": 71, "file_name": "a.png"}],
        "annotations": [
            {"image_id": id_, "category_id": 1, "segmentation": rle, "score": 0.5}
            for id_, seed in ((70, 2), (71, 1))
            for rle in encode_labels(field(seed, 10))[1]
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "predictions.json").write_text(json.dumps(predicted))
    assert coco_evaluate(tmp_path / "truth.json", tmp_path / "predictions.json").ap == 1
    assert unmatched_images(truth, predicted) == ([], [])
    predicted["images"][0]["file_name"] = "c.png"  # of an image that the truth does not list
    assert 0 < coco_evaluate(truth, predicted).ap < 1
    assert unmatched_images(truth, predicted) == (["c"], ["b"])
    predicted["images"][1]["file_name"] = "d.png"
    with pytest.raises(InputError, match='"c", none of which'):
        coco_evaluate(truth, predicted)


def test_annotations_by_id_as_in_livecell():
    truth = truth_document([field(1, 10), field(2, 10)])
    by_id = {**truth, "annotations": {str(entry["id"]): entry for entry in truth["annotations"]}}
    predictions = [field(1, 10), field(2, 8)]
    assert coco_evaluate(by_id, predictions).as_dict() == coco_evaluate(truth, predictions).as_dict()


def test_polygons_without_area_or_box_are_completed():
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    truth = {
        "images": [{"id": 5, "height": 40, "width": 40}],
        "annotations": [{"image_id": 5, "segmentation": square}],
    }
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20] = 1
    assert coco_evaluate(truth, [labels]).ap == 1
    assert "id" not in truth["annotations"][0]


def test_outlines_are_read_as_the_reader_of_training_sets_reads_them():
    square, far = [[10, 10], [20, 10], [20, 20], [10, 20]], [30, 30, 1e12, 30, 1e12, 1e12, 30, 1e12]
    truth = {
        "images": [{"id": 5, "height": 40, "width": 40}],
        "annotations": [{"image_id": 5, "segmentation": shape} for shape in ([square], far)],
    }
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20], labels[30:, 30:] = 1, 2
    assert coco_evaluate(truth, [labels]).ap == 1


def test_nothing_predicted_scores_zero():
    report = coco_evaluate([field(1, 10)], [np.zeros((160, 160), np.int32)])
    assert report.ap == 0
    assert json.loads(json.dumps(report.as_dict()))["ap"] == 0
    assert report.table().splitlines()[0].split() == ["ap", "0.000"]


@pytest.mark.parametrize(
    ("truth", "predictions", "words"),
    [
        ({"images": 3}, [], "images"),
        ({"images": [{"id": 1}], "annotations": []}, [], "height"),
        ([np.zeros((4, 4, 4), int)], [], "plane by plane"),
        ([np.zeros((4, 4), int)], [], "1 true images but 0"),
        ([np.zeros((4, 4), int)], [np.eye(5, dtype=int)], "5 x 5"),
        ([np.zeros((4, 4), int)], [{"image_id": 1, "score": 1, "segmentation": {"size": [4, 4]}}], "RLE"),
        ([np.zeros((4, 4), int)], [{"image_id": 1, "score": 1, "segmentation": [["x"]]}], "polygon"),
        ([np.zeros((4, 4), int)], [{"image_id": 9, "score": 1}], "prediction 1"),
        ([np.zeros((4, 4), int)], [{"image_id": 1, "score": 1}], "no .segmentation"),
    ],
)
def test_unusable_input_is_said(truth, predictions, words):
    with pytest.raises(InputError, match=words):
        coco_evaluate(truth, predictions)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match=r"broken\.json"):
        coco_evaluate(tmp_path / "broken.json", [])
