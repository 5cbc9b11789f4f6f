"""What a glance at a large image costs: AP50 and processor seconds with and without it, sizes estimated.

Run: python benchmarks/glance.py [--images 8] [--models cupre cells]

Images outside the test part, and fields of four images of BBBC038 side by side. Those of BBBC038 are made
four times as large, as no glance is taken at small ones. `F1` is that of the cells with and without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from few_shot import parts, read
from measure import fluorescence_field
from scipy.ndimage import zoom
from script import script_parser

from napari_cupre.data.image import normalise
from napari_cupre.evaluation.report import evaluate
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction import diameter
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plane import predict_plane

ENLARGED = {"fluorescence": 4, "histology": 4, "fly_embryos": 1, "phase_contrast_t98g": 1, "sem_powder": 1}
BELOW = {"without": 0.0, "with": diameter.GLANCE_BELOW}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--images", type=int, default=8, help="of each kind")
    parser.add_argument("--models", nargs="+", default=["cupre", "cells"], help="that ship, or files")
    options = parser.parse_args()
    for name in options.models:
        detector = Detector(open_model(name, "cpu"))
        for kind in ("fields", *ENLARGED):
            compare(f"{name}, {kind}", detector, list(images(kind, options.images)))


def images(kind: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised images, float32 (Y, X, 3), and their labels."""
    if kind == "fields":
        for seed in range(min(count, 4)):
            field, truth, _ = fluorescence_field(seed)
            yield normalise(field), truth
        return
    factor = ENLARGED[kind]
    for stem in parts(kind, "dev", count)[1]:
        image, truth = read(stem, kind)
        enlarged = zoom(image, (factor, factor, 1), order=1)
        yield enlarged, np.kron(truth, np.ones((factor, factor), truth.dtype))


def compare(title: str, detector: Detector, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Print a line."""
    truths = [truth for _, truth in pairs]
    found: dict[str, list[np.ndarray]] = {}
    text = []
    for way, below in BELOW.items():
        diameter.GLANCE_BELOW = below
        start = time.process_time()
        found[way] = [predict_plane(detector, image).labels for image, _ in pairs]
        seconds = time.process_time() - start
        text.append(f"{way} AP50 {evaluate(truths, found[way]).ap50:.3f} in {seconds:.1f} CPU s")
    same = evaluate(found["with"], found["without"])
    least = min(image.f1 for image in same.images)
    print(f"{title}, {len(pairs)}: {'; '.join(text)}; F1 {same.pooled.f1:.3f}, least {least:.3f}", flush=True)


if __name__ == "__main__":
    main()
