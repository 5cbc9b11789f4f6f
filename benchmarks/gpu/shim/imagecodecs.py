"""What synthetic fields need of imagecodecs, by Pillow: its wheel is too large to travel to a GPU machine."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg8_encode(image: np.ndarray, level: int) -> bytes:
    """JPEG of uint8 (Y, X) or (Y, X, 3)."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=level)
    return stream.getvalue()


def jpeg8_decode(data: bytes) -> np.ndarray:
    """The image of `jpeg8_encode`."""
    return np.asarray(Image.open(io.BytesIO(data)))
