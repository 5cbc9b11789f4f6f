"""The same cells with torch and without: AP50 of both engines on real images, and F1 between them.

Run: python benchmarks/engines.py [--images 20] [--model cells]

On images of the part of BBBC038 that may be trained on (`few_shot.parts(kind, "dev", ...)`), with the cell size
estimated. torch computes as it does on this machine, in bfloat16 where that is faster; ONNX Runtime in float32.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
from few_shot import parts, read

from napari_cupre.evaluation.report import evaluate_labels
from napari_cupre.model.device import prediction_dtype
from napari_cupre.model.zoo import bundled_path, open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.graph_detector import GraphDetector
from napari_cupre.prediction.plane import predict_plane


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20, help="of each kind")
    parser.add_argument("--model", default="cells", help="one that ships")
    options = parser.parse_args()
    graph, usual = GraphDetector(bundled_path(options.model)), Detector(open_model(options.model, "cpu"))
    print(f"{platform.platform()}, torch computes in {prediction_dtype(usual.device) or 'float32'}")
    for kind in ("fluorescence", "histology"):
        truths: list[np.ndarray] = []
        found: dict[str, list[np.ndarray]] = {"onnx": [], "torch": []}
        seconds = dict.fromkeys(found, 0.0)
        for identifier in parts(kind, "dev", options.images)[1]:
            image, truth = read(identifier)
            truths.append(truth)
            for name, finder in (("onnx", graph), ("torch", usual)):
                start = time.process_time()
                found[name].append(predict_plane(finder, image).labels)
                seconds[name] += time.process_time() - start
        between = evaluate_labels(found["torch"], found["onnx"])
        row = [f"{kind}, {len(truths)} images"]
        for name, labels in found.items():
            row.append(f"{name}: AP50 {evaluate_labels(truths, labels).ap50:.4f}, {seconds[name]:.1f} CPU s")
        row.append(f"between them: F1 {between.pooled.f1:.4f} of all cells, least {min(i.f1 for i in between.images):.3f}")
        print("; ".join(row), flush=True)


if __name__ == "__main__":
    main()
