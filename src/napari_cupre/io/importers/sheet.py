"""The annotation of one image, which is read when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.io.importers.accounts import Say
from napari_cupre.io.importers.frames import Frame
from napari_cupre.words import some_of


class Listeners(NamedTuple):
    """Functions that are told what became of a file, one sentence at a time.

    `partial` is told what was left out although it may have been meant as a cell, `note` everything else.
    """

    partial: Say
    note: Say


class Result(NamedTuple):
    """Labels, int32, and their frame."""

    labels: np.ndarray
    frame: Frame


@dataclass(frozen=True)
class Sheet:
    """The annotation of one image.

    Attributes
    ----------
    names : tuple[str, ...]
        Stems that its image may have, the most likely one first.
    file : Path
        File that it comes from.
    reader : Callable[[Frame | None, Listeners], Result]
        Reads it for an image, or by itself if the frame is None.
    needs_image : bool
        Whether the image is needed because the file does not give its size.
    says_whose : bool
        Whether the file itself names the image. If not, only the file's name suggests it.
    """

    names: tuple[str, ...]
    file: Path
    reader: Callable[[Frame | None, Listeners], Result]
    needs_image: bool = False
    says_whose: bool = False

    def read(self, frame: Frame | None, listeners: Listeners) -> Result:
        """Read it in the shape of its image, if that is given.

        Raises
        ------
        InputError
            If it cannot be read, needs an image or does not fit it.
        """
        if frame is None and self.needs_image:
            raise InputError(
                f'"{self.file}" does not say the size of its image "{self.names[0]}": give the image as well.'
            )
        result = self.reader(frame, listeners)
        return result if frame is None else self._fitted(result, frame)

    def without_image(self, images: Sequence[Path]) -> None:
        """Check that an annotation whose names fit none of the images can be read without one.

        Raises
        ------
        InputError
            If it needs an image.
        """
        if not self.needs_image:
            return
        listed = some_of([path.name for path in images])
        raise InputError(
            f'"{self.file}" does not say the size of its image, and none of the images is called '
            f'"{self.names[0]}" ({listed}): give them the same name.'
        )

    def _fitted(self, result: Result, frame: Frame) -> Result:
        labels = result.labels
        if labels.size != np.prod(frame.shape) or labels.shape[-2:] != frame.shape[-2:]:
            of = f' "{frame.path.name}"' if frame.path is not None else ""
            axes = ", or give the axes of the image" if labels.ndim > len(frame.shape) else ""
            raise InputError(
                f'the annotation "{self.names[0]}" of "{self.file}" has shape {labels.shape}, but its '
                f"image{of} "
                f"has {frame.shape}: choose the annotation of this image{axes}."
            )
        return Result(labels.reshape(frame.shape).astype(np.int32, copy=False), frame)
