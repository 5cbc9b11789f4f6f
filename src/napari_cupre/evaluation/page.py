"""A report as one self-contained HTML page that shows the cells where the prediction fails worst."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable, Sequence

import numpy as np

from napari_cupre.data.labels import as_labels
from napari_cupre.data.normalise import normalise
from napari_cupre.errors import InputError
from napari_cupre.evaluation.faults import SHOWN, Fault, Kind, thumbnail, worst_faults
from napari_cupre.evaluation.matching import THRESHOLDS
from napari_cupre.evaluation.report import FIGURES, Report, Score
from napari_cupre.io.ownership import owned_write

_STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15rem .6rem; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }} tr:nth-child(even) {{ background: #f3f3f3; }}
tr.sum {{ font-weight: 600; border-top: 1px solid #888; }} figure {{ display: inline-block; margin: .4rem; }}
figure img {{ width: {SHOWN}px; image-rendering: pixelated; display: block; }}
figcaption {{ font-size: 12px; width: {SHOWN}px; overflow-wrap: anywhere; }}
.truth {{ color: #089030; }} .prediction {{ color: #c010a8; }}
"""


def write_page(
    report: Report,
    images: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    *,
    known: Sequence[np.ndarray | None] | None = None,
    limit: int = 12,
) -> None:
    """Write the figures and pictures of the worst cells as one HTML file that needs no other.

    Parameters
    ----------
    report : as `evaluate` gave it for these images
    images : planes (Y, X) or (Y, X, C) in grey values of any type
    truth, predicted : their label images (Y, X)
    path : the page to write
    known : the annotated areas that `report` was made with
    limit : pictures per kind of fault

    Raises
    ------
    InputError
        If the numbers or sizes of images and label images do not fit.
    EnvironmentFault
        Full or read-only disk.
    """
    if not len(report.images) == len(images) == len(truth) == len(predicted):
        raise InputError(
            f"a page needs an image, a truth and a prediction for each of the {len(report.images)} images of "
            f"the report, but there are {len(images)}, {len(truth)} and {len(predicted)}."
        )
    for score, image, labels in zip(report.images, images, truth):
        if labels.ndim != 2 or image.shape[:2] != labels.shape:
            raise InputError(
                f"{score.name}: the image has shape {image.shape} and the truth {labels.shape}; "
                "a page needs planes (Y, X) of one size."
            )
    faults = worst_faults(truth, predicted, known, limit=limit)
    pictures = _pictures(faults, report, images, truth, predicted)
    body = "\n".join([_summary(report), _curve(report), *pictures])
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style></head><body><h1>Evaluation of {len(images)} images</h1>{body}</body></html>"
    )
    with owned_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _summary(report: Report) -> str:
    header = "".join(f"<th>{html.escape(name)}</th>" for name in ("image", "cells", "found", *FIGURES))
    rows = [_row(score) for score in report.images]
    means = "".join(f"<td>{report.mean(figure):.3f}</td>" for figure in FIGURES)
    rows.append(f'<tr class="sum"><td>mean over images</td><td></td><td></td>{means}</tr>')
    rows.append(_row(report.pooled, "sum"))
    return (
        f"<table><tr>{header}</tr>{''.join(rows)}</table>"
        "<p>AP is TP / (TP + FP + FN), averaged over IoU .5:.05:.95; F1, precision, recall and panoptic "
        "quality are at IoU .5; the count error is in cells.</p>"
    )


def _row(score: Score, style: str = "") -> str:
    figures = "".join(f"<td>{getattr(score, figure):.3f}</td>" for figure in FIGURES)
    counts = f"<td>{score.truth_count}</td><td>{score.predicted_count}</td>"
    return f'<tr class="{style}"><td>{html.escape(score.name)}</td>{counts}{figures}</tr>'


def _curve(report: Report, width: int = 420, height: int = 180) -> str:
    """AP over the IoU threshold as a small drawing."""
    values = np.mean([score.ap_per_threshold for score in report.images], axis=0)
    xs = np.linspace(40, width - 15, len(THRESHOLDS))
    ys = height - 30 - values * (height - 50)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))
    ticks = "".join(
        f'<text x="{x:.0f}" y="{height - 12}" text-anchor="middle">{t:g}</text>'
        for x, t in zip(xs[::2], THRESHOLDS[::2])
    )
    lines = "".join(
        f'<line x1="36" x2="{width}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>'
        f'<text x="30" y="{y + 4:.0f}" text-anchor="end">{level:g}</text>'
        for level in (0, 0.5, 1)
        for y in [height - 30 - level * (height - 50)]
    )
    return (
        "<h2>AP over the IoU threshold</h2>"
        f'<svg width="{width}" height="{height}" font-size="11">{lines}{ticks}'
        f'<polyline points="{points}" fill="none" stroke="#2060c0" stroke-width="2"/></svg>'
    )


def _pictures(
    faults: dict[Kind, list[Fault]],
    report: Report,
    images: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
) -> Iterable[str]:
    """A heading and a row of pictures for each kind of fault."""
    shown = {fault.image for chosen in faults.values() for fault in chosen}
    normalised = {i: normalise(np.asarray(images[i])) for i in shown}
    for kind, chosen in faults.items():
        figures = [
            _figure(fault, report, normalised[fault.image], truth[fault.image], predicted[fault.image])
            for fault in chosen
        ]
        total = f"the {len(chosen)} worst" if chosen else "none"
        yield (
            f'<h2>Cells {kind}: {total}</h2><p>Outlines: <span class="truth">truth</span>, '
            f'<span class="prediction">prediction</span>.</p>{"".join(figures)}'
        )


def _figure(fault: Fault, report: Report, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> str:
    picture = base64.b64encode(thumbnail(fault, image, as_labels(truth), as_labels(predicted))).decode()
    caption = f"{report.images[fault.image].name}, label {fault.label}, {fault.area} px"
    if fault.partner:
        caption += f", IoU {fault.iou:.2f}"
    return (
        f'<figure><img alt="" src="data:image/png;base64,{picture}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
