"""Ready labels of one 1024 x 1024 field of 200-500 nuclei: time, memory, and where the time goes.

Run: python benchmarks/predict_field.py [--model cupre] [--threads 2] [--estimate]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np
import torch
from measure import best_of, fluorescence_field, machine, watched_memory

from napari_cupre.data.image import normalise
from napari_cupre.evaluate import evaluate
from napari_cupre.model.zoo import open_model
from napari_cupre.predict.plane import predict_plane


def parts(network: torch.nn.Module) -> dict[str, float]:
    """Processor seconds of the network's parts from now on, by wrapping them."""
    seconds: dict[str, float] = defaultdict(float)
    owners = {
        "backbone": network.backbone,
        "neck": network.neck,
        "proposals": network.rpn,
        "box regions": network.heads.box_pool,
        "box head": network.heads.box,
        "mask regions": network.heads.mask_pool,
        "mask head": network.heads.mask,
    }
    for name, owner in owners.items():
        inner = owner.forward

        def timed(*args, _inner=inner, _name=name, **more):  # type: ignore[no-untyped-def]
            start = time.process_time()
            try:
                return _inner(*args, **more)
            finally:
                seconds[_name] += time.process_time() - start

        owner.forward = timed
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--estimate", action="store_true", help="also estimate the diameter")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image, truth, diameter = fluorescence_field()
    model = open_model(args.model, "cpu")
    given = None if args.estimate else diameter
    print(machine(), f"torch {torch.__version__}", sep=", ")
    with watched_memory() as memory:
        wall, cpu = best_of(3, lambda: predict_plane(model, normalise(image), diameter=given))
    cells = predict_plane(model, normalise(image), diameter=given)
    score = evaluate([truth], [cells.labels])
    count = len(np.unique(truth)) - 1
    print(f"{count} nuclei of {diameter:.0f} px, {len(cells)} found, AP@.5 {score.ap50:.2f}")
    print(f"{wall:.2f} s wall, {cpu:.2f} s cpu")
    print(f"peak {memory.peak:.0f} MB, {memory.above_start:.0f} MB above the process before it")
    seconds = parts(model.network)
    start = time.process_time()
    predict_plane(model, normalise(image), diameter=diameter)
    total = time.process_time() - start
    shares = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    print(f"cpu s: {shares}, rest {total - sum(seconds.values()):.2f}")


if __name__ == "__main__":
    main()
