"""Judging predictions: matching, figures of merit, comparison of models."""

from napari_cupre.evaluate.matching import Match, match_instances
from napari_cupre.evaluate.report import Report, Score, evaluate

__all__ = ["Match", "Report", "Score", "evaluate", "match_instances"]
