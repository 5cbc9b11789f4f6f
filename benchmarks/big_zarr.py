"""An OME-Zarr larger than memory: peak memory and time per megapixel must not grow with its size.

Run: python benchmarks/big_zarr.py [--model cupre] [--sides 10000 20000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from measure import fluorescence_field, machine, watched_memory

from napari_cupre.io.images import read_image
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.big import predict_big
from napari_cupre.prediction.predict_options import PredictOptions


def write_slide(path: Path, side: int) -> float:
    """A plain Zarr of so many px a side, made of one field; returns the cells' diameter."""
    image, _, diameter = fluorescence_field()
    array = zarr.create_array(path, shape=(side, side), chunks=(512, 512), dtype="uint8")
    for top in range(0, side, 1024):
        for left in range(0, side, 1024):
            part = image[: min(1024, side - top), : min(1024, side - left)]
            array[top : top + part.shape[0], left : left + part.shape[1]] = part
    return diameter


def one_size(model: str, side: int, answers) -> None:  # type: ignore[no-untyped-def]
    """Runs in a process of its own, so that peaks do not add up."""
    with tempfile.TemporaryDirectory() as folder:
        diameter = write_slide(Path(folder) / "slide.zarr", side)
        image = read_image(Path(folder) / "slide.zarr", "YX")
        network = open_model(model, "cpu")
        with watched_memory(0.05) as memory:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in predict_big(network, image, Path(folder) / "out.zarr", PredictOptions(diameter)):
                pass
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        cells = zarr.open_group(Path(folder) / "out.zarr", mode="r").attrs["napari_cupre"]["cells"]
    answers.put((side, cells, wall, cpu, memory.peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--sides", type=int, nargs="+", default=[10000, 20000])
    args = parser.parse_args()
    print(machine())
    context = multiprocessing.get_context("spawn")
    for side in args.sides:
        answers = context.SimpleQueue()
        process = context.Process(target=one_size, args=(args.model, side, answers))
        process.start()
        process.join()
        side, cells, wall, cpu, peak = answers.get()
        pixels = np.square(side / 1e3)
        print(
            f"{side} px: {cells} cells, {wall / pixels:.2f} s wall and {cpu / pixels:.2f} s cpu per "
            f"megapixel, peak {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
