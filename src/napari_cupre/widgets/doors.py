"""The docks as `napari.yaml` refers to them: each is imported when napari first asks for it."""

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
"""The module of each dock, by the name of its class."""


def __getattr__(name: str) -> Any:
    if name not in DOCKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with old_objects_apart():
        return getattr(import_module(f"napari_cupre.widgets.{DOCKS[name]}"), name)


@contextmanager
def old_objects_apart() -> Iterator[None]:
    """Stop Python from searching all memory for garbage while many new objects are created.

    Importing a dock creates so many objects that Python would search everything that napari holds, which
    takes longer than the import. Only the new objects are searched meanwhile. If other code has already
    frozen objects, nothing is done, because ours could not be told from theirs afterwards.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
