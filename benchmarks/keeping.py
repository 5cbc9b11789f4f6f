"""How long the window is held by saving and by the next image of a queue.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/keeping.py [--side 4096] [--images 8]

Draws cells on an image of --side px: how long each gesture and the copy for the save hold the window. Then
steps through images of 2048 px, the next one read ahead: from the key to the picture. Both by the clock and
in the processor's time of the window's thread, which a busy machine lengthens less.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from script import script_parser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))


def main() -> None:
    """Measure both."""
    parser = script_parser(__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CUPRE_PROJECTS"] = str(Path(folder) / "projects")
        saving(Path(folder), options.side)
        stepping(Path(folder), options.images)


def new_window() -> tuple[Any, Any]:
    """A window with the Annotate dock."""
    import napari
    from annotate import settle

    from napari_cupre.widgets.session import Session

    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.window.add_plugin_dock_widget("napari-cupre", "Annotate")
    settle(2)
    return viewer, Session.of(viewer)


def saving(folder: Path, side: int) -> None:
    """Gestures on a large image, and the saves that follow."""
    from annotate import settle, wait_for
    from mouse import Mouse

    from napari_cupre.widgets.tools import Tool

    path = folder / "large.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (side, side), np.uint8))
    viewer, session = new_window()
    session.image = viewer.open(str(path))[0]
    session.tools.take(Tool.DRAW)
    settle(2)
    mouse, held = Mouse(viewer), []
    for number in range(12):
        top, left = (side * at // 8 for at in (1 + number // 4, 1 + number % 4))
        corners = [(top, left), (top, left + 60), (top + 60, left + 60), (top + 60, left)]
        mouse.press(corners[0])
        for corner in corners[1:]:
            mouse.pull(corner)
        began, busy = time.perf_counter(), time.thread_time()
        mouse.release(corners[-1])
        held.append((time.perf_counter() - began, time.thread_time() - busy))
        settle(1)
    wait_for(lambda: not session.keeper.is_dirty)
    copies = [(wall, wall) for wall in session.keeper.gui_seconds]
    print(f"{side} px: a drawn cell holds the window {ms(held)}")
    print(f"{side} px: a save holds it {ms(copies)}, {len(copies)} saves")
    viewer.close()
    settle(0.5)


def stepping(folder: Path, count: int) -> None:
    """From one image of a queue to the next."""
    from annotate import settle, wait_for
    from mouse import Mouse
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication

    plate = folder / "plate"
    plate.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (2048, 2048), np.uint8)
        tifffile.imwrite(plate / f"well_{number + 1}.tif", pixels)
    viewer, session = new_window()
    session.queue.add_files([plate])
    wait_for(lambda: session.image is not None and session.image.name == "well_1")
    mouse, took = Mouse(viewer), []
    for number in range(2, count + 1):
        wait_for(lambda number=number: f"well_{number}" in session.queue._read)
        settle(0.5)
        began, busy = time.perf_counter(), time.thread_time()
        mouse.key(Qt.Key.Key_Period)
        QApplication.processEvents()  # painted
        took.append((time.perf_counter() - began, time.thread_time() - busy))
        if session.image.name != f"well_{number}":
            raise AssertionError(f"{session.image.name} is on show instead of well_{number}")
    print(f"2048 px: the next image is there after {ms(took)}")
    viewer.close()
    settle(0.5)


def ms(times: list[tuple[float, float]]) -> str:
    """Median and worst by the clock, and median in the processor's time."""
    wall, busy = 1000 * np.array(times).T
    return f"{np.median(wall):.0f} ms (worst {wall.max():.0f}; processor {np.median(busy):.0f})"


if __name__ == "__main__":
    main()
