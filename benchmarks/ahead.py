"""Run a benchmark of the window on a busy machine as if no other program computed there.

Run: chrt -r 2 xvfb-run -a python benchmarks/ahead.py benchmarks/first_step.py --wait 20

The window and its screen have real-time priority (Linux, needs the right to it), and the engine computes
whenever they wait, like a process of the lowest priority on an idle machine. Keep it short.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from napari_cupre.service.client import EngineProcess

CHILD = """
import os, sys
from napari_cupre.service import server
server.lower_priority = lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
sys.exit(server.run_child(sys.argv[1:]))
"""


class EngineAhead(EngineProcess):
    """An engine that gives way to the window, but not to other programs."""

    def __init__(self, command: list[str] | None = None, *, is_urgent: bool = False) -> None:
        super().__init__(command or [sys.executable, "-P", "-c", CHILD], is_urgent=is_urgent)


def main() -> None:
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    from napari_cupre.widgets import session

    session.EngineProcess = EngineAhead  # type: ignore[misc]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
