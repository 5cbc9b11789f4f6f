"""COCO run-length masks to and from label images, by runs and never by one full mask per cell.

pycocotools encodes and decodes masks of the whole image; for thousands of cells in an image
that is gigabytes of zeros. Here a label image becomes run lengths in one pass over its pixels,
and a run length is painted into a label image run by run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from napari_cupre.errors import InputError

#: {"size": [height, width], "counts": str or list of int}, column by column from the top left.
RLE = dict[str, Any]

#: Images of more pixels than this are refused: a hostile file could ask for any size.
LARGEST_IMAGE = 2**31


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, list[RLE]]:
    """Every instance of a label image as compressed COCO RLE.

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
    rles = [_compress(first, last, height, width) for first, last in groups] if len(ids) else []
    return ids.astype(np.int64), rles


def runs(rle: RLE) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of an RLE's runs, as positions in the column-major image.

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


def decode_runs(rle: RLE) -> np.ndarray:
    """The bool (Y, X) mask of an RLE."""
    return paint([rle], _size(rle)) > 0


def paint(rles: Sequence[RLE], shape: tuple[int, int]) -> np.ndarray:
    """Int32 (Y, X) label image in which RLE i has the value i + 1; where two overlap the first wins."""
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


def _compress(starts: np.ndarray, ends: np.ndarray, height: int, width: int) -> RLE:
    edges = np.column_stack([starts, ends]).ravel()
    counts = [int(edges[0]), *np.diff(edges).tolist()]
    rest = height * width - int(edges[-1])
    uncompressed = {"size": [height, width], "counts": counts + [rest] if rest else counts}
    rle = coco_mask.frPyObjects(uncompressed, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


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
    """Run lengths of COCO's text form: 5 bits per character, and differences to the count but one.

    Each character less 48 holds five bits of a number, low bits first, and in its sixth bit
    whether more follow; the last one's fifth bit is the sign (pycocotools' maskApi.c, rleFrString).
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
    # From the fourth count on each is stored as its difference to the one two before it.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
