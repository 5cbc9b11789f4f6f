"""Kill a window that annotates, at random moments, and see what the next start finds.

    xvfb-run -a python benchmarks/kill.py [--times 20]

A person who draws a cell every half second is killed (SIGKILL) somewhere in ten seconds. At most the last
stroke may be gone. Prints one line for each death, and exits with 1 if more was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from script import script_parser
from window import settle

CELLS_A_ROW, STEP, SIDE = 12, 40, 14


def main() -> int:
    """Die many times."""
    parser = script_parser(__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two cells")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        annotate(options.child, options.pause)
        return 0
    rng = random.Random(options.seed)
    worst = 0
    for number in range(1, options.times + 1):
        with tempfile.TemporaryDirectory() as folder:
            drawn, found = one_death(Path(folder), rng.uniform(0.5, 10), options.pause)
        worst = max(worst, drawn - found)
        print(f"death {number}: {drawn} cells were drawn, {found} came back", flush=True)
    print(f"{options.times} deaths: at most {worst} cells were lost in one")
    return int(worst > 1)


def one_death(folder: Path, seconds: float, pause: float = 0.5) -> tuple[int, int]:
    """Cells that were drawn when the window was killed, and those that the next start finds."""
    environment = {**os.environ, "NAPARI_CUPRE_PROJECTS": str(folder / "projects")}
    command = [sys.executable, __file__, "--child", str(folder), "--pause", str(pause)]
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout is not None
    drawn = 0
    end = float("inf")
    for line in child.stdout:
        if line.startswith("drawn "):
            end = min(end, time.monotonic() + seconds)  # the clock starts with the first cell
            drawn = int(line.split()[1])
        if time.monotonic() > end:
            break
    os.kill(child.pid, signal.SIGKILL)
    for line in child.stdout:  # what it had said before it died
        if line.startswith("drawn "):
            drawn = int(line.split()[1])
    child.wait()
    if not drawn:
        raise RuntimeError("The window ended before a cell was drawn: start it by --child to see why.")
    os.environ["NAPARI_CUPRE_PROJECTS"] = environment["NAPARI_CUPRE_PROJECTS"]
    from napari_cupre.project.project import Project
    from napari_cupre.project.recovery import recoverable

    found = recoverable()
    if not found:
        return drawn, 0
    with Project.open(found[0].folder) as project:  # settles what was being written
        return drawn, sum(len(cells) for _, cells in project.all_cells())


def annotate(folder: Path, pause: float) -> None:
    """In the child: a window in which a person draws one cell after the other."""
    import napari
    import numpy as np
    import tifffile

    from napari_cupre.project.gestures import draw
    from napari_cupre.widgets.session import Session

    path = folder / "field.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (800, 800), np.uint8))
    viewer = napari.Viewer()
    viewer.window.add_plugin_dock_widget("napari-cupre", "Annotate")
    session = Session.of(viewer)
    session.image = viewer.open(str(path))[0]
    cells = session.make_cells(session.image)
    for number in range(200):
        top, left = (20 + STEP * at for at in divmod(number, CELLS_A_ROW))
        square = np.array([(top, left), (top, left + SIDE), (top + SIDE, left + SIDE), (top + SIDE, left)])
        cells.do(lambda now, square=square: draw(now, square))
        print(f"drawn {number + 1}", flush=True)
        settle(pause)


if __name__ == "__main__":
    sys.exit(main())
