"""The last line of the Annotate dock: when the work was saved, and questions about saving."""

from __future__ import annotations

import time
from pathlib import Path

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_cupre.project.place import ENDING
from napari_cupre.project.recovery import Recoverable
from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import DRAWN_MS, DockPart, SessionWidget, push_button
from napari_cupre.widgets.timers import single_timer

TICK_MS = 1000
FILTER = f"napari-cupre projects (*{ENDING})"


class SaveLine(DockPart):
    """A line that says "Saved 4 s ago", and asks what to do about lost work, conflicts and errors."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._keeper = owner.session.keeper
        self.line = caption()
        self.line.setAccessibleName("When your work was last saved")
        self.name = push_button(
            "Save as …",
            "Give the project a name and a place; from then on it is saved there",
            self._ask_where,
        )
        self.question = QuestionLine()
        self._doubted: Recoverable | None = None
        row = in_row(self.line, self.name, wide=self.line)
        in_column(self.question, row, within=self, spacing=4)
        self._clock = QTimer(self)
        self._clock.setInterval(TICK_MS)
        self._clock.timeout.connect(self._show_time)
        owner.listen(self._keeper.changed, self.refresh)
        owner.listen(owner.session.cells_changed, lambda *_: self._show_time())
        self.refresh()
        self._looking = single_timer(self._keeper.lost.look, DRAWN_MS, self)
        self._looking.start()

    def refresh(self) -> None:
        """Show what is saved, and what the user has to decide."""
        keeper = self._keeper
        self.name.setVisible(keeper.project is not None)
        self._ask()
        self._show_time()
        is_counting = keeper.saved_at is not None
        if is_counting != self._clock.isActive():
            (self._clock.start if is_counting else self._clock.stop)()

    def _show_time(self) -> None:
        keeper = self._keeper
        project = keeper.project
        where = f' in "{project.folder.stem}"' if project is not None and not keeper.is_scratch else ""
        if project is not None and project.read_only and not keeper.is_dirty:
            self.line.say("Open to look only.", "plain")
        elif keeper.error:
            self.line.say("Not saved." if project is not None else "", "error")
        elif keeper.is_dirty and (keeper.saved_at is None or _seconds(keeper.saved_at) > 1):
            self.line.say("Saving ...", "plain")
        elif keeper.saved_at is not None:
            self.line.say(f"Saved {_ago(keeper.saved_at)}{where}.", "plain")
        elif project is not None:
            self.line.say(f"Nothing new to save{where}.", "plain")
        else:
            self.line.say("", "plain")

    def _ask(self) -> None:
        keeper = self._keeper
        elsewhere = ("Save elsewhere …", "Save a copy of the project in another place", self._ask_where)
        if keeper.locked is not None:
            folder = keeper.locked
            look = ("Look only", "Show it; nothing is saved", lambda: keeper.open(folder, look_only=True))
            self.question.ask(keeper.error, [look, ("Leave it", "Open nothing", self._leave_locked)])
        elif keeper.conflicts:
            mine = ("Keep mine", "Save what you see; theirs is kept beside it", keeper.keep_mine)
            theirs = ("Take theirs", "Show what is on disk; yours is kept beside it", keeper.take_theirs)
            self.question.ask(" ".join(keeper.conflicts), [mine, theirs])
        elif keeper.error and keeper.project is None and not keeper.is_dirty:
            self.question.ask(keeper.error, [("OK", "Dismiss this message", self._leave_locked)])
        elif keeper.error:
            is_hopeless = keeper.project is not None and bool(keeper.project.read_only)
            again = [] if is_hopeless else [("Try again", "Save again", keeper.save)]
            self.question.ask(keeper.error, [*again, elsewhere])
        elif keeper.notice:
            self.question.ask(keeper.notice, [("OK", "Dismiss this message", self._leave_notice)])
        elif keeper.lost.found:
            self._ask_about(keeper.lost.found[0])
        else:
            self.question.clear()

    def _ask_about(self, lost: Recoverable) -> None:
        """Ask what to do with lost work; after Discard, ask once more before deleting it."""
        keeper = self._keeper
        if self._doubted is lost:
            away = ("Delete", "Delete it; this cannot be undone", lambda: keeper.lost.discard(lost))
            keep = ("Keep", "Ask again", lambda: self._doubt(None))
            self.question.ask(f"Delete {lost.text} for good?", [away, keep], key=(lost.folder, "sure"))
            return
        back = ("Restore", "Continue this work", lambda: keeper.lost.restore(lost))
        away = ("Discard …", "Delete it, after one more question", lambda: self._doubt(lost))
        sentence = f"Work not yet saved as a project: {lost.text}."
        self.question.ask(sentence, [back, away], key=lost.folder)

    def _doubt(self, lost: Recoverable | None) -> None:
        self._doubted = lost
        self.refresh()

    def _leave_locked(self) -> None:
        self._keeper.locked, self._keeper.error = None, ""
        self._keeper.changed.emit()

    def _leave_notice(self) -> None:
        self._keeper.notice = ""
        self._keeper.changed.emit()

    def _ask_where(self) -> None:
        project = self._keeper.project
        start = str(Path.home() / f"cells{ENDING}")
        if project is not None and not self._keeper.is_scratch:
            start = str(project.folder.with_name(f"{project.folder.stem} copy{ENDING}"))
        path, _ = QFileDialog.getSaveFileName(self, "Save the project as", start, FILTER)
        if path:
            self._keeper.save_as(Path(path))


def _seconds(since: float) -> int:
    return int(time.monotonic() - since)


def _ago(since: float) -> str:
    seconds = _seconds(since)
    if seconds < 60:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 3600 else f"{seconds // 3600} h ago"
