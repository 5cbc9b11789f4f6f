"""Pressing the buttons of docks, and waiting for what comes of it."""

from __future__ import annotations

from typing import Any

WAIT = 60_000


def run_job(widget: Any, made: str, qtbot: Any) -> None:
    """Press a dock's primary button until its job is over, and the job's attribute `made` is another."""
    job = widget.job
    before = getattr(job, made)
    widget.button.click()
    qtbot.waitUntil(lambda: getattr(job, made) is not before and job.status.state.is_over, timeout=WAIT)
    assert not job.status.error, job.status.details
