"""napari-cupre: few-shot cell instance segmentation with CUPre, in napari and headless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "finetune", "load_model", "outline", "predict"]

if TYPE_CHECKING:
    from napari_cupre.api import evaluate, finetune, load_model, outline, predict


def __getattr__(name: str) -> Any:
    # torch is imported only when the engine is first used: opening a widget must stay instant.
    if name in ("evaluate", "finetune", "load_model", "outline", "predict"):
        from napari_cupre import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
