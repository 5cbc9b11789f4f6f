"""Make report.html: curves, pairs of views, predictions on the source and settings of a run, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from skimage.segmentation import find_boundaries

from napari_cupre.io.pages import png_source, render_page
from napari_cupre.pretraining.labelled_sources import FieldBatch
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.view_pairs import ViewPair

_CURVES = (
    ("contrast", "contrastive loss"),
    ("contrast_accuracy", "contrastive accuracy"),
    ("rpn_score", "RPN score loss"),
    ("rpn_box", "RPN box loss"),
    ("score", "class loss"),
    ("box", "box loss"),
    ("mask", "mask loss"),
    ("held_out_ap50", "held-out AP@.5 on the source"),
    ("gradient_cosine", "cosine of the tasks' gradients"),
    ("contrast_lr", "contrastive learning rate"),
    ("supervised_lr", "supervised learning rate"),
    ("iterations_per_second", "iterations per second"),
)

_POINTS = 300
"""Maximum number of points in a curve; longer runs are averaged to fit."""

_WIDTH, _HEIGHT = 300, 120
"""Size of a curve in px."""


@dataclass
class Material:
    """The contents of a report.

    Attributes
    ----------
    summary : str
        The run in one line.
    settings : PretrainSettings
        The settings of the run.
    rows : list of dict
        The rows of metrics.csv.
    pairs : sequence of ViewPair
        Some pairs of views; empty without a contrastive task.
    fields : sequence of FieldBatch
        The held-out fields; empty if nothing was validated.
    predicted : sequence of numpy.ndarray
        The predicted label image of each, int32 (Y, X).
    """

    summary: str
    settings: PretrainSettings
    rows: list[dict[str, float]]
    pairs: Sequence[ViewPair]
    fields: Sequence[FieldBatch]
    predicted: Sequence[np.ndarray]


def report_page(material: Material) -> str:
    """Return the report as a self-contained HTML page."""
    curves = [_curve(material.rows, name, title) for name, title in _CURVES]
    fields, predicted = material.fields, material.predicted
    return render_page(
        "pretraining.html",
        title="Pretraining",
        summary=material.summary,
        width=_WIDTH,
        height=_HEIGHT,
        curves=[curve for curve in curves if curve is not None],
        pairs=png_source(_pair_sheet(material.pairs)) if material.pairs else None,
        predictions=png_source(_prediction_sheet(fields, predicted)) if predicted else None,
        settings=material.settings.as_dict(),
    )


def _curve(rows: list[dict[str, float]], name: str, title: str) -> dict[str, Any] | None:
    """Return a quantity over the iterations as points of an SVG line; None if it was never reported."""
    points = np.array([(row["step"], row[name]) for row in rows if np.isfinite(row.get(name, np.nan))])
    if len(points) == 0:
        return None
    thinned = np.array([part.mean(axis=0) for part in np.array_split(points, min(_POINTS, len(points)))])
    (x0, y0), (x1, y1) = thinned.min(axis=0), thinned.max(axis=0)
    x = (thinned[:, 0] - x0) / max(x1 - x0, 1e-12) * _WIDTH
    y = _HEIGHT - (thinned[:, 1] - y0) / max(y1 - y0, 1e-12) * _HEIGHT
    return {
        "title": title,
        "points": " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y)),
        "last": float(thinned[-1, 1]),
        "low": float(y0),
        "high": float(y1),
        "iteration": int(points[-1, 0]),
    }


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """Convert (3, Y, X) in about [0, 1] to uint8 (Y, X, 3)."""
    return (np.clip(image.transpose(1, 2, 0), 0.0, 1.0) * 255).astype(np.uint8)


def _pair_sheet(pairs: Sequence[ViewPair]) -> np.ndarray:
    """Draw queries in the upper row and their keys below."""
    return np.concatenate(
        [
            np.concatenate([_as_bytes(pair.query.numpy()) for pair in pairs], axis=1),
            np.concatenate([_as_bytes(pair.key.numpy()) for pair in pairs], axis=1),
        ]
    )


def _prediction_sheet(fields: Sequence[FieldBatch], predicted: Sequence[np.ndarray]) -> np.ndarray:
    """Draw fields in rows of four, with true outlines in green and predicted ones in magenta."""
    tiles = []
    for field, labels in zip(fields, predicted):
        tile = _as_bytes(field.images[0].numpy())
        tile[~field.targets[0].known.numpy()] //= 2
        tile[find_boundaries(field.targets[0].instances.numpy(), mode="inner")] = (0, 200, 60)
        tile[find_boundaries(labels, mode="inner")] = (230, 0, 200)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 4)
    return np.concatenate([np.concatenate(tiles[i : i + 4], axis=1) for i in range(0, len(tiles), 4)])
