"""COCO average precision for thousands of cells per image, by faster-coco-eval.

pycocotools' summary always uses 100 detections per image. Here every figure is read from the accumulated
table at the largest number of detections, as in LIVECell's evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_cupre.evaluation.coco_documents import CocoInput, PredictionInput, results_for, truth_document

AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class CocoSettings:
    """Settings of COCO AP.

    Attributes
    ----------
    max_detections : tuple of int
        Numbers of best-scored detections per image, ascending; AP is read at the last.
    areas : tuple of float
        Areas in px at which cells are cut into small, medium and large.
    use_categories : bool
        False to judge all categories as one.
    """

    max_detections: tuple[int, ...] = (100, 1000, 3000)
    areas: tuple[float, float] = (32**2, 96**2)
    use_categories: bool = True


LIVECELL = CocoSettings(max_detections=(100, 500, 2000), areas=(18**2, 31**2), use_categories=False)
"""The evaluation of LIVECell (Edlund et al. 2021)."""


@dataclass(frozen=True)
class CocoReport:
    """COCO's figures; NaN where no true cell is in an area range.

    Attributes
    ----------
    kind : str
        "segm" for masks, "bbox" for boxes.
    ap, ap50, ap75 : float
        Average precision at IoU .5:.05:.95, .5, .75.
    ap_by_area : dict of str to float
        AP of "small", "medium" and "large" cells.
    recall : dict of int to float
        Average recall by number of detections per image.
    recall_by_area : dict of str to float
        Average recall at the largest number of detections.
    settings : CocoSettings
        The settings used.
    """

    kind: str
    ap: float
    ap50: float
    ap75: float
    ap_by_area: dict[str, float]
    recall: dict[int, float]
    recall_by_area: dict[str, float]
    settings: CocoSettings

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; None for NaN."""
        figures = dict(self._figures())
        return {
            "kind": self.kind,
            **{name: None if np.isnan(value) else value for name, value in figures.items()},
            "max_detections": list(self.settings.max_detections),
            "areas": list(self.settings.areas),
            "use_categories": self.settings.use_categories,
        }

    def table(self) -> str:
        """Return a text table with one figure per line."""
        return "\n".join(f"{name:<12}{value:6.3f}" for name, value in self._figures())

    def _figures(self) -> list[tuple[str, float]]:
        return [
            ("ap", self.ap),
            ("ap50", self.ap50),
            ("ap75", self.ap75),
            *((f"ap_{area}", value) for area, value in self.ap_by_area.items()),
            *((f"ar_{count}", value) for count, value in self.recall.items()),
            *((f"ar_{area}", value) for area, value in self.recall_by_area.items()),
        ]


def coco_evaluate(
    truth: CocoInput,
    predictions: PredictionInput,
    *,
    kind: Literal["segm", "bbox"] = "segm",
    settings: CocoSettings | None = None,
) -> CocoReport:
    """Compute COCO AP and AR of predictions with scores.

    Parameters
    ----------
    truth : CocoInput
        Path or content of a COCO JSON, or one label image (Y, X) per image.
        Crowd areas count as in COCO: predictions in them are neither right nor wrong.
    predictions : PredictionInput
        Path or content of a COCO JSON, or one prediction per image. A JSON is either a list of results
        (pycocotools' form, image_id as in the truth) or a whole document as this package writes it, whose
        images are found in the truth by the stem of their file names; images that the truth does not list do
        not count. A prediction per image is anything with `scores`, `classes` and `masks.rle()`, or a label
        image. Cells of label images and of documents without scores have score 1.
    kind : {"segm", "bbox"}, optional
        "segm" compares masks, "bbox" boxes.
    settings : CocoSettings, optional
        `CocoSettings()` if None; see also `LIVECELL`.

    Raises
    ------
    InputError
        If a file cannot be read or predictions and truth do not belong together.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    settings = settings or CocoSettings()
    document = truth_document(truth)
    results = results_for(document, predictions, kind)
    true = COCO(document)
    # older releases cannot load an empty list of results
    found = true.loadRes(results) if results else COCO({**document, "annotations": []})
    evaluation = COCOeval_faster(true, found, iouType=kind)
    small, medium = settings.areas
    everything = 1e5**2
    evaluation.params.areaRng = [[0, everything], [0, small], [small, medium], [medium, everything]]
    evaluation.params.areaRngLbl = list(AREAS)
    evaluation.params.maxDets = sorted(settings.max_detections)
    evaluation.params.useCats = int(settings.use_categories)
    evaluation.evaluate()
    evaluation.accumulate()
    return _read(evaluation.eval["precision"], evaluation.eval["recall"], kind, settings)


def _read(precision: np.ndarray, recall: np.ndarray, kind: str, settings: CocoSettings) -> CocoReport:
    """Read the figures from COCO's tables: precision [IoU, recall, class, area, detections], and recall."""
    best = np.asarray(precision)[..., -1]
    found = np.asarray(recall)
    return CocoReport(
        kind=kind,
        ap=_mean(best[..., 0]),
        ap50=_mean(best[0, ..., 0]),
        ap75=_mean(best[5, ..., 0]),
        ap_by_area={name: _mean(best[..., i]) for i, name in enumerate(AREAS) if i},
        recall={n: _mean(found[:, :, 0, i]) for i, n in enumerate(sorted(settings.max_detections))},
        recall_by_area={name: _mean(found[:, :, i, -1]) for i, name in enumerate(AREAS) if i},
        settings=settings,
    )


def _mean(table: np.ndarray) -> float:
    """Return the mean over the defined entries; COCO marks the others with -1."""
    defined = table[table > -1]
    return float(defined.mean()) if defined.size else float("nan")
