"""A folder of small images: what each costs beyond the network, with and without overlapping steps.

Run: python benchmarks/many_files.py [--model cupre] [--files 1000] [--rounds 3] [--side 256]

Each round predicts the files both ways, one after the other, so that a busy machine meets both alike.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import imageio.v3 as iio
from measure import fluorescence_field, machine

from napari_cupre.model.network import CellRCNN
from napari_cupre.prediction import file_runs
from napari_cupre.prediction.one_process import in_this_process
from napari_cupre.prediction.onefile import FileJob, iter_file, ready_detector
from napari_cupre.prediction.predict_options import PredictOptions


class Cost(NamedTuple):
    """Milliseconds of one file: on the clock, of the processor, and of the thread that runs the network."""

    wall: float
    processor: float
    thread: float


def clocks() -> Cost:
    return Cost(1e3 * time.perf_counter(), 1e3 * time.process_time(), 1e3 * time.thread_time())


def apart(job: FileJob, paths: list[str]) -> Iterator[Any]:
    """One file after the other, each step after the one before."""
    for path in paths:
        outcome = yield from iter_file(job, path)
        yield outcome


WAYS = {"overlapping": in_this_process, "one after the other": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--format", default="tif")
    args = parser.parse_args()
    image, _, diameter = fluorescence_field()
    spent: list[Cost] = []
    detect = CellRCNN.detect

    def timed(self, *inputs, **more):  # type: ignore[no-untyped-def]
        start = clocks()
        try:
            return detect(self, *inputs, **more)
        finally:
            spent.append(Cost(*(now - then for now, then in zip(clocks(), start))))

    CellRCNN.detect = timed  # type: ignore[method-assign]
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(args.files):
            top = 7 * number % (image.shape[0] - args.side)
            left = 13 * number % (image.shape[1] - args.side)
            paths.append(Path(folder) / f"field{number:05d}.png")
            iio.imwrite(paths[-1], image[top : top + args.side, left : left + args.side])
        options = PredictOptions(diameter=diameter)
        job = FileJob(args.model, f"{folder}/out", tuple(args.format.split(",")), options, device="cpu")
        ready_detector(job)
        found: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in WAYS}
        for _ in range(args.rounds):
            for name, way in WAYS.items():
                file_runs.in_this_process = way  # type: ignore
                shutil.rmtree(job.out, ignore_errors=True)
                spent.clear()
                start = clocks()
                for _ in file_runs.predict_files(job, paths):
                    pass
                whole = Cost(*((now - then) / args.files for now, then in zip(clocks(), start)))
                network = Cost(*(sum(column) / args.files for column in zip(*spent)))
                found[name].append((whole, network))
    print(f"{args.files} files of {args.side} px as {args.format}, medians of {args.rounds}, ms per file")
    for name, runs in found.items():
        whole, network = (Cost(*map(median, zip(*part))) for part in zip(*runs))
        print(f"{name}: {whole.wall:.1f} on the clock, {network.wall:.1f} of it in the network")
        more = Cost(*(median(each[0][place] - each[1][place] for each in runs) for place in range(3)))
        print(f"  beyond it {more.wall:.1f} on the clock, {more.thread:.1f} of its thread's processor time")
    print(machine())


if __name__ == "__main__":
    main()
