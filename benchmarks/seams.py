"""The tiled result of images that fit in one piece beside the untiled one: F1@.5.

Run: python benchmarks/seams.py [--model cupre] [--images 3] [--tiles 256 384]
"""

from __future__ import annotations

import argparse

from measure import fluorescence_field, machine

from napari_cupre.data.image import normalise
from napari_cupre.evaluate.matching import match_instances
from napari_cupre.model.zoo import open_model
from napari_cupre.predict.detector import Detector
from napari_cupre.predict.plane import plan_plane, predict_plane


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--tiles", type=int, nargs="+", default=[256, 384])
    args = parser.parse_args()
    detector = Detector(open_model(args.model, "cpu"))
    print(machine())
    for seed in range(args.images):
        image, _, diameter = fluorescence_field(seed)
        plane = normalise(image)
        whole = predict_plane(detector, plane, diameter=diameter)
        for tile in args.tiles:
            count = len(plan_plane(image.shape, detector.diameter, diameter, tile).tiles)
            tiled = predict_plane(detector, plane, diameter=diameter, tile=tile)
            right, extra, missed = match_instances(whole.labels, tiled.labels).counts(0.5)
            f1 = 2 * right / max(2 * right + extra + missed, 1)
            print(
                f"field {seed}, tile {tile} ({count} tiles): {len(whole)} cells untiled, "
                f"{len(tiled)} tiled, {extra} extra, {missed} missed, F1@.5 {f1:.4f}"
            )


if __name__ == "__main__":
    main()
