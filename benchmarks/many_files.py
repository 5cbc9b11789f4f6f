"""A folder of small images: what each costs beyond the network.

Run: python benchmarks/many_files.py [--model cupre] [--files 1000] [--side 256] [--engine torch]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import imageio.v3 as iio
from measure import fluorescence_field, machine

from napari_cupre.model.graph_network import GraphNetwork
from napari_cupre.prediction.engine_choice import ONNX, TORCH, VARIABLE
from napari_cupre.prediction.file_runs import predict_files
from napari_cupre.prediction.onefile import FileJob, ready_detector
from napari_cupre.prediction.predict_options import PredictOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--format", default="tif")
    parser.add_argument("--engine", choices=(TORCH, ONNX), default=TORCH)
    args = parser.parse_args()
    os.environ[VARIABLE] = args.engine
    image, _, diameter = fluorescence_field()
    network = [0.0, 0.0]
    computing: Any = GraphNetwork if args.engine == ONNX else _torch_network()
    detect = computing.detect

    def timed(self, *inputs, **more):  # type: ignore[no-untyped-def]
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return detect(self, *inputs, **more)
        finally:
            network[0] += time.perf_counter() - wall
            network[1] += time.process_time() - cpu

    computing.detect = timed  # type: ignore[method-assign]
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(args.files):
            top = 7 * number % (image.shape[0] - args.side)
            left = 13 * number % (image.shape[1] - args.side)
            paths.append(Path(folder) / f"field{number:05d}.png")
            iio.imwrite(paths[-1], image[top : top + args.side, left : left + args.side])
        job = FileJob(
            args.model,
            str(Path(folder) / "out"),
            tuple(args.format.split(",")),
            PredictOptions(diameter=diameter),
            device="cpu",
            engine=args.engine,
        )
        ready_detector(job)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in predict_files(job, paths):
            pass
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    per = 1e3 / args.files
    beyond = f"{per * (wall - network[0]):.1f} ms wall, {per * (cpu - network[1]):.1f} ms cpu"
    print(f"{args.files} files of {args.side} px as {args.format}: {per * wall:.1f} ms wall each")
    print(f"network {per * network[0]:.1f} ms wall, {per * network[1]:.1f} ms cpu; beyond it {beyond}")


def _torch_network() -> Any:
    from napari_cupre.model.network import CellRCNN  # it imports torch, which ONNX does not need

    return CellRCNN


if __name__ == "__main__":
    main()
