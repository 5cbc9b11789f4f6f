"""What only a GPU can show: AMT2 beside torchvision, one field's prediction, steps of fine-tuning.

    python3 benchmarks/gpu/timings.py [--device cuda]

Seconds by the wall clock, medians; the device is named first.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from napari_cupre.data.annotation import make_shot
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.synthetic import SyntheticField, draw_field

HERE = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    print(f"{name}, torch {torch.__version__}", flush=True)
    field = draw_field(np.random.default_rng(0), options.side, diameter=24.0)
    print(
        f"field of {options.side} px, {field.labels.max()} cells: {predicted(field, options):.3f} s",
        flush=True,
    )
    steps = steps_per_second(field, options.device)
    print(f"fine-tuning, start and judging included: {steps:.1f} steps a second", flush=True)
    for batch in (4, 16):
        command = [HERE / "pretrain_throughput.py", "--device", options.device, "--batch", str(batch)]
        subprocess.run([sys.executable, *map(str, command), "--repeats", str(options.repeats)], check=True)


def predicted(field: SyntheticField, options: argparse.Namespace) -> float:
    """Seconds of one field, diameter given."""
    detector = Detector(open_model("cupre", options.device))
    seconds = []
    for _ in range(options.repeats + 1):
        start = time.perf_counter()
        predict_plane(detector, field.image, diameter=field.diameter)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def steps_per_second(field: SyntheticField, device: str) -> float:
    """Steps of a training of a quarter of a minute."""
    shot = make_shot(field.image, field.labels, complete=True)
    run = FinetuneRun(open_model("cupre", device), [shot], FinetuneSettings(minutes=0.25, device=device))
    start = time.perf_counter()
    for _ in run.events():
        pass
    return run.step / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
