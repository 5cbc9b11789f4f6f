"""A job of the child that tries several models on the visible part."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_cupre.errors import CupreError
from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.service.beside import Tried, TryRequest
from napari_cupre.service.engine_job import EngineJob

if TYPE_CHECKING:
    from napari_cupre.prediction.detecting import CellFinder


class TryingJob(EngineJob[TryRequest]):
    """Lets each model find cells in the same part of a view."""

    def events(self) -> Generator[Event, None, None]:
        """Search, and report what each model found."""
        from napari_cupre.prediction.trying import try_models

        request, stopped = self._request, self._stopped.is_set
        yield StateChanged(RunState.RUNNING)
        finders = self._finders()
        for each in [] if stopped() else try_models(finders, request.view, request.diameter, stopped):
            yield Tried(each.model, list(each.window), each.step, each.labels, each.scores)
        yield StateChanged(RunState.STOPPED) if stopped() else Finished("")

    def _finders(self) -> dict[str, CellFinder]:
        """Return the readable models, made ready."""
        from napari_cupre.prediction.engine_choice import make_finder

        found: dict[str, CellFinder] = {}
        for name in self._request.models:
            if self._stopped.is_set():
                break
            with suppress(CupreError):  # the proposal works without it; choosing that model reports the error
                found[name] = make_finder(name, self._request.device, megapixels=0)
        return found
