"""StarDist and Cellpose on the images and CPU seconds of `few_shot.py`, from random weights.

    python -m venv sd; sd/bin/pip install stardist==0.9.2 tensorflow-cpu
    python -m venv cp; cp/bin/pip install cellpose==3.1.1.2
    python benchmarks/peers.py --peers stardist=sd/bin/python cellpose=cp/bin/python \
        --kinds fluorescence histology --shots 5 --minutes 1 --tests 20 --out benchmarks/results/peers.csv

Their own weights cannot be fetched here, so both learn from the annotated images alone, as `few_shot.py
--models scratch` does. Each is given the cell width of the annotation: images are scaled so that the cells
have 24 px (StarDist) or 30 px (Cellpose). Test images are scaled alike, and what is found is scaled back.
Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from few_shot import FIELDS, parts, read
from rows import Row, append_row, rows_of
from script import script_parser
from split import LABELLED, TEST_SIZES

DIAMETERS = {"stardist": 24.0, "cellpose": 30.0}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}


def main() -> None:
    options = parse()
    every = itertools.product(range(options.seeds), options.shots, options.kinds, options.peers)
    for seed, shots, kind, peer in every:
        name, interpreter = peer.split("=")
        case: Row = {"model": name, "kind": kind, "shots": shots, "seed": seed, "minutes": options.minutes}
        if rows_of(options.out, case):
            continue
        row = case | {"marked": 1.0} | run(case, interpreter, options.tests)
        append_row(options.out, row, FIELDS)
        print(row, flush=True)


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--peers", nargs="+", required=True, help="stardist=INTERPRETER cellpose=INTERPRETER")
    parser.add_argument("--kinds", nargs="+", default=["fluorescence"], choices=[*TEST_SIZES, *LABELLED])
    parser.add_argument("--shots", nargs="+", type=int, default=[5])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1.0, help="of CPU time")
    parser.add_argument("--tests", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def run(case: Row, interpreter: str, tests: int) -> Row:
    """Train and test one case."""
    from napari_cupre.data.labels import median_diameter
    from napari_cupre.evaluation import evaluate

    kind = str(case["kind"])
    pool, tested = parts(kind, "test", tests)
    chosen = np.random.default_rng([case["seed"], case["shots"]]).permutation(pool)[: case["shots"]]
    taught = [read(identifier, kind) for identifier in chosen]
    own = float(np.median([median_diameter(labels) for _, labels in taught if labels.any()]))
    scale = DIAMETERS[str(case["model"])] / own
    arrays: dict[str, np.ndarray] = {"taught": np.array(len(taught)), "tested": np.array(len(tested))}
    for number, (image, labels) in enumerate(taught):
        arrays[f"image_{number}"] = scaled(plain(image), scale)
        arrays[f"labels_{number}"] = scaled_labels(labels, arrays[f"image_{number}"].shape[:2])
    truth = []
    for number, identifier in enumerate(tested):
        image, labels = read(identifier, kind)
        truth.append(labels)
        arrays[f"test_{number}"] = scaled(plain(image), scale)
    with tempfile.TemporaryDirectory() as folder:
        case_file, found_file = Path(folder) / "case.npz", Path(folder) / "found.npz"
        np.savez(case_file, **arrays)
        script = Path(__file__).with_name("peer_training.py")
        command = [interpreter, str(script), str(case_file), str(found_file), str(60 * case["minutes"])]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run(command, check=True, env=environment | ONE_THREAD, stdout=subprocess.DEVNULL)
        with np.load(found_file) as found:
            steps = int(found["steps"])
            labels = [scaled_labels(found[f"found_{n}"], truth[n].shape) for n in range(len(truth))]
    report = evaluate(truth, labels)
    return {
        "steps": steps,
        "seconds": round(60 * case["minutes"]),
        "cells": sum(len(np.unique(labels)) - 1 for _, labels in taught),
        "ap50": round(report.ap50, 4),
        "ap": round(report.ap, 4),
        "f1": round(report.f1, 4),
    }


def plain(image: np.ndarray) -> np.ndarray:
    """A grey image with one channel instead of three equal ones."""
    grey: np.ndarray = image[..., 0]
    return grey if (image == grey[..., None]).all() else image


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """An image (Y, X) or (Y, X, 3) in another size."""
    from skimage.transform import resize

    shape = [max(16, round(length * scale)) for length in image.shape[:2]]
    resized: np.ndarray = resize(image, (*shape, *image.shape[2:]), order=1, anti_aliasing=scale < 1)
    return resized.astype(np.float32)


def scaled_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A label image in another size."""
    from skimage.transform import resize

    resized: np.ndarray = resize(labels, shape, order=0, preserve_range=True, anti_aliasing=False)
    return resized.astype(np.int32)


if __name__ == "__main__":
    main()
