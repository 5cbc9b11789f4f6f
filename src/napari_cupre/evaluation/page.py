"""A report as one self-contained HTML page that shows the cells where the prediction fails worst."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_cupre.data.labels import as_labels
from napari_cupre.data.normalise import normalise
from napari_cupre.errors import InputError
from napari_cupre.evaluation.faults import SHOWN, Fault, Kind, thumbnail, worst_faults
from napari_cupre.evaluation.matching import THRESHOLDS
from napari_cupre.evaluation.report import FIGURES, Report, figure_text, score_row
from napari_cupre.io.ownership import owned_write
from napari_cupre.io.pages import png_source, render_page


def write_page(
    report: Report,
    images: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    *,
    known: Sequence[np.ndarray | None] | None = None,
) -> None:
    """Write the figures and pictures of the worst cells as one self-contained HTML file.

    Parameters
    ----------
    report : Report
        The report of `evaluate` for these images.
    images : sequence of numpy.ndarray
        Planes (Y, X) or (Y, X, C) in grey values of any type.
    truth, predicted : sequence of numpy.ndarray
        Their label images, integer (Y, X).
    path : str or os.PathLike
        The page to write.
    known : sequence of numpy.ndarray or None, optional
        The known areas that `report` was made with, bool (Y, X).

    Raises
    ------
    InputError
        If the numbers or sizes of images and label images do not match.
    EnvironmentFault
        If the disk is full or read-only.
    """
    _check_inputs(report, images, truth, predicted)
    page = render_page(
        "evaluation.html",
        title=f"Evaluation of {len(images)} images",
        picture_side=SHOWN,
        header=("image", "cells", "found", *FIGURES),
        rows=[score_row(score) for score in report.images],
        sums=[
            ["mean over images", "", "", *(figure_text(figure, report.mean(figure)) for figure in FIGURES)],
            score_row(report.pooled),
        ],
        curve=_curve(report),
        faults=_pictures(worst_faults(truth, predicted, known), report, images, truth, predicted),
    )
    with owned_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _check_inputs(
    report: Report, images: Sequence[np.ndarray], truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray]
) -> None:
    """Refuse images and label images that do not belong together."""
    if not len(report.images) == len(images) == len(truth) == len(predicted):
        raise InputError(
            f"A page needs an image, a truth and a prediction for each of the {len(report.images)} images of "
            f"the report, but there are {len(images)}, {len(truth)} and {len(predicted)}."
        )
    for score, image, labels in zip(report.images, images, truth):
        if labels.ndim != 2 or image.shape[:2] != labels.shape:
            raise InputError(
                f"{score.name}: the image has shape {image.shape} and the truth {labels.shape}; "
                "a page needs planes (Y, X) of the same size."
            )


def _curve(report: Report, width: int = 420, height: int = 180) -> dict[str, Any]:
    """Return AP at each IoU threshold as positions in an SVG drawing, px."""
    values = np.mean([score.ap_per_threshold for score in report.images], axis=0)
    xs = np.linspace(40, width - 15, len(THRESHOLDS))
    bottom, span = height - 30, height - 50
    return {
        "width": width,
        "height": height,
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, bottom - values * span)),
        "ticks": [(round(x), f"{threshold:g}") for x, threshold in zip(xs[::2], THRESHOLDS[::2])],
        "levels": [(round(bottom - level * span), f"{level:g}") for level in (0, 0.5, 1)],
    }


def _pictures(
    faults: dict[Kind, list[Fault]],
    report: Report,
    images: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
) -> dict[Kind, list[dict[str, str]]]:
    """Return a picture with a caption for each fault, by kind."""
    shown = {fault.image for chosen in faults.values() for fault in chosen}
    normalised = {i: normalise(np.asarray(images[i])) for i in shown}

    def picture(fault: Fault) -> dict[str, str]:
        labels = as_labels(truth[fault.image]), as_labels(predicted[fault.image])
        source = png_source(thumbnail(fault, normalised[fault.image], *labels))
        return {"source": source, "caption": _caption(fault, report)}

    return {kind: [picture(fault) for fault in chosen] for kind, chosen in faults.items()}


def _caption(fault: Fault, report: Report) -> str:
    caption = f"{report.images[fault.image].name}, label {fault.label}, {fault.area} px"
    return f"{caption}, IoU {fault.iou:.2f}" if fault.partner else caption
