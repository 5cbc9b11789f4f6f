"""Seconds to evaluate 20 images of 800 cells: COCO AP as LIVECell takes it, and the matching scores.

Run: python benchmarks/evaluate_speed.py [--images 20] [--cells 800] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from napari_cupre.evaluation import evaluate
from napari_cupre.evaluation.coco_ap import LIVECELL, coco_evaluate


def field(rng: np.random.Generator, cells: int, shape: tuple[int, int] = (520, 704)) -> np.ndarray:
    """Int32 label image of about `cells` touching cells: the Voronoi parts of random points."""
    from scipy.spatial import cKDTree

    points = rng.uniform((0, 0), shape, (cells, 2))
    pixels = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(points).query(pixels)
    return np.where(distance < 12, nearest + 1, 0).reshape(shape).astype(np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--cells", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    truth = [field(rng, options.cells) for _ in range(options.images)]
    predicted = [np.roll(labels, rng.integers(-2, 3, 2), (0, 1)) for labels in truth]

    start = time.perf_counter()
    coco = coco_evaluate(truth, predicted, settings=LIVECELL)
    middle = time.perf_counter()
    report = evaluate(truth, predicted)
    end = time.perf_counter()
    figures = {
        "images": options.images,
        "cells": sum(image.truth_count for image in report.images),
        "coco_seconds": round(middle - start, 2),
        "matching_seconds": round(end - middle, 2),
        "coco_ap": round(coco.ap, 4),
        "ap": round(report.ap, 4),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
