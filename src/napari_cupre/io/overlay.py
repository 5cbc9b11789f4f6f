"""Draw pictures of an image beside its cells, for people to look at."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_cupre.io.ownership import owned_write

SHORT_SIDE = 640  # of a panel, px; small images are magnified to about this
GAP, CAPTION = 12, 40
FILL = 0.35
GOLDEN = 0.618034  # hue step that keeps the colours of consecutive labels far apart


def write_panels(path: str | os.PathLike[str], panels: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write pictures side by side, each with a caption.

    Parameters
    ----------
    path : str or os.PathLike[str]
        The PNG to write.
    panels : Sequence[tuple[str, numpy.ndarray]]
        Captions and uint8 (Y, X, 3) pictures of one size, see `draw_cells`.
    """
    height, width = panels[0][1].shape[:2]
    sheet = Image.new("RGB", ((width + GAP) * len(panels) + GAP, height + CAPTION + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for number, (caption, picture) in enumerate(panels):
        left = GAP + number * (width + GAP)
        pen.text((left, CAPTION / 2), caption, fill="black", font=font, anchor="lm")
        sheet.paste(Image.fromarray(picture), (left, CAPTION))
    with owned_write(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def draw_cells(
    image: np.ndarray, labels: np.ndarray | None = None, regions: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Draw an image with its cells tinted and outlined, each in its own colour.

    Parameters
    ----------
    image : numpy.ndarray
        float (Y, X, 3), normalised.
    labels : numpy.ndarray or None, optional
        int (Y, X), 0 = background; None draws the image alone.
    regions : Sequence[numpy.ndarray], optional
        Polygons (n, 2) in pixel (y, x), drawn as white lines.

    Returns
    -------
    numpy.ndarray
        uint8 (Y', X', 3), magnified by a whole number so that small images can be seen.
    """
    factor = max(1, round(SHORT_SIDE / min(image.shape[:2])))
    picture = np.clip(image, 0, 1).repeat(factor, axis=0).repeat(factor, axis=1)
    if labels is not None:
        marked = labels.repeat(factor, axis=0).repeat(factor, axis=1)
        colours = _colours(int(marked.max(initial=0)))[marked]
        inside = (marked > 0)[..., None]
        picture = np.where(inside, (1 - FILL) * picture + FILL * colours, picture)
        picture = np.where(_outlines(marked)[..., None], colours, picture)
    drawn = Image.fromarray(np.rint(255 * picture).astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    for polygon in regions:
        corners = [tuple((corner[::-1] + 0.5) * factor) for corner in polygon]
        pen.line([*corners, corners[0]], fill="white", width=2)
    return np.asarray(drawn)


def _outlines(labels: np.ndarray, width: int = 2) -> np.ndarray:
    """Find pixels of cells within `width` px of another label or of the background."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * width + 1
    return (labels > 0) & (maximum_filter(labels, size) != minimum_filter(labels, size))


def _colours(count: int) -> np.ndarray:
    """Return RGB in 0..1 for the labels 0..count; 0 is not used."""
    return np.array([colorsys.hsv_to_rgb(i * GOLDEN % 1, 0.85, 1.0) for i in range(count + 1)])
