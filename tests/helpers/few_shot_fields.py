"""Small fields of discs to train on, and settings of runs that take seconds."""

from __future__ import annotations

import numpy as np

from napari_cupre.data.annotation import make_shot
from napari_cupre.data.shot import Shot
from napari_cupre.finetuning.finetune_settings import FinetuneSettings


def discs(seed: int, count: int = 14, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size]
    for label in range(1, count + 1):
        cy, cx = rng.uniform(10, size - 10, 2)
        labels[((y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(8, 12) ** 2) & (labels == 0)] = label
    image = (labels > 0) * 0.8 + rng.normal(0.1, 0.05, labels.shape)
    return np.repeat(image[..., None], 3, axis=2).astype(np.float32), labels


def shot(seed: int, **known) -> Shot:
    image, labels = discs(seed)
    return make_shot(image, labels, complete=not known, **known)


def settings(**changes) -> FinetuneSettings:
    defaults = {"minutes": None, "steps": 4, "batch": 2, "crop": 64, "device": "cpu"}
    return FinetuneSettings(**{**defaults, **changes})
