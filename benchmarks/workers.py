"""Memory of the processes of `napari-cupre predict --workers N`.

Run: python benchmarks/workers.py [--workers 2] [--engine torch] [--spawn]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

import imageio.v3 as iio
import psutil
from measure import fluorescence_field, machine

from napari_cupre.prediction import runners
from napari_cupre.prediction.file_runs import predict_files
from napari_cupre.prediction.onefile import FileJob
from napari_cupre.prediction.predict_options import PredictOptions

SIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", choices=("torch", "onnx"), default="torch")
    parser.add_argument("--spawn", action="store_true", help="each process imports everything itself")
    args = parser.parse_args()
    os.environ["NAPARI_CUPRE_ENGINE"] = args.engine
    if args.spawn:
        runners.way_to_start = lambda engine: multiprocessing.get_context("spawn")
    image, _, diameter = fluorescence_field()
    highest: dict[int, tuple[int, int, int]] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            for child in psutil.Process().children(recursive=True):
                try:
                    memory = child.memory_full_info()
                except psutil.Error:
                    continue
                now = (memory.rss, getattr(memory, "pss", 0), memory.uss)
                before = highest.get(child.pid, (0, 0, 0))
                highest[child.pid] = (max(before[0], now[0]), max(before[1], now[1]), max(before[2], now[2]))

    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(6 * args.workers):
            top, left = 7 * number % SIDE, 13 * number % SIDE
            paths.append(Path(folder) / f"field{number}.png")
            iio.imwrite(paths[-1], image[top : top + SIDE, left : left + SIDE])
        job = FileJob("cupre", f"{folder}/out", options=PredictOptions(diameter=diameter), device="cpu")
        watching = threading.Thread(target=watch)
        watching.start()
        start = time.perf_counter()
        try:
            for _ in predict_files(job, paths, workers=args.workers):
                pass
        finally:
            over.set()
            watching.join()
    print(f"{args.workers} workers, {args.engine}: {time.perf_counter() - start:.1f} s on the clock")
    for rss, pss, uss in highest.values():
        print(f"resident {rss / 1e6:.0f}, its share {pss / 1e6:.0f}, its own {uss / 1e6:.0f} MB")
    print(f"shares together {sum(pss for _, pss, _ in highest.values()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
