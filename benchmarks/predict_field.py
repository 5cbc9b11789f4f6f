"""Ready labels of one 1024 x 1024 field of 200-500 nuclei: time, memory, and where the time goes.

Run: python benchmarks/predict_field.py [--model cupre] [--threads 2] [--estimate] [--peers PYTHON ...]

A file that `napari-cupre models export cupre fast.safetensors --format openvino` wrote shows what the extra
`fast` gives: `--model fast.safetensors`. `--peers` names interpreters of environments in which stardist or
cellpose is installed (`python -m venv peer; peer/bin/pip install stardist tensorflow`); each fetches its
own weights, so that the first run needs the network. Where StarDist's cannot be had, a network of the same
layout learns this very field for two minutes: it is to find as many nuclei as it would, since what it finds
costs time; how well is no matter here. `--stock` times torchvision's `maskrcnn_resnet50_fpn_v2` with random
weights that give as many detections.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
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
from napari_cupre.evaluation import evaluate
from napari_cupre.model.engine import Engine
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plane import predict_plane

PEER = """
import resource, sys, time
from pathlib import Path
import numpy as np
field, kept = np.load(sys.argv[1]), Path(sys.argv[2])
image, truth = field["image"], field["truth"]
try:
    from stardist.models import Config2D, StarDist2D
    from csbdeep.utils import normalize
    scaled = normalize(image)
    try:
        model = StarDist2D.from_pretrained("2D_versatile_fluo")
    except Exception as error:
        print("no weights of stardist:", error, file=sys.stderr)
        if not kept.is_dir():
            layout = dict(n_rays=32, grid=(2, 2), n_channel_in=1, train_patch_size=(256, 256))
            layout = Config2D(**layout, train_tensorboard=False)
            model = StarDist2D(layout, name=kept.name, basedir=str(kept.parent))
            model.train([scaled], [truth], ([scaled], [truth]), epochs=8, steps_per_epoch=40)
            sys.exit()
        model = StarDist2D(None, name=kept.name, basedir=str(kept.parent))
        model.thresholds = dict(prob=0.4, nms=0.4)
    name, run = "stardist", lambda: model.predict_instances(scaled)[0]
except ModuleNotFoundError:
    from cellpose import models
    model = models.CellposeModel(gpu=False)
    name, run = "cellpose", lambda: model.eval(image)[0]
run()
walls, cpus = [], []
for _ in range(3):
    wall, cpu = time.perf_counter(), time.process_time()
    labels = run()
    walls.append(time.perf_counter() - wall)
    cpus.append(time.process_time() - cpu)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(f"{name}: {labels.max()} found, {min(walls):.2f} s wall, {min(cpus):.2f} s cpu, peak {peak:.0f} MB")
"""
"""What an interpreter with a peer runs; the best of three predictions counts, as for ours."""


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


STOCK = """
import resource, sys, time
import numpy as np
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2
threads, count = int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
image = torch.from_numpy(np.load(sys.argv[1])["image"].astype(np.float32) / 255).expand(3, -1, -1)
torch.manual_seed(0)
network = maskrcnn_resnet50_fpn_v2(
    weights=None, weights_backbone=None, box_score_thresh=0.0, box_detections_per_img=count
).eval()

def run():
    with torch.inference_mode():
        found = network([image])[0]
    labels = np.zeros(image.shape[1:], np.int32)
    for number, mask in enumerate(found["masks"][:, 0], start=1):
        labels[mask.numpy() >= 0.5] = number
    return len(found["masks"])

run()
wall, cpu = time.perf_counter(), time.process_time()
found = run()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(f"maskrcnn_resnet50_fpn_v2: {found} instances, {wall:.2f} s wall, {cpu:.2f} s cpu, peak {peak:.0f} MB")
"""
"""torchvision's stock network at its own size (the shorter side 800 px), made into labels."""


def run_other(python: str, program: str, field: Path, *arguments: object) -> None:
    """Print what another program needs for the same field, or why it cannot run."""
    done = subprocess.run(
        [python, "-c", program, str(field), *map(str, arguments)], capture_output=True, text=True
    )
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    print(lines[-1] if lines else f"{python} gave nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--estimate", action="store_true", help="also estimate the diameter")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PYTHON", help="interpreters with a peer")
    parser.add_argument("--stock", action="store_true", help="torchvision's stock network too")
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
    with tempfile.TemporaryDirectory() as folder:
        field = Path(folder) / "field.npz"
        np.savez(field, image=image, truth=truth)
        for number, python in enumerate(args.peers):
            kept = Path(folder) / f"peer{number}"
            run_other(python, PEER, field, kept)
            if kept.is_dir():  # it has learned; time it in a process that has not
                run_other(python, PEER, field, kept)
        if args.stock:
            run_other(sys.executable, STOCK, field, args.threads, count)


if __name__ == "__main__":
    main()
