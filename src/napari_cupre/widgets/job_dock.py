"""Common parts of docks with one job: a button that starts and stops it, a bar and a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_cupre.events import RunState
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.controls import JobBar, MessageLine, SessionWidget, job_words, primary_button


class JobDock(SessionWidget):
    """Base of the docks whose primary button starts a job and then cancels it.

    Attributes
    ----------
    button : SteadyButton
        Starts and cancels the job.
    bar : JobBar
        Shows the progress.
    notice : MessageLine
        Shows what is worth knowing about the last run.
    """

    def _make_button(self, job: Job, text: str, tooltip: str, start: Callable[[], Any]) -> None:
        """Create the controls of a job; the dock arranges them."""
        self._its_job = job
        self.button = primary_button(text, tooltip)
        self.button.clicked.connect(lambda: self.start_or_stop(job, start))
        self.bar, self.notice = JobBar(), MessageLine()

    def _show_job(self, job: Job, start: str, stop: str = "Cancel", doing: str | None = None) -> None:
        """Show the state of the job.

        Parameters
        ----------
        start, stop : str
            Texts of the button while the job is idle, and while it runs.
        doing : str or None, optional
            Text of the bar; None for the message of the job.
        """
        status = job.status
        self.button.setText(job_words(status, start, stop))
        self._allow()
        self.bar.follow(status, status.message if doing is None else doing, status.is_active)
        if status.error:
            self.message.show_error(status.error, status.details)
        if status.notice:
            self.notice.show_notice(status.notice)

    def _allow(self) -> None:
        """Offer the button only where the job can start, or stop."""
        status = self._its_job.status
        can_press = status.is_active or self._can_start()
        self.button.setEnabled(can_press and status.state is not RunState.STOPPING)

    def _can_start(self) -> bool:
        """Whether there is anything to do; otherwise a sentence of the dock says what to do first."""
        return True
