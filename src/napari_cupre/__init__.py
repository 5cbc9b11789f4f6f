"""napari-cupre: few-shot cell instance segmentation with CUPre, in napari and headless."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "finetune", "load_model", "predict"]

if TYPE_CHECKING:
    from napari_cupre.api import evaluate, finetune, load_model, predict

_FUNCTIONS = ("evaluate", "finetune", "load_model", "predict")


def __getattr__(name: str) -> Any:
    # torch is imported only when the engine is first used: opening a widget must stay instant.
    if name in _FUNCTIONS:
        from napari_cupre import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _CallablePart(ModuleType):
    """A part of the package that can be called by its name, as `napari_cupre.predict(model, image)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from napari_cupre import api

        return getattr(api, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the part `predict` puts it in the place of the function of that name.
        if name in _FUNCTIONS and isinstance(value, ModuleType):
            value.__class__ = _CallablePart
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
