"""The docks as `napari.yaml` refers to them: each is imported when napari first asks for it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from napari_cupre.widgets.garbage import old_objects_apart, search_at_rest

DOCKS = {
    "WorkbenchWidget": "workbench",
    "AnnotateWidget": "annotate_widget",
    "TrainWidget": "train_widget",
    "PredictWidget": "predict_widget",
    "CompareWidget": "compare_widget",
    "ResultsWidget": "results_widget",
    "ModelsWidget": "models_widget",
    "HelpWidget": "help_widget",
}
"""The module of each dock, by the name of its class."""


def __getattr__(name: str) -> Any:
    if name not in DOCKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with old_objects_apart():
        dock = getattr(import_module(f"napari_cupre.widgets.{DOCKS[name]}"), name)
    search_at_rest()
    return dock
