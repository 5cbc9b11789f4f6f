"""What the docks with one job have in common: a button that starts and stops it, a bar and a message."""

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
        Starts the job.
    bar : JobBar
        How far it is.
    notice : MessageLine
        What is worth knowing about the last run.
    """

    def _make_button(self, job: Job, text: str, tooltip: str, start: Callable[[], Any]) -> None:
        """Make the controls of a job; the dock lays them out."""
        self.button = primary_button(text, tooltip)
        self.button.clicked.connect(lambda: self.start_or_stop(job, start))
        self.bar, self.notice = JobBar(), MessageLine()

    def _show_job(self, job: Job, start: str, stop: str = "Cancel", doing: str | None = None) -> None:
        """Show where the job stands.

        Parameters
        ----------
        start, stop : str
            On the button while nothing runs, and while something does.
        doing : str or None, optional
            On the bar; None for the message of the job.
        """
        status = job.status
        self.button.setText(job_words(status, start, stop))
        self.button.setEnabled(status.state is not RunState.STOPPING)
        self.bar.follow(status, status.message if doing is None else doing, status.is_active)
        if status.error:
            self.message.show_error(status.error, status.details)
        if status.notice:
            self.notice.show_notice(status.notice)
