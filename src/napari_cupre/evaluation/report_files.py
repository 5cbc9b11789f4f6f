"""A report as JSON and as CSV."""

from __future__ import annotations

import csv
import json
import os

from napari_cupre.evaluation.matching import THRESHOLDS
from napari_cupre.evaluation.report import FIGURES, Report, Score
from napari_cupre.io.ownership import owned_write


def write_report_json(report: Report, path: str | os.PathLike[str]) -> None:
    """Write `report.as_dict()`.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    with owned_write(path) as temporary:
        temporary.write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")


def write_report_csv(report: Report, path: str | os.PathLike[str]) -> None:
    """Write a row per image and a last one named "pooled", with AP at every threshold.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    header = ["image", "cells", "predicted", "ignored", *FIGURES, *(f"ap_{t:.2f}" for t in THRESHOLDS)]
    with owned_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(_row(score) for score in [*report.images, report.pooled])


def _row(score: Score) -> list[object]:
    figures = [getattr(score, figure) for figure in FIGURES]
    counts = [score.truth_count, score.predicted_count, score.ignored]
    return [score.name, *counts, *figures, *score.ap_per_threshold]
