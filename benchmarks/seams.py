"""The tiled result of images that fit in one piece beside the untiled one: F1@.5.

Run: python benchmarks/seams.py [--model cupre] [--images 3] [--tiles 256 384]
     python benchmarks/seams.py --fields 2 --tiles 0        # four fields in one image; tiles as by default
"""

from __future__ import annotations

import argparse

import numpy as np
from measure import fluorescence_field, machine

from napari_cupre.data.image import normalise
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plan import plan_plane
from napari_cupre.prediction.plane import predict_plane


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--fields", type=int, default=1, help="fields of 1024 px along each side of an image")
    parser.add_argument("--tiles", type=int, nargs="+", default=[256, 384], help="network px; 0 = default")
    args = parser.parse_args()
    detector = Detector(open_model(args.model, "cpu"))
    print(machine())
    for seed in range(args.images):
        image, diameter = mosaic(seed, args.fields)
        plane = normalise(image)
        whole = predict_plane(detector, plane, diameter=diameter, tile=max(image.shape))
        for tile in (size or None for size in args.tiles):
            count = len(plan_plane(image.shape, detector.diameter, diameter, tile).tiles)
            tiled = predict_plane(detector, plane, diameter=diameter, tile=tile)
            right, extra, missed = match_instances(whole.labels, tiled.labels).counts(0.5)
            f1 = 2 * right / max(2 * right + extra + missed, 1)
            print(
                f"field {seed}, tile {tile or 'default'} ({count} tiles): {len(whole)} cells untiled, "
                f"{len(tiled)} tiled, {extra} extra, {missed} missed, F1@.5 {f1:.4f}"
            )


def mosaic(seed: int, side: int) -> tuple[np.ndarray, float]:
    """`side` times `side` different fields, and the mean of their diameters."""
    fields = [fluorescence_field(seed * side * side + number) for number in range(side * side)]
    rows = [np.hstack([f[0] for f in fields[side * row : side * row + side]]) for row in range(side)]
    return np.vstack(rows), float(np.mean([f[2] for f in fields]))


if __name__ == "__main__":
    main()
