"""Read windows of images of any size: piece by piece where the format allows it; small images whole.

The unlabelled images of a pretraining run may be thumbnails or slides; a crop of either takes about as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.data.normalise import Stretch
from napari_cupre.io.images import read_image, scenes
from napari_cupre.io.inputs import images_in
from napari_cupre.io.lru import Recent


@dataclass
class ReadablePlane:
    """One plane of an image, to be read window by window.

    Attributes
    ----------
    pixels : Any
        (Y, X) or (Y, X, 3), numpy, or dask where the file is large.
    stretch : Stretch
        Stretch of the whole plane, so that grey values are the same in all its windows.
    """

    pixels: Any
    stretch: Stretch

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return int(self.pixels.shape[1])

    def window(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        """Read a window.

        Returns
        -------
        numpy.ndarray
            float32 (height, width, C), normalised; C is 1 for grey, even if stored as colour, and 3 for
            colour.
        """
        window = self.stretch(np.asarray(self.pixels[y : y + height, x : x + width]))
        return window[..., :1] if (window[..., 1:] == window[..., :1]).all() else window


@dataclass
class OpenImage:
    """An opened image, with the planes that were used so far."""

    image: CellImage
    planes: dict[tuple[tuple[int, ...], int | None], ReadablePlane] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Return the bytes in memory; an image that is read by window needs next to none."""
        return 0 if self.image.is_lazy else int(np.asarray(self.image.data).nbytes)

    def draw_plane(self, rng: np.random.Generator) -> ReadablePlane:
        """Draw a random plane out of all times, depths and stains."""
        sizes = self.image.sizes
        index = {axis: int(rng.integers(sizes[axis])) for axis in "TZ" if axis in sizes}
        channel = int(rng.integers(sizes["C"])) if "C" in sizes else None
        key = (tuple(index.values()), channel)
        if key not in self.planes:
            channels = None if channel is None else [channel]
            self.planes[key] = ReadablePlane(
                self.image.lazy_plane(index, channels), self.image.stretch(index, channels)
            )
        return self.planes[key]


class ImageCache:
    """The images used last, up to a number of bytes of pixels and a number of images.

    It lives in one loader worker; memory is bounded by these two numbers, however many files there are.
    """

    def __init__(self, max_bytes: int = 256 * 2**20, max_images: int = 256) -> None:
        self._images: Recent[Path, OpenImage] = Recent(max_bytes, max_images)
        self._in_file: Recent[Path, list[Path]] = Recent(max_images)

    def draw(self, file: Path, rng: np.random.Generator) -> OpenImage:
        """Open a random image of a file; a file with a single image uses up no random number.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        found = self._in_file.get(file, lambda: images_in(file), lambda _: 1)
        return self.get(found[int(rng.integers(len(found)))] if len(found) > 1 else found[0])

    def get(self, path: Path) -> OpenImage:
        """Open an image, or take it from the cache.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        return self._images.get(path, lambda: OpenImage(read_image(path)), lambda image: image.nbytes)


def image_sizes(path: Path) -> list[tuple[int, int]]:
    """Read height and width of each image of a file from the header, without decoding a pixel.

    Raises whatever the reader of the format raises.
    """
    sizes = [dict(zip(scene.axes, scene.shape)) for scene in scenes(path) if not scene.is_extra]
    return [(size["Y"], size["X"]) for size in sizes]
