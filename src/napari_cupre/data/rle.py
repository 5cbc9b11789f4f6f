"""Convert COCO's run lengths and polygons to and from label images, without one full mask per cell.

pycocotools encodes and decodes masks of the whole image; for thousands of cells in an image these are
gigabytes of zeros. Here a label image becomes run lengths in one pass over its pixels, and run lengths are
painted into a label image run by run. pycocotools is used only for run lengths that `runs` has checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from napari_cupre.errors import InputError

RLE = dict[str, Any]
"""{"size": [height, width], "counts": str or list of int}, column by column from the top left."""

LARGEST_IMAGE = 2**31
"""Images with more pixels are refused, since a hostile file could ask for any size."""


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, list[RLE]]:
    """Encode every instance of a label image as compressed COCO RLE.

    Parameters
    ----------
    labels : numpy.ndarray
        integer (Y, X), 0 is background.

    Returns
    -------
    ids : numpy.ndarray
        int64 (N,), the label values, rising.
    rles : list[RLE]
        Their masks; "counts" is str, so that it can go into JSON.
    """
    height, width = labels.shape
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=0))
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    kept = values > 0
    starts, ends, values = starts[kept], ends[kept], values[kept]
    order = np.argsort(values, kind="stable")
    ids, firsts = np.unique(values[order], return_index=True)
    groups = zip(np.split(starts[order], firsts[1:]), np.split(ends[order], firsts[1:]))
    rles = [_of_runs(first, last, (height, width)) for first, last in groups] if len(ids) else []
    return ids.astype(np.int64), rles


def encode_pixels(pixels: np.ndarray, shape: tuple[int, int]) -> RLE:
    """Encode one mask as compressed COCO RLE.

    Parameters
    ----------
    pixels : numpy.ndarray
        int64 (N,), the flat (row-major) indices of its pixels, each once.
    shape : tuple[int, int]
        (Y, X) of the image.
    """
    rows, columns = np.divmod(pixels, shape[1])
    places = np.sort(columns * shape[0] + rows)
    is_first = np.diff(places, prepend=-2) != 1
    is_last = np.append(is_first[1:], True)[: len(places)]
    return _of_runs(places[is_first], places[is_last] + 1, shape)


def encode_polygons(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> RLE:
    """Encode all pixels inside some polygons as one compressed COCO RLE.

    Parameters
    ----------
    polygons : Sequence[Sequence[float]]
        Corners x, y, x, y, ... of each.
    shape : tuple[int, int]
        (Y, X) of the image.

    Raises
    ------
    InputError
        If one of them is not a polygon.
    """
    # pycocotools would trace the whole way to a far-off corner and keep it in memory.
    reach = 2 * max(shape)
    try:
        clipped = [np.clip(polygon, -reach, reach).tolist() for polygon in polygons]
        return _as_text(coco_mask.merge(coco_mask.frPyObjects(clipped, *shape)))
    except Exception as error:  # pycocotools raises many kinds of errors
        raise InputError("a polygon is malformed; write the JSON again.") from error


def compressed(rle: RLE) -> RLE:
    """Convert a sound RLE to COCO's text form."""
    if isinstance(rle["counts"], str | bytes):
        return rle
    return _as_text(coco_mask.frPyObjects(rle, *rle["size"]))


def area(rle: RLE) -> int:
    """Return the number of pixels that a compressed RLE covers."""
    # One at a time, here and below: given a list, pycocotools 2.0.11 fails beyond 255 masks.
    return int(coco_mask.area(rle))


def bounding_box(rle: RLE) -> list[float]:
    """Return the box [x, y, width, height] around a compressed RLE."""
    return coco_mask.toBbox(rle).tolist()


def runs(rle: RLE) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and ends of an RLE's runs, as positions in the column-major image.

    Returns
    -------
    starts, ends : numpy.ndarray
        int64 (R,); run i covers starts[i] <= position < ends[i].

    Raises
    ------
    InputError
        If the RLE is malformed or does not fill its own size.
    """
    height, width = _size(rle)
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        lengths = _decompress(counts)
    else:
        lengths = _whole_numbers(counts)
    # Sums of more than 2**31 numbers below 2**31 cannot occur in a string that fits memory.
    edges = np.cumsum(lengths)
    if (lengths < 0).any() or (lengths > height * width).any() or (edges[-1:] > height * width).any():
        raise InputError(f"an RLE mask does not match its size of {height} x {width} pixels; write it again.")
    full = edges[: len(edges) // 2 * 2].reshape(-1, 2)
    return full[:, 0], full[:, 1]


def paint(rles: Sequence[RLE], shape: tuple[int, int]) -> np.ndarray:
    """Paint an int32 (Y, X) label image: RLE i gets the value i + 1; where two overlap, the first wins."""
    flat = np.zeros(shape[0] * shape[1], np.int32)
    for value in range(len(rles), 0, -1):
        rle = rles[value - 1]
        if tuple(_size(rle)) != tuple(shape):
            raise InputError(
                f"an RLE mask has size {_size(rle)} in an image of {tuple(shape)} (height, width)."
            )
        for start, end in zip(*runs(rle)):
            flat[start:end] = value
    return np.ascontiguousarray(flat.reshape(shape, order="F"))


def _of_runs(starts: np.ndarray, ends: np.ndarray, shape: tuple[int, int]) -> RLE:
    """Make a compressed RLE of runs as `runs` returns them."""
    height, width = (int(side) for side in shape)
    edges = np.column_stack([starts, ends]).ravel()
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if not counts[-1]:
        del counts[-1]
    return compressed({"size": [height, width], "counts": counts})


def _as_text(rle: RLE) -> RLE:
    """Make an RLE from pycocotools ready for JSON."""
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def _size(rle: RLE) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in rle["size"])
    except (TypeError, ValueError, KeyError) as error:
        raise InputError("an RLE mask has no size of two whole numbers [height, width].") from error
    if height < 1 or width < 1 or height * width > LARGEST_IMAGE:
        raise InputError(f"an RLE mask has an impossible size of {height} x {width} pixels.")
    return height, width


def _whole_numbers(counts: Any) -> np.ndarray:
    try:
        return np.array([int(count) for count in counts], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("an RLE mask's counts are not whole numbers; write it again.") from error


def _decompress(counts: str | bytes) -> np.ndarray:
    """Decode run lengths from COCO's text form: 5 bits per character, stored as differences.

    A character's code minus 48 has five bits of a number, low bits first; its sixth bit is set if more
    follow. The fifth bit of the last character is the sign (pycocotools' maskApi.c, rleFrString).
    """
    raw = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    codes = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if len(codes) == 0:
        return codes
    last = (codes & 32) == 0
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    if (codes < 0).any() or (codes > 63).any() or not last[-1] or (ends - starts > 7).any():
        raise InputError("an RLE mask's counts are corrupt; write it again.")
    position = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((codes & 31) << (5 * position), starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    # From the fourth count on, each is stored as its difference from the count two places before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
