"""report.html: the curves, pairs of views, predictions on the source and settings of a run, in one file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

import imageio.v3 as iio
import numpy as np
from skimage.segmentation import find_boundaries

from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.sources import FieldSample
from napari_cupre.pretraining.views import ViewPair

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
figure { display: inline-block; margin: .5rem; vertical-align: top; } figcaption { font-size: 12px; }
table { border-collapse: collapse; font-size: 13px; }
td { padding: .1rem .8rem .1rem 0; vertical-align: top; }
img { image-rendering: pixelated; max-width: 100%; }
polyline { fill: none; stroke: #1560a8; stroke-width: 1.2; }
"""

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

#: Points of a curve; a run of days has more rows, of which the mean is drawn.
_POINTS = 300


@dataclass
class Material:
    """What a report shows.

    Attributes
    ----------
    summary : one line.
    rows : of metrics.csv.
    pairs : view pairs.
    fields, predicted : held-out fields and their predicted label images; empty if there were none.
    """

    summary: str
    settings: PretrainSettings
    rows: list[dict[str, float]]
    pairs: Sequence[ViewPair]
    fields: Sequence[FieldSample]
    predicted: Sequence[np.ndarray]


def report_page(material: Material) -> str:
    """The report as HTML that needs no other file."""
    parts = [f"<h1>Pretraining</h1><p>{html.escape(material.summary)}</p>", "<h2>Curves</h2>"]
    parts += [_curve(material.rows, name, title) for name, title in _CURVES]
    if material.pairs:
        parts.append(
            "<h2>Pairs of views that are to be found alike</h2>" + _image(_pair_sheet(material.pairs))
        )
    if material.predicted:
        parts.append("<h2>Held-out fields of the source: truth (green), prediction (magenta)</h2>")
        parts.append(_image(_prediction_sheet(material.fields, material.predicted)))
    parts.append("<h2>Settings</h2>" + _table(material.settings))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pretraining</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _curve(rows: list[dict[str, float]], name: str, title: str, width: int = 300, height: int = 120) -> str:
    """One quantity over the iterations as an SVG line; nothing if it was never reported."""
    points = np.array([(row["step"], row[name]) for row in rows if np.isfinite(row.get(name, np.nan))])
    if len(points) == 0:
        return ""
    thinned = np.array([part.mean(axis=0) for part in np.array_split(points, min(_POINTS, len(points)))])
    (x0, y0), (x1, y1) = thinned.min(axis=0), thinned.max(axis=0)
    x = (thinned[:, 0] - x0) / max(x1 - x0, 1e-12) * width
    y = height - (thinned[:, 1] - y0) / max(y1 - y0, 1e-12) * height
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    name = html.escape(title)
    return (
        f'<figure><svg width="{width}" height="{height}" viewBox="-2 -2 {width + 4} {height + 4}" role="img">'
        f'<title>{name}</title><polyline points="{line}"/></svg>'
        f"<figcaption>{name}: {thinned[-1, 1]:.4g} (from {y0:.4g} to {y1:.4g}), "
        f"iteration {int(points[-1, 0])}</figcaption></figure>"
    )


def _image(pixels: np.ndarray) -> str:
    encoded = base64.b64encode(iio.imwrite("<bytes>", pixels, extension=".png")).decode("ascii")
    return f'<p><img src="data:image/png;base64,{encoded}" alt=""></p>'


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """(3, Y, X) in about [0, 1] -> uint8 (Y, X, 3)."""
    return (np.clip(image.transpose(1, 2, 0), 0.0, 1.0) * 255).astype(np.uint8)


def _pair_sheet(pairs: Sequence[ViewPair]) -> np.ndarray:
    """Queries in the upper row, their keys below."""
    return np.concatenate(
        [
            np.concatenate([_as_bytes(pair.query.numpy()) for pair in pairs], axis=1),
            np.concatenate([_as_bytes(pair.key.numpy()) for pair in pairs], axis=1),
        ]
    )


def _prediction_sheet(fields: Sequence[FieldSample], predicted: Sequence[np.ndarray]) -> np.ndarray:
    """Fields in rows of four, with the outlines of truth and prediction."""
    tiles = []
    for sample, labels in zip(fields, predicted):
        tile = _as_bytes(sample.image.numpy())
        tile[~sample.target.known.numpy()] //= 2
        tile[find_boundaries(sample.target.instances.numpy(), mode="inner")] = (0, 200, 60)
        tile[find_boundaries(labels, mode="inner")] = (230, 0, 200)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 4)
    return np.concatenate([np.concatenate(tiles[i : i + 4], axis=1) for i in range(0, len(tiles), 4)])


def _table(settings: PretrainSettings) -> str:
    rows = (
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in settings.as_dict().items()
    )
    return f"<table>{''.join(rows)}</table>"
