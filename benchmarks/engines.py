"""The same cells with torch and without: AP50 of both engines on real images, and F1 between them.

Run: python benchmarks/engines.py [--images 20] [--model cells]

On images of the part of BBBC038 that may be trained on (`few_shot.parts(kind, "dev", ...)`), with the cell
size estimated. torch computes as it does on this machine, in bfloat16 where that is faster, and in float32,
as ONNX Runtime does.
"""

from __future__ import annotations

import platform
import time

import numpy as np
from few_shot import parts, read
from script import script_parser

from napari_cupre.evaluation.report import evaluate
from napari_cupre.model.device import prediction_dtype
from napari_cupre.model.zoo import bundled_path, open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.graph_detector import GraphDetector
from napari_cupre.prediction.plane import predict_plane


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--images", type=int, default=20, help="of each kind")
    parser.add_argument("--model", default="cells", help="one that ships")
    options = parser.parse_args()
    model = open_model(options.model, "cpu")
    graph, usual, exact = GraphDetector(bundled_path(options.model)), Detector(model), Detector(model)
    exact.engine = model.engine(exact=True)
    finders = {"onnx": graph, "torch": usual, "torch, float32": exact}
    print(f"{platform.platform()}, torch computes in {prediction_dtype(usual.device) or 'float32'}")
    for kind in ("fluorescence", "histology"):
        truths: list[np.ndarray] = []
        found: dict[str, list[np.ndarray]] = {name: [] for name in finders}
        seconds = dict.fromkeys(found, 0.0)
        for identifier in parts(kind, "dev", options.images)[1]:
            image, truth = read(identifier)
            truths.append(truth)
            for name, finder in finders.items():
                start = time.process_time()
                found[name].append(predict_plane(finder, image).labels)
                seconds[name] += time.process_time() - start
        row = [f"{kind}, {len(truths)} images"]
        for name, labels in found.items():
            same = evaluate(labels, found["onnx"])
            row.append(
                f"{name}: AP50 {evaluate(truths, labels).ap50:.4f}, {seconds[name]:.1f} CPU s, "
                f"F1 with onnx {same.pooled.f1:.4f}, least {min(image.f1 for image in same.images):.3f}"
            )
        print("; ".join(row), flush=True)


if __name__ == "__main__":
    main()
