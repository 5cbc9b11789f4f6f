"""Where `napari.yaml` finds the docks: each is imported when napari first asks for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

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
"""By the name of their class: the module that it is in."""


def __getattr__(name: str) -> Any:
    if name not in DOCKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with old_objects_apart():
        return getattr(import_module(f"napari_cupre.widgets.{DOCKS[name]}"), name)


@contextmanager
def old_objects_apart() -> Iterator[None]:
    """Keep Python from searching all that is in memory for garbage while many new objects are made.

    Importing a dock makes so many that Python would search through everything that napari holds, which takes
    longer than the import. Searches go on meanwhile, among the new objects. Where somebody else has put
    objects apart, it is left at that, since they could not be told from ours afterwards.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
