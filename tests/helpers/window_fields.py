"""A field for a window to show."""

from __future__ import annotations

import numpy as np


def field_of_discs(size: int = 192, step: int = 32, radius: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    image = rng.normal(20, 4, (size, size))
    labels = np.zeros((size, size), dtype=np.int32)
    rows, columns = np.mgrid[:size, :size]
    centres = [(y, x) for y in range(step // 2, size, step) for x in range(step // 2, size, step)]
    for number, (y, x) in enumerate(centres, start=1):
        inside = (rows - y - rng.normal(0, 2)) ** 2 + (columns - x - rng.normal(0, 2)) ** 2 < radius**2
        labels[inside] = number
        image[inside] += 60
    return image.clip(0, 255).astype(np.uint8), labels
