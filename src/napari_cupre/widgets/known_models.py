"""What the disk says about models, for the window: a slow folder must not block it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QObject, Signal

from napari_cupre.model.cards import seen_by
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.model.zoo import ZooEntry, list_models, models_of_package, user_folder
from napari_cupre.widgets.preferences import read_preferences
from napari_cupre.widgets.session_part import SessionPart

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session

PATIENCE_S = 0.1
"""A folder on this computer answers within this time; a home folder in a network may not."""

T = TypeVar("T")


class KnownModels(SessionPart):
    """Asks the disk in a thread, and waits for the answer only briefly.

    Until a late answer arrives, the last one counts.

    Attributes
    ----------
    deleted : set of str
        Models that were deleted in this window, by name or path: whoever did that needs no news of it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.deleted: set[str] = set()
        self._answers: dict[Hashable, Any] = {}
        self._asked: dict[Hashable, _Question] = {}
        self._bell = _Bell()
        self._bell.rung.connect(self._hear)

    @property
    def is_complete(self) -> bool:
        """Whether the list of models contains the user's own."""
        return user_folder() in self._answers

    def entries(self) -> list[ZooEntry]:
        """Return the list of models; without the user's own while it is not complete."""
        return self.ask(user_folder(), list_models, models_of_package(), self._session.models_changed.emit)

    def preferred(self) -> str:
        """Return the model to begin with: the user's preferred one if it is in the list, else the first."""
        preferred, names = read_preferences().model, [entry.name for entry in self.entries()]
        return preferred if preferred in names or not self.is_complete else names[0]

    def seen_by(self, model: str) -> SeenChannels:
        """Return the channels that a model learned from, or all while its file has not been read."""
        announce = self._session.models_changed.emit
        return self.ask(("seen", model), lambda: seen_by(model), SeenChannels(), announce)

    def ask(self, key: Hashable, work: Callable[[], T], meanwhile: T, announce: Callable[[], Any]) -> T:
        """Return the result of reading from the disk, or the last one if it takes long.

        Parameters
        ----------
        key : Hashable
            Identifies the question.
        work : Callable[[], T]
            Reads, in a thread.
        meanwhile : T
            The answer before there is any.
        announce : Callable[[], Any]
            Called in the window if a late answer is news.
        """
        question = self._asked.get(key)
        if question is not None:
            question.is_outdated = True  # what it found may have changed since
        else:
            patience = 0.0 if self._asked else PATIENCE_S  # another open question: the disk is slow
            question = self._start(key, work, announce)
            question.answered.wait(patience)
            if question.answered.is_set():
                del self._asked[key]
                self._answers[key] = question.result()
        return self._answers.get(key, meanwhile)

    def close(self) -> None:
        """Wait for nothing more."""
        self._bell.blockSignals(True)
        self._asked.clear()

    def _start(self, key: Hashable, work: Callable[[], Any], announce: Callable[[], Any]) -> _Question:
        question = self._asked[key] = _Question(key, work, announce, self._bell)
        question.start()
        return question

    def _hear(self, question: _Question) -> None:
        """Take a late answer, and ask again if somebody asked meanwhile."""
        if self._asked.get(question.key) is not question or not self._session.is_open:
            return
        del self._asked[question.key]
        if question.error is None:
            is_news = self._answers.get(question.key, self) != question.found
            self._answers[question.key] = question.found
            if is_news:
                question.announce()
        if question.is_outdated and question.key not in self._asked:
            self._start(question.key, question.work, question.announce)


class _Bell(QObject):
    """Carries the news of an answer into the thread of the window."""

    rung = Signal(object)


class _Question(threading.Thread):
    """One look at the disk; a thread that hangs does not keep Python from ending."""

    def __init__(
        self, key: Hashable, work: Callable[[], Any], announce: Callable[[], Any], bell: _Bell
    ) -> None:
        super().__init__(name="napari-cupre models", daemon=True)
        self.key, self.work, self.announce, self._bell = key, work, announce, bell
        self.answered = threading.Event()
        self.is_outdated = False
        self.found: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.found = self.work()
        except Exception as error:
            self.error = error
        self.answered.set()
        try:
            self._bell.rung.emit(self)
        except RuntimeError:  # the window is gone
            return

    def result(self) -> Any:
        """Return what was found, or raise what went wrong."""
        if self.error is not None:
            raise self.error
        return self.found
