"""Self-contained HTML pages from the templates of the package."""

from __future__ import annotations

import base64
import functools
from typing import Any

import imageio.v3 as iio
import jinja2
import numpy as np


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("napari_cupre"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(template: str, **values: Any) -> str:
    """Fill in one of the package's HTML templates; text is escaped.

    Parameters
    ----------
    template : str
        File name in `napari_cupre/templates`.
    **values
        What the template shows.

    Returns
    -------
    str
        The page.
    """
    return _environment().get_template(template).render(**values)


def png_source(pixels: np.ndarray) -> str:
    """Return the `src` of an HTML `img` that contains the picture itself.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8 (Y, X) or (Y, X, 3).

    Returns
    -------
    str
        A data URL with a PNG.
    """
    encoded = base64.b64encode(iio.imwrite("<bytes>", pixels, extension=".png")).decode("ascii")
    return f"data:image/png;base64,{encoded}"
