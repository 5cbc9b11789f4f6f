"""How long strokes, clicks and keys hold the window on a plane of 4096 x 4096 px with 2,601 cells.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/stroke.py

Processor time in ms, median and maximum, so that a busy machine does not count.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

SIDE, STEP, RADIUS, TURNS = 4096, 80, 25, 12


def main() -> None:
    """Do each gesture some times, and print what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CUPRE_PROJECTS"] = folder
        measure_all()


def measure_all() -> None:
    """In a window of 1280 x 720."""
    import napari
    from mouse import Mouse
    from qtpy.QtTest import QTest

    from napari_cupre.project.strokes import renew_guesses
    from napari_cupre.widgets.looking import camera_of

    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    _, opened = viewer.window.add_plugin_dock_widget("napari-cupre")
    QTest.qWait(1500)
    rng = np.random.default_rng(0)
    image = viewer.add_image(rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8), name="large")
    session, mouse, labels = opened.session, Mouse(viewer), discs()
    cells = session.make_cells(image)
    tell(
        "find", [timed(lambda: cells.do(renew_guesses(cells.cells, labels, rng.uniform(0, 1, labels.max()))))]
    )
    camera = camera_of(viewer)
    camera.center, camera.zoom = (0, SIDE / 2, SIDE / 2), 1
    viewer.layers.selection.active = cells.layer
    cells.layer.mode, cells.layer.brush_size = "paint", 20
    QTest.qWait(2000)
    presses, moves, releases = [], [], []
    for turn in range(TURNS):
        y, x = SIDE / 2 - 200 + 30 * turn, SIDE / 2 - 300 + 40 * turn
        mouse.move((y, x))
        presses.append(timed(lambda at=(y, x): mouse.press(at)))
        for d in (20, 40, 60):
            QTest.qWait(30)
            moves.append(timed(lambda at=(y + d / 2, x + d): mouse.drag_to(at)))
        releases.append(timed(lambda at=(y + 30, x + 60): mouse.release(at)))
        QTest.qWait(300)
    tell("brush: press", presses)
    tell("brush: move", moves)
    tell("brush: release", releases)
    cells.layer.mode = "pan_zoom"
    for name, action in (
        ("undo", cells.undo),
        ("redo", cells.redo),
        ("next guess", lambda: session.gestures.step(1)),
        ("accept it", session.gestures.accept),
        ("certainty", lambda: setattr(cells, "certainty", float(rng.uniform(0, 1)))),
    ):
        tell(name, repeated(action))
    viewer.close()


def discs() -> np.ndarray:
    """A label image of discs in rows."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    rows, columns = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disc = rows**2 + columns**2 <= RADIUS**2
    centres = range(STEP // 2, SIDE - STEP // 4, STEP)
    for number, (y, x) in enumerate(((y, x) for y in centres for x in centres), start=1):
        labels[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1][disc] = number
    return labels


def timed(action: Callable[[], Any]) -> float:
    """Processor time of an action in ms."""
    began = time.process_time()
    action()
    return 1000 * (time.process_time() - began)


def repeated(action: Callable[[], Any]) -> list[float]:
    """Of some turns, with a pause between them."""
    from qtpy.QtTest import QTest

    taken = []
    for _ in range(TURNS // 2):
        taken.append(timed(action))
        QTest.qWait(300)
    return taken


def tell(name: str, taken: list[float]) -> None:
    """Print a line."""
    print(f"{name:16} {np.median(taken):7.1f} {max(taken):7.1f}", flush=True)


if __name__ == "__main__":
    main()
