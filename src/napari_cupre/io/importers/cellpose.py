"""Read the masks of Cellpose's `_seg.npy` without unpickling anything.

The file is a numpy array with one Python dict, that is, a pickle, and unpickling runs any code that the
pickle names. So here the pickle is decoded with inert stand-ins: the few names that numpy's arrays need stand
for classes that only store their arguments, and every other name is refused. The masks' bytes are made into
an array only after their type and shape are checked. No function that a file names is called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.labels import as_labels
from napari_cupre.errors import InputError

LARGEST_FILE = 2**31
"""Larger files (bytes) are refused, because a file is read into memory."""

_PLAIN_TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"b1", "f4", "f8"}


def read_cellpose(path: Path) -> np.ndarray:
    """Read the label image "masks" of a Cellpose `_seg.npy`, or a plain `.npy` with a label image.

    Returns
    -------
    numpy.ndarray
        int32 (Y, X) or (Z, Y, X).

    Raises
    ------
    InputError
        If the file is damaged or not a Cellpose file, or names anything that its arrays do not need.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f'"{path}" is too large to be read: save its masks as TIFF.')
    try:
        masks = _masks(path.read_bytes())
    except InputError as error:
        raise InputError(f'"{path}" {error}') from error
    except Exception as error:  # damaged pickles raise anything
        raise InputError(f'"{path}" is not a readable Cellpose file ({error}): save it again.') from error
    labels = as_labels(masks, path.name)
    if labels.ndim not in (2, 3) or labels.size == 0:
        raise InputError(f'"{path}" contains masks of shape {labels.shape}: give (Y, X) or (Z, Y, X).')
    return labels


def _masks(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise InputError("is of an unknown version of numpy's format: save its masks as TIFF.")
    shape, fortran, dtype = read_header(stream)
    rest = content[stream.tell() :]
    if dtype.kind != "O":
        return _array(dtype.str, shape, fortran, rest)
    _check_operations(rest)
    document = _InertUnpickler(io.BytesIO(rest)).load()
    if isinstance(document, _Array):
        # The dict is in an array of one object without dimensions.
        state = document.state
        document = (
            state[4][0] if len(state) == 5 and isinstance(state[4], list) and len(state[4]) == 1 else None
        )
    if not isinstance(document, dict) or not isinstance(document.get("masks"), _Array):
        raise InputError('has no array "masks": choose a _seg.npy that Cellpose saved.')
    return document["masks"].value()


def _check_operations(content: bytes) -> None:
    """Refuse operations that make the decoder reserve more memory than the file has bytes for."""
    for operation, argument, _ in pickletools.genops(io.BytesIO(content)):
        if operation.name.endswith("PUT") and int(argument or 0) > len(content):
            raise InputError("is damaged: save it again.")


def _array(dtype: str, shape: tuple[int, ...], fortran: bool, content: bytes) -> np.ndarray:
    """Make an array of plain numbers from its bytes."""
    if dtype.lstrip("<>=|") not in _PLAIN_TYPES:
        raise InputError(f"contains masks of type {dtype}: save them as TIFF.")
    plain = np.dtype(dtype)
    count = 1
    for length in shape:
        if not isinstance(length, int) or length < 0:
            raise InputError(f"contains masks of the impossible shape {shape}: save it again.")
        count *= length
    if count * plain.itemsize != len(content):
        raise InputError(f"is truncated: masks of shape {shape} need more bytes than there are.")
    return np.frombuffer(content, plain).reshape(shape, order="F" if fortran else "C")


class _Array:
    """Stand-in for a numpy array: only keeps the state of the array."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, tuple) else ()

    def value(self) -> np.ndarray:
        """Return the array, if its values are plain numbers."""
        if len(self.state) != 5:
            raise InputError("contains masks that are not an array: save it again.")
        _, shape, dtype, fortran, content = self.state
        if not isinstance(dtype, _DType) or not isinstance(content, bytes) or not isinstance(shape, tuple):
            raise InputError("contains masks that are not plain numbers: save them as TIFF.")
        return _array(dtype.order + dtype.code, shape, bool(fortran), content)


class _BufferArray(_Array):
    """The same for arrays pickled with protocol 5."""

    def __init__(
        self, content: Any = b"", dtype: Any = None, shape: Any = (), order: Any = "C", *_: Any
    ) -> None:
        super().__init__()
        if isinstance(content, bytes | bytearray):
            self.state = (1, shape, dtype, order == "F", bytes(content))


class _DType:
    """Stand-in for a numpy dtype: keeps its code and byte order."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        self.order = order if order in ("<", ">", "=", "|") else "="


class _Ignored:
    """Stand-in for everything else that a Cellpose file may contain: single numbers and paths."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("numeric", "_frombuffer", _BufferArray),
            ("multiarray", "scalar", _Ignored),
        )
    },
    **{
        (module, name): _Ignored
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath")
    },
    ("_codecs", "encode"): _Ignored,
}


class _InertUnpickler(pickle.Unpickler):
    """Decodes a pickle without calling anything but the stand-ins above."""

    def find_class(self, module: str, name: str) -> type:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise InputError(
                f"names {module}.{name}, which no Cellpose file needs: do not trust it (nothing was run)."
            ) from None
