"""The cross-check in the Train dock: whether training is worth it, measured on all annotated cells."""

from __future__ import annotations

from typing import Any

from napari_cupre.evaluation.decision import Outcome
from napari_cupre.widgets.controls import MessageLine, SessionWidget

COMING = "A cross-check on all your cells appears here once the computer has been idle for a minute."


class CrossCheckLine(MessageLine):
    """One sentence, green or red if the result is clear; empty before the first training.

    Parameters
    ----------
    owner : SessionWidget
        The dock.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__()
        self._measuring, self._training = owner.session.idling, owner.session.training
        self.label.setToolTip(
            "Each cell judges a model that did not learn from it, so even few cells tell something"
        )
        owner.listen(self._measuring.changed, self.refresh)
        owner.listen(owner.session.models_changed, self.refresh)  # the round may have been deleted
        owner.listen(self._measuring.job.status.events, self.refresh)
        owner.listen(self._training.status.events.state, self.refresh)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the last measurement, or announce that one will follow."""
        found = self._measuring.found
        check = None if found is None else found.check
        if self._training.status.is_active:  # another one will follow, and the curve needs the room
            self.clear()
        elif check is not None:
            show = {Outcome.BETTER: self.show_good, Outcome.WORSE: self.show_error}
            show.get(check.decision.outcome, self.show_plain)(str(check))
        elif self._measuring.is_coming:
            self.show_plain(COMING)
        else:
            self.clear()
