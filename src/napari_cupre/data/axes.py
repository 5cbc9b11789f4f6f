"""Write, check and, if they are missing, guess axis letters and length units."""

from __future__ import annotations

from collections.abc import Sequence

from napari_cupre.errors import InputError

AXIS_LETTERS = "TZCYXS"
"""Time, depth, channel, row, column, and samples of one colour picture (RGB or RGBA)."""

PHYSICAL_AXES = "TZYX"
"""The axes that have a scale, an origin and a unit."""

MAX_GUESSED_CHANNELS = 5
"""A leading or trailing axis of at most this length is guessed to hold channels, not slices."""

_AXIS_NAMES = {
    "t": "T",
    "time": "T",
    "frame": "T",
    "z": "Z",
    "depth": "Z",
    "plane": "Z",
    "slice": "Z",
    "c": "C",
    "ch": "C",
    "channel": "C",
    "y": "Y",
    "row": "Y",
    "x": "X",
    "column": "X",
    "s": "S",
    "rgb": "S",
    "sample": "S",
}

_UNIT_NAMES = {
    "pixel": ("", "px", "pixels", "dimensionless", "voxel", "reference frame"),
    "nanometer": ("nm", "nanometre", "nanometers", "nanometres"),
    "micrometer": (
        "um",
        "\u00b5m",
        "\u03bcm",
        "\\u00b5m",
        "micron",
        "microns",
        "micrometre",
        "micrometers",
        "micrometres",
    ),
    "millimeter": ("mm", "millimetre", "millimeters", "millimetres"),
    "centimeter": ("cm", "centimetre", "centimeters", "centimetres"),
    "meter": ("m", "metre", "meters", "metres"),
    "angstrom": ("\u00e5", "\u212b", "angstroms"),
    "inch": ("in", "inches"),
    "microsecond": ("us", "\u00b5s", "\u03bcs", "microseconds"),
    "millisecond": ("ms", "msec", "milliseconds"),
    "second": ("s", "sec", "seconds"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hr", "hours"),
}
_CANONICAL_UNITS = {alias: unit for unit, aliases in _UNIT_NAMES.items() for alias in (unit, *aliases)}

_MICROMETERS = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "inch": 25400.0,
    "meter": 1e6,
}


def canonical_unit(unit: object) -> str:
    """Return the standard spelling of a unit: "micrometer" for "um", "µm", "micron" and so on.

    An unknown unit is returned as it is; None and "" give "pixel".
    """
    text = "" if unit is None else str(unit).strip()
    return _CANONICAL_UNITS.get(text.lower(), text)


def micrometers_per(unit: str) -> float | None:
    """Return the length of one `unit` in µm; None if `unit` is not a length ("pixel", "second")."""
    return _MICROMETERS.get(canonical_unit(unit))


def parse_axes(axes: str, ndim: int | None = None) -> str:
    """Check the letters a user gave for the axes of an image and return them in capitals.

    Parameters
    ----------
    axes : str
        Letters out of "TZCYXS", e.g. "ZCYX"; "Y" and "X" are needed, "S" comes last.
    ndim : int or None, optional
        Number of dimensions that the letters must name, if known.

    Raises
    ------
    InputError
        Unknown, repeated, missing or too many letters.
    """
    letters = axes.strip().upper()
    if set(letters) - set(AXIS_LETTERS) or len(set(letters)) != len(letters):
        raise InputError(
            f'Axes "{axes}" cannot be used: give each dimension one different letter out of '
            f"T, Z, C, Y, X, and S last for RGB."
        )
    if not {"Y", "X"} <= set(letters) or ("S" in letters and letters[-1] != "S"):
        raise InputError(f'Axes "{axes}" cannot be used: Y and X are needed, and S (RGB) must be last.')
    if ndim is not None and len(letters) != ndim:
        raise InputError(
            f'Axes "{axes}" name {len(letters)} dimensions, but the image has {ndim}: give each one letter.'
        )
    return letters


def axes_from_labels(labels: Sequence[str]) -> str | None:
    """Return axis letters for the names that a napari layer or a file gives its dimensions.

    Returns None if any name is meaningless ("axis -3", "-3") or two mean the same axis.
    """
    letters = [_AXIS_NAMES.get(str(label).strip().lower(), "") for label in labels]
    if not all(letters) or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        return None
    return "".join(letters)


def guess_axes(shape: Sequence[int], *, rgb: bool | None = None) -> str:
    """Guess the axes of an array without axis names.

    The rules, in this order; whoever shows the image should show the guess and let the user change it:

    - a last axis of length 3 or 4 after two longer ones is RGB(A), unless ``rgb=False``;
    - two remaining axes are Y, X;
    - an axis of at most `MAX_GUESSED_CHANNELS` in front of Y, X (the nearest one first) or behind them is C,
      so that (3, 512, 512) is never taken for a stack of three slices;
    - whatever remains in front is Z, or T, Z if there are two.

    Parameters
    ----------
    shape : Sequence[int]
        Lengths of the dimensions.
    rgb : bool or None, optional
        True if the last axis is known to be RGB(A), False if it is known not to be.

    Returns
    -------
    str
        One letter per dimension.

    Raises
    ------
    InputError
        There are fewer than two or more than five dimensions (six with RGB).
    """
    sizes = [int(size) for size in shape]
    if rgb is None:
        rgb = len(sizes) >= 3 and sizes[-1] in (3, 4) and min(sizes[-3:-1]) > 4
    if rgb:
        return _guess_without_channels(sizes[:-1], sizes) + "S"
    if len(sizes) == 2:
        return "YX"
    if len(sizes) < 2 or len(sizes) > 5:
        raise _cannot_guess(sizes)
    return _guess_with_channels(sizes)


def _guess_with_channels(sizes: list[int]) -> str:
    """Guess the axes of three to five dimensions without RGB."""
    count = len(sizes)
    if sizes[-1] <= MAX_GUESSED_CHANNELS < min(sizes[-3:-1]):
        return _guess_without_channels(sizes[:-1], sizes) + "C"
    for position in range(count - 3, -1, -1):
        if sizes[position] <= MAX_GUESSED_CHANNELS:
            others = _guess_without_channels(sizes[:position] + sizes[position + 1 :], sizes)
            return others[:position] + "C" + others[position:]
    return _guess_without_channels(sizes, sizes)


def _guess_without_channels(sizes: list[int], whole: list[int]) -> str:
    letters = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(len(sizes))
    if letters is None:
        raise _cannot_guess(whole)
    return letters


def _cannot_guess(sizes: list[int]) -> InputError:
    return InputError(
        f"The axes of an array of shape {tuple(sizes)} cannot be guessed: give them, e.g. axes='ZCYX'."
    )
