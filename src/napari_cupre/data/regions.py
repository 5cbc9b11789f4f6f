"""Windows of images of any size: read by region where the format allows, whole where the image is small.

The unlabelled images of a pretraining run may be thumbnails or slides; a crop must cost about the same from either.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.normalise import Stretch, fit_stretch

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".lsm", ".svs")
PLAIN_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
ZARR_SUFFIX = ".zarr"

#: Images up to this many bytes are decoded whole: one sequential read beats many small ones.
WHOLE_BYTES = 64 * 2**20

#: Longest side of the grid of pixels from which an image's stretch is fitted.
_STRETCH_GRID = 256


@dataclass
class RegionImage:
    """An image whose windows can be read.

    Attributes
    ----------
    array : numpy or zarr array of any real dtype.
    axes : one letter per dimension; "Y" and "X" are the plane, "S" colour samples, all others number planes.
    handle : the open file behind the array, if any.
    """

    array: Any
    axes: str
    handle: Any = None
    _stretches: dict[tuple[int, ...], Stretch] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return int(self.array.shape[self.axes.index("Y")])

    @property
    def width(self) -> int:
        return int(self.array.shape[self.axes.index("X")])

    @property
    def nbytes(self) -> int:
        """Bytes held in memory; windows of a file on disk hold none."""
        return int(self.array.nbytes) if isinstance(self.array, np.ndarray) else 0

    def draw_plane(self, rng: np.random.Generator) -> tuple[int, ...]:
        """An index for every axis that is neither Y, X nor colour: a plane, a time point, a stain at random."""
        return tuple(
            int(rng.integers(size)) for axis, size in zip(self.axes, self.array.shape) if axis not in "YXS"
        )

    def window(self, plane: tuple[int, ...], y: int, x: int, height: int, width: int) -> np.ndarray:
        """Read a window.

        Returns
        -------
        numpy.ndarray
            (height, width) or (height, width, samples), in the file's dtype.
        """
        return self._read(plane, slice(y, y + height), slice(x, x + width))

    def stretched(self, plane: tuple[int, ...], y: int, x: int, height: int, width: int) -> np.ndarray:
        """Read a window, stretched between the 1st and the 99.8th percentile of its whole plane.

        Returns
        -------
        numpy.ndarray
            float32 (height, width, C), C = 1 for grey and 3 for colour, clipped to [-0.5, 1.5].
        """
        window = _grey_or_rgb(np.asarray(self.window(plane, y, x, height, width)))
        stretched = self._stretch(plane)(window)
        return stretched if window.shape[-1] == 3 else stretched[..., :1]

    def _stretch(self, plane: tuple[int, ...]) -> Stretch:
        if plane not in self._stretches:
            if isinstance(self.array, np.ndarray):
                step = max(1, max(self.height, self.width) // _STRETCH_GRID)
                pixels = self._read(plane, slice(None, None, step), slice(None, None, step))
            else:
                pixels = self._scattered_windows(plane)
            self._stretches[plane] = fit_stretch(_grey_or_rgb(np.asarray(pixels)), rgb=True)
        return self._stretches[plane]

    def _scattered_windows(self, plane: tuple[int, ...]) -> np.ndarray:
        """Sixteen small windows on a grid: a strided read of a compressed slide would decode all of it."""
        side = min(64, self.height, self.width)
        ys = np.linspace(0, self.height - side, 4).astype(int)
        xs = np.linspace(0, self.width - side, 4).astype(int)
        return np.concatenate([self.window(plane, int(y), int(x), side, side) for y in ys for x in xs])

    def _read(self, plane: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
        index: list[Any] = []
        others = iter(plane)
        for axis in self.axes:
            index.append({"Y": rows, "X": columns}.get(axis, slice(None)) if axis in "YXS" else next(others))
        window = self.array[tuple(index)]
        order = [axis for axis in self.axes if axis in "YXS"]
        return np.transpose(window, [order.index(axis) for axis in "YXS" if axis in order])

    def close(self) -> None:
        if self.handle is not None:
            self.handle.close()


def _grey_or_rgb(window: np.ndarray) -> np.ndarray:
    """(Y, X) and (Y, X, S) of any S -> (Y, X, 1) or (Y, X, 3); alpha is dropped."""
    if window.ndim == 2:
        return window[..., None]
    return window[..., :3] if window.shape[-1] >= 3 else window[..., :1]


def open_image(path: Path) -> RegionImage:
    """Open an image for reading by window.

    Raises whatever the format's reader raises: the caller decides whether to skip or to stop.
    """
    suffix = path.suffix.lower()
    if suffix == ZARR_SUFFIX:
        return _open_zarr(path)
    if suffix in TIFF_SUFFIXES:
        return _open_tiff(path)
    import imageio.v3 as iio

    array = np.asarray(iio.imread(path))
    if array.ndim not in (2, 3):
        raise ValueError(f"{array.ndim} dimensions where an image has 2 or 3")
    return RegionImage(array, "YX" if array.ndim == 2 else "YXS")


def _open_tiff(path: Path) -> RegionImage:
    import tifffile

    tif = tifffile.TiffFile(path)
    try:
        series = tif.series[0]
        axes = series.axes.upper()
        if series.nbytes <= WHOLE_BYTES:
            array, handle = series.asarray(), None
        else:
            import zarr

            array, handle = zarr.open(series.aszarr(level=0), mode="r"), tif
    except BaseException:
        tif.close()
        raise
    if handle is None:
        tif.close()
    if "Y" not in axes or "X" not in axes:
        raise ValueError(f"axes {axes} without Y and X")
    return RegionImage(array, axes, handle)


def _open_zarr(path: Path) -> RegionImage:
    import zarr

    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        return RegionImage(node, "TCZYX"[-node.ndim :])
    attributes = dict(node.attrs)
    multiscales = (attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales"))[0]
    array = node[multiscales["datasets"][0]["path"]]
    named = [axis if isinstance(axis, str) else axis["name"] for axis in multiscales.get("axes", [])]
    axes = "".join(named).upper() or "TCZYX"[-array.ndim :]
    return RegionImage(array, axes)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from the header alone, without decoding a pixel."""
    suffix = path.suffix.lower()
    if suffix in PLAIN_SUFFIXES:
        from PIL import Image

        with Image.open(path) as picture:
            return picture.height, picture.width
    if suffix == ZARR_SUFFIX:
        image = _open_zarr(path)
        return image.height, image.width
    import tifffile

    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        sizes = dict(zip(series.axes.upper(), series.shape))
        return int(sizes["Y"]), int(sizes["X"])


class ImageCache:
    """The images used last, at most `max_bytes` of decoded pixels and `max_open` open files.

    It lives in one loader worker; memory is bounded by these two numbers, however many files there are.
    """

    def __init__(self, max_bytes: int = 256 * 2**20, max_open: int = 64) -> None:
        self.max_bytes = max_bytes
        self.max_open = max_open
        self._images: OrderedDict[Path, RegionImage] = OrderedDict()
        self._bytes = 0

    def get(self, path: Path) -> RegionImage:
        """The opened image; raises what its reader raises."""
        if path in self._images:
            self._images.move_to_end(path)
            return self._images[path]
        image = open_image(path)
        self._images[path] = image
        self._bytes += image.nbytes
        while len(self._images) > 1 and (self._bytes > self.max_bytes or self._open_files() > self.max_open):
            _, oldest = self._images.popitem(last=False)
            self._bytes -= oldest.nbytes
            oldest.close()
        return image

    def _open_files(self) -> int:
        return sum(image.handle is not None for image in self._images.values())

    def __getstate__(self) -> dict[str, int]:
        """A copy in another process starts empty: open files do not travel."""
        return {"max_bytes": self.max_bytes, "max_open": self.max_open}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]
