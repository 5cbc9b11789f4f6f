"""Ready labels of one 1024 x 1024 field of 200-500 nuclei: time, memory, and where the time goes.

Run: python benchmarks/predict_field.py [--model cupre] [--threads 2] [--estimate] [--peers PYTHON ...]

A file that `napari-cupre models export cupre fast.safetensors --format openvino` wrote shows what the extra
`fast` gives: `--model fast.safetensors`. `--peers` names interpreters of environments in which stardist or
cellpose is installed (`python -m venv peer; peer/bin/pip install stardist tensorflow`); each fetches its
own weights, so that the first run needs the network. StarDist without weights is timed with random ones of
the same layout: its network alone, a lower bound.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import best_of, fluorescence_field, machine, watched_memory

from napari_cupre.data.image import normalise
from napari_cupre.evaluate import evaluate
from napari_cupre.model.engine import Engine
from napari_cupre.model.zoo import open_model
from napari_cupre.predict.detector import Detector
from napari_cupre.predict.plane import predict_plane

PEER = """
import resource, sys, time
import numpy as np
image = np.load(sys.argv[1])
try:
    from stardist.models import Config2D, StarDist2D
    from csbdeep.utils import normalize
    try:
        model = StarDist2D.from_pretrained("2D_versatile_fluo")
    except Exception as error:
        print("no weights of stardist (", error, "): random ones, which find nothing", file=sys.stderr)
        model = StarDist2D(Config2D(n_rays=32, grid=(2, 2), n_channel_in=1), name=None, basedir=None)
        model.thresholds = dict(prob=1.0, nms=0.4)
    name, run = "stardist", lambda: model.predict_instances(normalize(image))[0]
except ModuleNotFoundError:
    from cellpose import models
    model = models.CellposeModel(gpu=False)
    name, run = "cellpose", lambda: model.eval(image)[0]
run()
wall, cpu = time.perf_counter(), time.process_time()
labels = run()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(f"{name}: {labels.max()} found, {wall:.2f} s wall, {cpu:.2f} s cpu, peak {peak:.0f} MB")
"""
"""What an interpreter with a peer runs; the second of two predictions counts."""


class Timed:
    """An engine that counts the processor seconds of its parts."""

    def __init__(self, inner: Engine) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.maps = self._timed("backbone, neck, proposal head", inner.maps)
        self.box = self._timed("box head", inner.box)
        self.mask = self._timed("mask head", inner.mask)

    def _timed(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = time.process_time()
            try:
                return run(*args)
            finally:
                self.seconds[name] += time.process_time() - start

        return timed


def run_peer(python: str, image: np.ndarray) -> None:
    """Print what a peer needs for the same field, or why it cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.npy"
        np.save(path, image)
        done = subprocess.run([python, "-c", PEER, str(path)], capture_output=True, text=True)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    print(lines[-1] if lines else f"{python} gave nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--estimate", action="store_true", help="also estimate the diameter")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PYTHON", help="interpreters with a peer")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image, truth, diameter = fluorescence_field()
    detector = Detector(open_model(args.model, "cpu"))
    given = None if args.estimate else diameter
    print(machine(), f"torch {torch.__version__}", type(detector.engine).__name__, sep=", ")
    with watched_memory() as memory:
        wall, cpu = best_of(3, lambda: predict_plane(detector, normalise(image), diameter=given))
    cells = predict_plane(detector, normalise(image), diameter=given)
    score = evaluate([truth], [cells.labels])
    count = len(np.unique(truth)) - 1
    print(f"{count} nuclei of {diameter:.0f} px, {len(cells)} found, AP@.5 {score.ap50:.2f}")
    print(f"{wall:.2f} s wall, {cpu:.2f} s cpu")
    print(f"peak {memory.peak:.0f} MB, {memory.above_start:.0f} MB above the process before it")
    detector.engine = timed = Timed(detector.engine)
    start = time.process_time()
    predict_plane(detector, normalise(image), diameter=given)
    total = time.process_time() - start
    shares = ", ".join(f"{name} {value:.2f}" for name, value in timed.seconds.items())
    print(f"cpu s: {shares}, rest {total - sum(timed.seconds.values()):.2f}")
    for python in args.peers:
        run_peer(python, image)


if __name__ == "__main__":
    main()
