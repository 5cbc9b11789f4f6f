"""What the benchmarks share: time, memory, the machine's name, and one field to look at."""

from __future__ import annotations

import csv
import os
import platform
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import imageio.v3 as iio
import numpy as np
import psutil
from split import data_folder


@dataclass
class Memory:
    """Peak of the resident memory above the start, in MB; filled when the block ends."""

    above_start: float = 0.0
    peak: float = 0.0


@contextmanager
def watched_memory(seconds: float = 0.005):
    """Watch this process's resident memory while a block runs."""
    process, memory, over = psutil.Process(), Memory(), threading.Event()
    start = process.memory_info().rss
    highest = [start]

    def watch() -> None:
        while not over.wait(seconds):
            highest[0] = max(highest[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()
        highest[0] = max(highest[0], process.memory_info().rss)
        memory.above_start, memory.peak = (highest[0] - start) / 1e6, highest[0] / 1e6


def timed(repeats: int, run: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Wall and processor seconds of each of some runs, after one that is not counted."""
    run()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return walls, cpus


def best_of(repeats: int, run: Callable[[], object]) -> tuple[float, float]:
    """Least wall and processor seconds of some runs."""
    walls, cpus = timed(repeats, run)
    return min(walls), min(cpus)


def machine() -> str:
    """Processor, cores and load, to print beside figures."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            name = next(line.split(":")[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # only Linux has it
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{name}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


def fluorescence_field(seed: int = 0, side: int = 1024) -> tuple[np.ndarray, np.ndarray, float]:
    """A field of 200-500 real nuclei: four images of BBBC038 side by side.

    Returns
    -------
    uint8 (side, side), int32 labels, and the median diameter in px.
    """
    root = data_folder() / "bbbc038"
    with (root / "index.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["type"] == "fluorescence"]
    fitting = [row["id"] for row in rows if row["height"] == "520" and 90 <= int(row["instances"]) <= 140]
    chosen = np.random.default_rng(seed).choice(fitting, 4, replace=False)
    half = side // 2
    image, labels = np.zeros((side, side), np.uint8), np.zeros((side, side), np.int32)
    for number, name in enumerate(chosen):
        where = (
            slice(half * (number // 2), half * (number // 2 + 1)),
            slice(half * (number % 2), half * (number % 2 + 1)),
        )
        picture = np.asarray(iio.imread(root / "images" / f"{name}.png"))
        picture = (picture if picture.ndim == 2 else picture[..., 0])[:half, :half]
        image[where] = picture.astype(float) * (200 / max(picture.max(), 1))
        part = iio.imread(root / "labels" / f"{name}.png")[:half, :half].astype(np.int32)
        labels[where] = np.where(part > 0, part + labels.max(), 0)
    areas = np.bincount(labels.ravel())[1:]
    return image, labels, float(np.median(2 * np.sqrt(areas[areas > 0] / np.pi)))
