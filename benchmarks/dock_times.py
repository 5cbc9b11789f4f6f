"""How long a dock takes to open in a window that has an image and 100 cells.

Run: python benchmarks/dock_times.py

Compare processor time: other programs and the virtual screen lengthen the clock's. Python's compiled files
must be there, as pip leaves them (`python -m compileall src`).
"""

from __future__ import annotations

import time

import napari
import numpy as np
from measure import machine
from qtpy.QtWidgets import QApplication
from window import settle

SIDE, CELL = 1024, 100


def main() -> None:
    print(machine())
    viewer = napari.Viewer()
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), np.uint8), name="image")
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number in range(100):
        top, left = (CELL * place + 20 for place in divmod(number, 10))
        labels[top : top + 40, left : left + 40] = number + 1
    viewer.add_labels(labels, name="cells")
    settle(5)  # napari itself has things to do after its start
    for name in ("Annotate", "Train", "Predict"):
        start = time.perf_counter(), time.process_time(), time.thread_time()
        viewer.window.add_plugin_dock_widget("napari-cupre", name)
        for _ in range(5):
            QApplication.processEvents()  # until it is drawn, and what drawing asks for is done
        end = time.perf_counter(), time.process_time(), time.thread_time()
        wall, processor, thread = (1e3 * (late - early) for late, early in zip(end, start))
        print(f"{name}: {wall:.0f} ms on the clock, {processor:.0f} of processor ({thread:.0f} its thread's)")
        settle(2)
    viewer.close()
    settle(0.5)


if __name__ == "__main__":
    main()
