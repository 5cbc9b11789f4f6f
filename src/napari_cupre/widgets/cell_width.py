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
        The width in px of that image.
    pixel_um : float or None
        Size of its pixels in µm; None if unknown.
    """

    px: float
    pixel_um: float | None = None

    def on(self, image: CellImage) -> float:
        """Return the width in px of an image: the same in µm if both pixel sizes are known, else in px."""
        other = image.pixel_size_um
        if not other or not self.pixel_um or other == self.pixel_um:
            return self.px
        return self.px * self.pixel_um / other
