"""Judging predictions: matching, figures of merit, COCO AP, comparison of models, report files."""

from napari_cupre.evaluation.comparison import Comparison, compare
from napari_cupre.evaluation.matching import Match, match_instances
from napari_cupre.evaluation.report import Report, Score, evaluate

__all__ = ["Comparison", "Match", "Report", "Score", "compare", "evaluate", "match_instances"]
