"""The cell width that a person set, for images of any pixel size."""

from __future__ import annotations

from dataclasses import dataclass

from napari_cupre.data.image import CellImage


@dataclass(frozen=True)
class CellWidth:
    """A cell width, and the pixel size of the image it was set for.

    Attributes
    ----------
    px : float
        In px of that image.
    pixel_um : float or None
        Size of its pixels in µm; None if the image does not tell.
    """

    px: float
    pixel_um: float | None = None

    def on(self, image: CellImage) -> float:
        """The width in px of another image: the same in µm where both tell their pixel size, else in px."""
        other = image.pixel_size_um
        if not other or not self.pixel_um or other == self.pixel_um:
            return self.px
        return self.px * self.pixel_um / other
