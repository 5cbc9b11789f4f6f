"""Which images are taken for noise, and what is found in noise: `prediction/emptiness.py` on trial.

Run: python benchmarks/empty_wells.py [--every 1] [--models cupre nuclei cells]

All real images should be told from noise, and noise of every kind recognised. The second part counts the
cells that the shipped models find in drawn noise, without and with more being asked there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from unittest import mock

import imageio.v3 as iio
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from script import script_parser
from split import data_folder

from napari_cupre.data.image import normalise
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.emptiness import is_noise
from napari_cupre.prediction.plane import predict_plane

FOLDERS = ("bbbc038/images", "labelled/*/images", "unlabelled/*")
SMOOTH = (0.0, 0.5, 0.7, 1.0, 1.5, 2.0)


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every N-th of the real images")
    parser.add_argument("--models", nargs="*", default=["cupre", "nuclei", "cells"])
    options = parser.parse_args()
    drawn = list(noise())
    missed = [name for name, image in drawn if not is_noise(normalise(image))]
    print(
        f"noise recognised: {len(drawn) - len(missed)} of {len(drawn)}; not: {', '.join(missed)}", flush=True
    )
    taken, total = [], 0
    for pattern in FOLDERS:
        for path in sorted(data_folder().glob(f"{pattern}/*"))[:: options.every]:
            image = np.asarray(iio.imread(path)) if path.suffix in (".png", ".jpg", ".tif") else np.zeros(0)
            if image.ndim in (2, 3):
                total += 1
                taken += [path.name] if is_noise(normalise(image[..., :3])) else []
    print(f"real images taken for noise: {len(taken)} of {total}: {', '.join(taken)}", flush=True)
    for name in options.models:
        detector = Detector(open_model(name, "cpu"))
        for title, image in drawn:
            if " 400" in title:
                now = len(predict_plane(detector, normalise(image)))
                with (
                    mock.patch("napari_cupre.prediction.emptiness.is_noise", return_value=False),
                    mock.patch("napari_cupre.prediction.diameter.is_noise", return_value=False),
                ):
                    before = len(predict_plane(detector, normalise(image)))
                print(f"{name}, {title}: {before} -> {now} cells", flush=True)


def noise() -> Iterator[tuple[str, np.ndarray]]:
    """Noise of a camera, of photons, in uneven light and from JPEG files."""
    rng = np.random.default_rng(0)
    for side in (128, 256, 400, 1000):
        light = np.linspace(0, 1, side)[:, None] ** 2 * np.ones((1, side))
        for smooth in SMOOTH:
            grey = gaussian_filter(rng.normal(size=(side, side)), smooth)
            grey = 100 + 4 * grey / grey.std()
            yield f"Gaussian {smooth} {side}", np.round(grey).astype(np.uint8)
            yield f"Gaussian {smooth} {side} 16 bit", (100 * grey).astype(np.uint16)
            yield f"Gaussian {smooth} {side} uneven", grey + 30 * light
        yield f"photons {side}", rng.poisson(5, (side, side)).astype(np.uint16)
        colours = np.clip(100 + 4 * rng.normal(size=(side, side, 3)), 0, 255).astype(np.uint8)
        yield f"colours {side}", colours
        for quality in (90, 75):
            stream = io.BytesIO()
            Image.fromarray(colours[..., 0]).save(stream, "jpeg", quality=quality)
            yield f"JPEG {quality} {side}", np.asarray(Image.open(stream))


if __name__ == "__main__":
    main()
