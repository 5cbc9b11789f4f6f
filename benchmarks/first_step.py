"""How long *Train* takes until the first step is done and until the first preview is shown, in a real window.

Run: xvfb-run -a python benchmarks/first_step.py [--wait 20]

An image with annotated cells lies open, the docks are opened by napari's own door, and *Train* is pressed
after a while, in which a user would mark cells and the engine starts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from os import environ

from measure import machine
from qtpy.QtCore import QEventLoop, QTimer
from script import script_parser
from stall import add_annotated_images, open_widgets
from window import settle


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--wait", type=float, default=20.0, help="seconds between the docks and *Train*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as models:
        environ["NAPARI_CUPRE_MODELS"] = models
        print(machine())
        print("first step after {:.2f} s, first preview after {:.2f} s".format(*measure(options.wait)))


def measure(wait: float) -> tuple[float, float]:
    """Seconds from the press to the first step in the curve, and to the first change of the preview."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1300, 900)
    add_annotated_images(viewer, 1)
    (_, train, _), _ = open_widgets(viewer)
    settle(wait)
    train.minutes.setValue(2)
    train.live.setChecked(True)
    start = time.perf_counter()
    train.button.click()
    wait_idly(lambda: len(train.job.curve.steps) > 0)
    step = time.perf_counter() - start
    wait_idly(lambda: any("preview" in layer.name.lower() and layer.data.any() for layer in viewer.layers))
    preview = time.perf_counter() - start
    train.button.click()
    wait_idly(lambda: not train.job.status.is_active)
    viewer.close()
    return step, preview


def wait_idly(condition: Callable[[], bool]) -> None:
    """Let the window wait as for a user: `window.wait_for` asks so often that a core is busy with it."""
    loop, timer = QEventLoop(), QTimer()
    timer.timeout.connect(lambda: loop.quit() if condition() else None)
    timer.start(10)
    loop.exec()


if __name__ == "__main__":
    main()
