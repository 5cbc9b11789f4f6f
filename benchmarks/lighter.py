"""Compare a model and its lighter form on real images: same cells, accuracy, speed.

Run: napari-cupre models export cupre light.safetensors --format openvino
     python benchmarks/lighter.py cupre light.safetensors [--images 16] [--threads 1]

Images come from the part of BBBC038 that may be used with labels (`split.py`), never from its test parts;
every image is scaled by the median diameter of its annotated cells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import imageio.v3 as iio
import numpy as np
import torch
from measure import machine
from split import bbbc038_split, data_folder

from napari_cupre.data.image import normalise
from napari_cupre.data.labels import median_diameter
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plane import predict_plane


def shots(kind: str, count: int, seed: int = 11) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised images and labels."""
    root = data_folder() / "bbbc038"
    for name in np.random.default_rng(seed).choice(bbbc038_split()[f"shots_{kind}"], count, replace=False):
        image = iio.imread(root / "images" / f"{name}.png")
        yield normalise(image), iio.imread(root / "labels" / f"{name}.png").astype(np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("lighter")
    parser.add_argument("--images", type=int, default=16, help="of each kind")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    detectors = [Detector(open_model(name, "cpu")) for name in (args.model, args.lighter)]
    print(machine())
    for kind in ("fluorescence", "histology"):
        seconds, ap50, shared = np.zeros(2), np.zeros(2), np.zeros(3)
        for image, truth in shots(kind, args.images):
            diameter, labels = median_diameter(truth), []
            for number, detector in enumerate(detectors):
                start = time.process_time()
                labels.append(predict_plane(detector, image, diameter=diameter).labels)
                seconds[number] += time.process_time() - start
                right, extra, missed = match_instances(truth, labels[-1]).counts(0.5)
                ap50[number] += right / max(right + extra + missed, 1) / args.images
            shared += match_instances(*labels).counts(0.5)
        f1 = 2 * shared[0] / max(2 * shared[0] + shared[1] + shared[2], 1)
        print(
            f"{kind}: AP@.5 {ap50[0]:.3f} and {ap50[1]:.3f}, F1@.5 between them {f1:.3f}, "
            f"{seconds[0]:.1f} and {seconds[1]:.1f} s cpu"
        )


if __name__ == "__main__":
    main()
