"""The base of the jobs that the child process can do, as the server sees them."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import ClassVar, Generic, TypeVar

from napari_cupre.events import Event
from napari_cupre.service.protocol import PreviewRequest, Request

Asked = TypeVar("Asked", bound=Request)


class EngineJob(ABC, Generic[Asked]):
    """A request and the events of its execution.

    `stop` and `preview` are called from another thread than `events`.

    Parameters
    ----------
    request : Asked
        The request.
    """

    may_end_while_loading: ClassVar[bool] = True
    """Whether nothing waits for an answer of a job that is stopped before its first event."""

    def __init__(self, request: Asked) -> None:
        self._request = request
        self._stopped = threading.Event()

    @abstractmethod
    def events(self) -> Generator[Event, None, None]:
        """Do the job and report."""

    def stop(self) -> None:
        """End soon; may be called before `events` has begun."""
        self._stopped.set()

    def forgo(self) -> None:
        """Clean up after a job that was stopped before its turn came; `events` is not called."""

    def preview(self, request: PreviewRequest) -> None:
        """Show the present state on an image, if the job has one."""
