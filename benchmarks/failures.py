"""Where the bundled model fails with no annotation at all: its worst held-out images, as a picture.

    python benchmarks/failures.py [--model cupre] [--each 3] [--out runs/failures.jpg]

Of the test images of `split.py`, those with the lowest AP50 of each kind: the image, the annotation, the
prediction.
"""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from few_shot import read
from measure import machine
from PIL import Image, ImageDraw
from script import script_parser
from skimage.segmentation import find_boundaries
from split import bbbc038_split

from napari_cupre.evaluation import evaluate
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plane import predict_plane

SIDE = 300
GAP = 6


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--each", type=int, default=3, help="images of each kind")
    parser.add_argument("--out", type=Path, default=Path("runs/failures.jpg"))
    options = parser.parse_args()
    detector = Detector(open_model(options.model, "cpu"))
    print(machine())
    rows = []
    for kind in ("fluorescence", "histology"):
        scored = []
        for identifier in bbbc038_split(seed=0)[f"test_{kind}"]:
            image, truth = read(identifier)
            found = predict_plane(detector, image).labels
            scored.append((evaluate([truth], [found]).ap50, identifier, image, truth, found))
        scored.sort(key=lambda entry: entry[0])
        values = np.array([entry[0] for entry in scored])
        quartiles = np.quantile(values, [0.25, 0.5, 0.75])
        print(f"{kind}: AP50 {values.mean():.3f}, quartiles {', '.join(f'{q:.2f}' for q in quartiles)}")
        for ap50, identifier, image, truth, found in scored[: options.each]:
            print(f"  {identifier[:8]}: AP50 {ap50:.2f}, {truth.max()} annotated, {found.max()} found")
            rows.append(row(f"{kind} {identifier[:8]}: AP50 {ap50:.2f}", image, truth, found))
    iio.imwrite(options.out, np.concatenate(rows), quality=85)
    print(f"written {options.out}")


def row(title: str, image: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Image, annotation and prediction beside each other, under a title; uint8 (Y, X, 3)."""
    side = min(*image.shape[:2], SIDE * 2)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    part = (slice(top, top + side), slice(left, left + side))
    picture = np.clip(image[part] / max(float(image[part].max()), 1e-6), 0, 1) ** 0.7
    panels = [picture, outlined(picture, truth[part], (0, 1, 0)), outlined(picture, found[part], (1, 0.4, 0))]
    sheet = Image.new("RGB", (3 * SIDE + 2 * GAP, SIDE + 24), "white")
    for number, panel in enumerate(panels):
        small = Image.fromarray((255 * panel).astype(np.uint8)).resize((SIDE, SIDE))
        sheet.paste(small, (number * (SIDE + GAP), 20))
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate((title, "annotated", "found")):
        draw.text((number * (SIDE + GAP) + 4, 4), text, fill="black")
    return np.asarray(sheet)


def outlined(picture: np.ndarray, labels: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    result = picture.copy()
    result[find_boundaries(labels, mode="inner")] = colour
    return result


if __name__ == "__main__":
    main()
