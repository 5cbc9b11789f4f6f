"""Convert a model to OpenVINO for `models export`, and measure what that gains and changes.

Experimental: the speed depends on the processor, and so may the cells.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import Model

SAME = 0.99
"""Least F1 at IoU 0.5 against the original's cells at which both count as the same."""

FIELDS = 8
"""Synthetic fields on which models are compared, in addition to the sample images."""


def make_lighter(model: Model, seed: int, only_same: bool = False) -> tuple[Model, list[str]]:
    """Convert a model to OpenVINO (experimental) and compare it with the original.

    Parameters
    ----------
    model : Model
        The original.
    seed : int
        Seed of the synthetic fields.
    only_same : bool, optional
        Return the original if the converted model is no faster or finds other cells.

    Returns
    -------
    Model
        The converted model, with the figures in its `metrics`, or the original.
    list of str
        What the conversion gains and changes, in sentences.
    """
    from napari_cupre.model.convert import lighter
    from napari_cupre.model.openvino import check_converter

    check_converter()
    fields = _fields(model, seed + 1)
    before, seconds = _cells(model, fields)
    candidate = lighter(model, seed)
    after, faster = _cells(candidate, fields)
    f1, speed = _f1(before, after), seconds / faster
    lines = [f"{speed:.1f} times as fast here; F1@.5 {f1:.3f} against the original's cells."]
    if only_same and (f1 < SAME or speed <= 1):
        why = "finds other cells" if f1 < SAME else "is no faster"
        return model, [*lines, f"OpenVINO {why}, so the file keeps the format safetensors."]
    if f1 < SAME:
        lines.append(f"That is below {SAME}: compare both models on your own images before you rely on it.")
    figures = {"openvino f1": round(f1, 4), "openvino speed": round(speed, 2)}
    candidate.info = replace(candidate.info, metrics={**candidate.info.metrics, **figures})
    return candidate, lines


def _fields(model: Model, seed: int) -> list[tuple[np.ndarray, float]]:
    """Normalised images with their diameters: the samples, and synthetic ones of all looks."""
    from napari_cupre.data.labels import median_diameter
    from napari_cupre.io.samples import SAMPLES, load_sample
    from napari_cupre.synthetic import draw_field

    fields = []
    for info in SAMPLES:
        sample = load_sample(info.name)
        plane = sample.image.normalised(next(sample.image.plane_indices()))
        fields.append((plane, median_diameter(sample.annotations)))
    rng = np.random.default_rng(seed)
    for _ in range(FIELDS):
        drawn = draw_field(rng, 384, diameter=model.network.config.diameter)
        fields.append((drawn.image, drawn.diameter))
    return fields


def _cells(model: Model, fields: list[tuple[np.ndarray, float]]) -> tuple[list[np.ndarray], float]:
    """Labels of every field, and the processor time in seconds."""
    from napari_cupre.prediction.detector import Detector
    from napari_cupre.prediction.plane import predict_plane

    detector = Detector(model)
    predict_plane(detector, fields[0][0], diameter=fields[0][1])  # warm-up
    start = time.process_time()
    labels = [predict_plane(detector, image, diameter=diameter).labels for image, diameter in fields]
    return labels, time.process_time() - start


def _f1(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """F1 at IoU 0.5 over all cells of all images."""
    from napari_cupre.evaluation.matching import match_instances

    counts = np.sum([match_instances(a, b).counts(0.5) for a, b in zip(before, after)], axis=0)
    right, extra, missed = counts.tolist()
    return 2 * right / (2 * right + extra + missed) if counts.any() else 1.0
