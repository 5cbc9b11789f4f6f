"""One annotated image, as provided by a person."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_cupre.data.labels import check_same_shape, label_areas, of_name
from napari_cupre.data.sample import Sample
from napari_cupre.errors import InputError


@dataclass
class Shot:
    """One annotated image, ready for training.

    Attributes
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised as in `napari_cupre.data.image.normalise`.
    labels : numpy.ndarray
        int32 (Y, X), 0 = not an annotated cell.
    known : numpy.ndarray
        bool (Y, X), True where a person annotated cell or background.
    name : str
        What to call it in messages.
    accepted : tuple of int
        Labels of cells that a network drew and a person accepted unchanged; see `for_judging`.
    surveyed : tuple of int
        Those of the `accepted` cells that lie in regions where everything is annotated.
    held : str or None
        The part that is held out from training: "" nothing, "all", or "axis:from" for a strip, such as
        "1:400" for columns from 400 on; None while it is not decided.
    channels : tuple of int
        The channels of the image that are in `image`, counted from 0; empty for an image of one channel.
    channel_names : tuple of str
        Their names, as far as the file gives them.

    Raises
    ------
    InputError
        Image, labels and known area differ in size.
    """

    image: np.ndarray
    labels: np.ndarray
    known: np.ndarray
    name: str = ""
    accepted: tuple[int, ...] = ()
    surveyed: tuple[int, ...] = ()
    held: str | None = None
    channels: tuple[int, ...] = ()
    channel_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_same_shape(self.image.shape[:2], self.labels.shape, self.name)
        if self.known.shape != self.labels.shape:
            raise InputError(
                f"The known area {self.known.shape} and the labels {self.labels.shape}{of_name(self.name)} "
                f"differ in size: give them the same rows and columns."
            )

    @classmethod
    def unlabelled(cls, image: np.ndarray, name: str = "") -> Shot:
        """Make a shot of an image without annotation: none of it is known."""
        return cls(image, np.zeros(image.shape[:2], np.int32), np.zeros(image.shape[:2], bool), name)

    @property
    def is_unlabelled(self) -> bool:
        """Whether none of it is known."""
        return not self.known.any() and not self.labels.any()

    def for_judging(self) -> Shot:
        """Return the shot for judging a network: accepted guesses that are not `surveyed` become unknown.

        In training they count like any other cell. But they flatter the network that drew them, because it
        finds every one. Where everything is annotated, the cells that it missed are annotated, too. So there
        its hits can be counted, but not the quality of its outlines, see `Match.counting`.
        """
        chosen = np.isin(self.labels, np.setdiff1d(self.accepted, self.surveyed))
        labels = np.where(chosen, 0, self.labels).astype(np.int32)
        return replace(self, labels=labels, known=self.known & ~chosen)

    def cut(self, rows: slice, columns: slice) -> Shot:
        """Cut out a part without copying the image; cells that its border divides become unknown."""
        part = (rows, columns)
        labels, known = self.labels[part].copy(), self.known[part].copy()
        (every, areas), (here, inside) = label_areas(self.labels), label_areas(labels)
        divided = np.isin(labels, here[areas[np.searchsorted(every, here)] > inside])
        labels[divided], known[divided] = 0, False
        return replace(self, image=self.image[part], labels=labels, known=known)

    def parted(self) -> tuple[Shot | None, Shot | None]:
        """Split it by `held` into the part to train on and the part to judge by; None for an empty part."""
        if self.held == "all":
            return None, self
        if not self.held:
            return self, None
        axis, at = map(int, self.held.split(":"))
        if not 0 < at < self.labels.shape[axis]:
            return self, None
        teaching, judging = self.halves(axis, at)
        return teaching, judging if judging.labels.any() else None

    def halves(self, axis: int, at: int) -> tuple[Shot, Shot]:
        """Split it at a row (axis 0) or column (axis 1), see `cut`."""
        whole, sides = slice(None), (slice(0, at), slice(at, None))
        first, second = (self.cut(*((side, whole) if axis == 0 else (whole, side))) for side in sides)
        return first, second

    @property
    def sample(self) -> Sample:
        """Return it as a training sample; the arrays are shared."""
        return Sample(self.image, self.labels, self.known)
