"""An image with named dimensions, and the planes that a network sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.axes import (
    PHYSICAL_AXES,
    axes_from_labels,
    canonical_unit,
    guess_axes,
    micrometers_per,
    parse_axes,
)
from napari_cupre.data.normalise import Stretch, fit_stretch, normalise
from napari_cupre.errors import CupreError, InputError, naming, reason_of
from napari_cupre.words import counted

__all__ = ["CellImage", "PlaneIndex", "Stretch", "fit_stretch", "guess_axes", "normalise", "with_letters"]

MOST_CHANNELS = 3
"""Maximum number of channels that a network uses."""

PlaneIndex = dict[str, int]
"""The position of a plane along T and Z, as far as the image has these axes."""


@dataclass
class CellImage:
    """An image with named axes, pixel sizes and an origin.

    Attributes
    ----------
    data : Any
        numpy or dask array of real numbers.
    axes : str
        One letter per dimension out of "TZCYX", and "S" last for RGB(A) samples.
    scale : dict[str, float]
        Step of a pixel along T, Z, Y, X in `units`; 1 where nothing is known.
    translate : dict[str, float]
        Position of the first pixel along T, Z, Y, X in `units`; 0 where nothing is known.
    units : dict[str, str]
        Unit along T, Z, Y, X in one spelling ("micrometer", "second"); "pixel" where nothing is known.
    name : str
        What to call the image in messages and results.
    path : Path or None
        The file that it was read from.
    guessed : bool
        The axes were guessed from the shape; show them and let the user correct them.
    notices : tuple[str, ...]
        What was odd about the file, one sentence each.
    lacks : str
        One sentence about pixels that the file has lost, which makes every result partial; or "".
    channels : tuple[int, ...] or None
        Channels that a network sees unless a call names others, at most three; those that the image does not
        have are left out. None, or none that it has, for the first three.
    channel_names : tuple[str, ...]
        Names that the file gives the channels, where somebody read them.

    Raises
    ------
    InputError
        The axes do not fit, there are no pixels, or values are complex or not numbers.
    """

    data: Any
    axes: str
    scale: dict[str, float] = field(default_factory=dict)
    translate: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    name: str = ""
    path: Path | None = None
    guessed: bool = False
    notices: tuple[str, ...] = ()
    lacks: str = ""
    channels: tuple[int, ...] | None = None
    channel_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.axes = parse_axes(self.axes, self.data.ndim)
        if self.data.dtype.kind not in "buif":
            raise InputError(
                f"{self._called()} has values of type {self.data.dtype}, but only real numbers can be used."
            )
        if 0 in self.data.shape:
            raise InputError(f"{self._called()} has no pixel (shape {self.data.shape}): choose another one.")
        if "S" in self.axes:
            self._check_colour()
        physical = [axis for axis in self.axes if axis in PHYSICAL_AXES]
        self.scale = {axis: float(self.scale.get(axis, 1.0)) for axis in physical}
        self.translate = {axis: float(self.translate.get(axis, 0.0)) for axis in physical}
        self.units = {axis: canonical_unit(self.units.get(axis)) for axis in physical}

    def _check_colour(self) -> None:
        if self.data.shape[-1] not in (3, 4):
            raise InputError(
                f"{self._called()} has {self.data.shape[-1]} colour samples, but RGB has 3 and RGBA 4: "
                f"call that axis C instead of S."
            )
        if "C" in self.axes:
            if self.sizes["C"] > 1:
                raise InputError(
                    f"{self._called()} has {self.sizes['C']} channels of RGB colours: name its axes, such as "
                    f"{self.axes.replace('C', 'Z' if 'Z' not in self.axes else 'T')}, if they are planes, or "
                    f"save one of them."
                )
            position = self.axes.index("C")
            self.data = self.data[(slice(None),) * position + (0,)]
            self.axes = self.axes.replace("C", "")

    def _called(self) -> str:
        """Return what messages call this image."""
        if self.path is not None:
            return f'The image "{self.path}"'
        return f'The image "{self.name}"' if self.name else "The image"

    @property
    def guess(self) -> str:
        """Return one sentence about axes that were guessed because the file does not name them; else ""."""
        words = {"T": "frame", "Z": "slice", "C": "channel"}
        extra = [axis for axis in self.axes if axis in words and self.sizes[axis] > 1]
        if not self.guessed or not extra:
            return ""
        read = " of ".join(counted(self.sizes[axis], words[axis]) for axis in extra)
        other = "ZYX" if extra[0] == "C" else "TYX"
        example = f", such as {other}" if len(extra) == 1 and self.data.ndim == 3 else ""
        return (
            f'"{self.name}" does not say what its planes are; they are read as {read} ({self.axes}): --axes '
            f"names other axes{example}."
        )

    def unseen(self, channels: Sequence[int] | None = None) -> str:
        """Return one sentence about channels ignored because none was chosen; "" if all are used."""
        if channels is not None or self.chosen_channels or self.channel_count <= MOST_CHANNELS:
            return ""
        return (
            f'"{self.name}" has {self.channel_count} channels ({self.axes}), of which only the first three '
            f"are used."
        )

    # --- making one -------------------------------------------------------------------------------

    @classmethod
    def from_array(
        cls,
        array: Any,
        axes: str | None = None,
        *,
        rgb: bool | None = None,
        scale: Mapping[str, float] | None = None,
        translate: Mapping[str, float] | None = None,
        units: Mapping[str, str] | None = None,
        name: str = "",
        path: Path | None = None,
        notices: tuple[str, ...] = (),
        lacks: str = "",
    ) -> CellImage:
        """Wrap an array; without `axes` they are guessed (see `guess_axes`) and `guessed` is set.

        Parameters
        ----------
        array : Any
            numpy or dask array, or anything that numpy can make an array of.
        axes : str or None, optional
            One letter per dimension, or None to guess.
        rgb : bool or None, optional
            For the guess: whether the last axis is RGB(A); None decides by its length.
        """
        if not hasattr(array, "dtype") or not hasattr(array, "ndim"):
            array = np.asarray(array)
        # With two dimensions, or three with known RGB, there is nothing to guess.
        certain = axes is not None or array.ndim == 2 or (array.ndim == 3 and rgb is True)
        return cls(
            data=array,
            axes=axes if axes is not None else guess_axes(array.shape, rgb=rgb),
            scale=dict(scale or {}),
            translate=dict(translate or {}),
            units=dict(units or {}),
            name=name,
            path=path,
            guessed=not certain,
            notices=notices,
            lacks=lacks,
        )

    @classmethod
    def from_layer_data(
        cls,
        data: Any,
        rgb: bool | None = None,
        scale: Sequence[float] | None = None,
        translate: Sequence[float] | None = None,
        units: Sequence[object] | None = None,
        axis_labels: Sequence[str] | None = None,
        name: str = "",
        axes: str | None = None,
    ) -> CellImage:
        """Wrap the contents of a napari image layer, given as plain values.

        Parameters
        ----------
        data : Any
            The layer's array, or the list of a pyramid's levels, of which the finest is used.
        rgb : bool or None, optional
            Whether the layer shows its last axis as colours.
        scale, translate, units, axis_labels : one entry per dimension other than the colours.
        axes : str or None, optional
            Letters that the user chose; None takes `axis_labels` if they have a meaning ("z", "channel"),
            else guesses.
        """
        if isinstance(data, Sequence):  # napari's own list of levels also has a shape and a dtype
            data = data[0]
        if axes is None and axis_labels is not None:
            axes = axes_from_labels(axis_labels)
            axes = axes + "S" if axes and rgb else axes
        letters = parse_axes(axes) if axes else guess_axes(data.shape, rgb=rgb)
        letters = letters.replace("S", "")
        return cls.from_array(
            data,
            axes,
            rgb=rgb,
            scale=_by_axis(letters, scale),
            translate=_by_axis(letters, translate),
            units=_by_axis(letters, units),
            name=name,
        )

    def with_axes(self, axes: str) -> CellImage:
        """Return the image with other axes, e.g. after a wrong guess; scales stay with their dimensions."""
        letters = parse_axes(axes, self.data.ndim)
        return replace(
            self,
            axes=letters,
            scale=with_letters(self.scale, self.axes, letters),
            translate=with_letters(self.translate, self.axes, letters),
            units=with_letters(self.units, self.axes, letters),
            guessed=False,
        )

    # --- asking about it --------------------------------------------------------------------------

    @property
    def sizes(self) -> dict[str, int]:
        """Return the length of every axis."""
        return dict(zip(self.axes, (int(size) for size in self.data.shape)))

    @property
    def is_rgb(self) -> bool:
        """Whether the last axis contains the colours of one picture."""
        return "S" in self.axes

    @property
    def is_lazy(self) -> bool:
        """Whether pixels are read only when a plane is asked for."""
        return not isinstance(self.data, np.ndarray)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Return the rows and columns of a plane."""
        return self.sizes["Y"], self.sizes["X"]

    @property
    def channel_count(self) -> int:
        """Return the number of channels; an RGB image counts as one."""
        return self.sizes.get("C", 1)

    @property
    def chosen_channels(self) -> tuple[int, ...] | None:
        """Return those of `channels` that the image has; None if there are none, or for RGB."""
        there = () if self.is_rgb else (self.channels or ())
        return tuple(each for each in there if 0 <= each < self.channel_count)[:MOST_CHANNELS] or None

    @property
    def result_axes(self) -> str:
        """Return the axes of a label image of the whole image: T and Z in the image's order, then "YX"."""
        return "".join(axis for axis in self.axes if axis in "TZ") + "YX"

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Return the shape of a label image of the whole image."""
        return tuple(self.sizes[axis] for axis in self.result_axes)

    @property
    def pixel_size_um(self) -> float | None:
        """Return the size of a pixel in µm (mean of Y and X), None if it is not known."""
        sizes = [self.scale[axis] * (micrometers_per(self.units[axis]) or np.nan) for axis in "YX"]
        return None if np.isnan(sizes).any() else float(np.mean(sizes))

    def values_for(self, axes: str) -> dict[str, tuple[float | str, ...]]:
        """Return `scale`, `translate` and `units` as tuples in the order of `axes`, for a napari layer."""
        return {
            "scale": tuple(self.scale.get(axis, 1.0) for axis in axes),
            "translate": tuple(self.translate.get(axis, 0.0) for axis in axes),
            "units": tuple(self.units.get(axis, "pixel") for axis in axes),
        }

    # --- its planes -------------------------------------------------------------------------------

    def plane_indices(self) -> Iterator[PlaneIndex]:
        """Yield the positions of all planes; the last of T and Z varies fastest."""
        axes = self.result_axes[:-2]
        for position in product(*(range(self.sizes[axis]) for axis in axes)):
            yield dict(zip(axes, position))

    def lazy_plane(self, index: PlaneIndex | None = None, channels: Sequence[int] | None = None) -> Any:
        """Return one plane as a view or, of a lazy image, as a dask array that reads nothing yet.

        Parameters
        ----------
        index : PlaneIndex or None, optional
            Position along T and Z; 0 on axes that are left out.
        channels : Sequence[int] or None, optional
            Up to three channels (or colours of an RGB image); None takes `self.channels`.

        Returns
        -------
        array
            (Y, X), or (Y, X, C) with C <= 3 if the image has several channels or colours, in the source's
            dtype; alpha is dropped. NumPy or dask, like `data`.

        Raises
        ------
        InputError
            There are more than three channels, or an index lies outside the image.
        """
        index = dict(index or {})
        chosen = list(self.channels_in_use(channels))
        selection: list[int | slice] = [slice(None)] * len(self.axes)
        for axis in "TZ":
            if axis in self.axes:
                selection[self.axes.index(axis)] = self._checked(axis, index.pop(axis, 0))
        if index:
            raise InputError(
                f"{self._called()} has axes {self.axes}, so no plane can be chosen along {list(index)}."
            )
        plane = self.data[tuple(selection)]
        kept = [axis for axis in self.axes if axis not in "TZ"]
        order = [kept.index(axis) for axis in "YXCS" if axis in kept]
        plane = plane.transpose(order)
        if plane.ndim == 2:
            return plane
        if len(chosen) == 1:
            return plane[..., chosen[0]]
        contiguous = chosen == list(range(chosen[0], chosen[0] + len(chosen)))
        return plane[..., slice(chosen[0], chosen[-1] + 1) if contiguous else chosen]

    def plane(self, index: PlaneIndex | None = None, channels: Sequence[int] | None = None) -> np.ndarray:
        """Return one plane in memory; parameters and result are those of `lazy_plane`.

        Raises
        ------
        InputError
            Also if the file cannot be read there.
        """
        with self._reading(index):
            return np.asarray(self.lazy_plane(index, channels))

    def planes(self, channels: Sequence[int] | None = None) -> Iterator[tuple[PlaneIndex, np.ndarray]]:
        """Yield all planes one after the other, in the source's dtype."""
        for index in self.plane_indices():
            yield index, self.plane(index, channels)

    def stretch(self, index: PlaneIndex | None = None, channels: Sequence[int] | None = None) -> Stretch:
        """Return the percentile stretch of one plane; of a lazy image only some pixels are read.

        `stretch(index)(part)` normalises a part of a plane in the same way as the whole plane.
        """
        plane = self.lazy_plane(index, channels)
        with self._reading(index):
            try:
                return fit_stretch(plane, rgb=self.is_rgb and plane.ndim == 3)
            except CupreError as error:
                raise type(error)(naming(f"{self._called()}{_position(index)}", error)) from error

    @contextmanager
    def _reading(self, index: PlaneIndex | None) -> Iterator[None]:
        """Turn errors of a file that is read on demand into one sentence; our own errors pass through."""
        try:
            yield
        except CupreError:
            raise
        except Exception as error:
            if not self.is_lazy:
                raise
            raise self._unreadable(index, error) from error

    def normalised(
        self, index: PlaneIndex | None = None, channels: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return one plane as the network sees it: float32 (Y, X, 3), see `normalise`."""
        return self.stretch(index, channels)(self.plane(index, channels))

    def channels_in_use(self, channels: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the channels (colours of an RGB image) that a network sees; see `plane` for errors."""
        axis = "S" if self.is_rgb else "C"
        count = min(self.sizes.get(axis, 1), 3) if self.is_rgb else self.channel_count
        if channels is None:
            return self.chosen_channels or tuple(range(min(count, MOST_CHANNELS)))
        chosen = tuple(int(channel) for channel in channels)
        if not 1 <= len(chosen) <= MOST_CHANNELS:
            raise InputError(f"{len(chosen)} channels were chosen, but one to three can be used.")
        for channel in chosen:
            if not 0 <= channel < count:
                raise InputError(
                    f"{self._called()} ({self.axes}) has no channel {channel}: choose from 0 to {count - 1}."
                )
        return chosen

    def _checked(self, axis: str, position: int) -> int:
        if not 0 <= position < self.sizes[axis]:
            raise InputError(
                f"{self._called()} has no plane {axis}={position}: choose from 0 to {self.sizes[axis] - 1}."
            )
        return int(position)

    def _unreadable(self, index: PlaneIndex | None, error: Exception) -> InputError:
        return InputError(
            f"{self._called()} cannot be read{_position(index)} ({reason_of(error)}): "
            f"its file seems damaged; copy it again."
        )


def _position(index: PlaneIndex | None) -> str:
    return " at " + ", ".join(f"{axis}={value}" for axis, value in index.items()) if index else ""


def _by_axis(axes: str, values: Sequence[Any] | None) -> dict[str, Any]:
    """Return a layer's values by axis letter; if it has fewer or more dimensions, the last ones match."""
    if values is None:
        return {}
    return dict(zip(reversed(axes), reversed(list(values))))


def with_letters(values: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Rename the letters of values by axis letter from `old` to `new`, dimension by dimension."""
    return {after: values[before] for before, after in zip(old, new) if before in values}
