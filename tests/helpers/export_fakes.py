"""Predictions and images for the tests of writers and readers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.data.rle import encode_labels


@dataclass
class FakeMasks:
    rles: list

    def rle(self):
        return self.rles


@dataclass
class FakeInstances:
    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    masks: FakeMasks
    classes: np.ndarray


def two_overlapping() -> FakeInstances:
    """Two squares that overlap and a third one that the first hides; label i is row i - 1."""
    masks = np.zeros((3, 30, 40), bool)
    masks[0, 5:15, 5:15] = masks[1, 10:20, 10:20] = masks[2, 6:9, 6:9] = True
    labels = np.zeros((30, 40), np.int32)
    labels[masks[1]] = 2
    labels[masks[0]] = 1
    rles = [encode_labels(mask.astype(np.int32))[1][0] for mask in masks]
    boxes = np.array([(5, 5, 15, 15), (10, 10, 20, 20), (6, 6, 9, 9)], np.float32)
    scores = np.array([0.9, 0.8, 0.6], np.float32)
    return FakeInstances(labels, boxes, scores, FakeMasks(rles), np.array([1, 2, 1]))


def blobs(seed: int = 0, shape: tuple[int, int] = (60, 80), count: int = 12) -> np.ndarray:
    """Label image of discs that cut into each other and are cut by a line: odd outlines, some in parts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number in rng.permutation(np.arange(1, count + 1)) * 3:
        cy, cx, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(1, 12)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = number
    labels[shape[0] // 2] = 0
    return labels


def discs(shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Label image of a grid of discs, each simply connected."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (y % 20 - 9.5) ** 2 + (x % 20 - 9.5) ** 2 < 60
    return np.where(inside, (y // 20) * (shape[1] // 20) + x // 20 + 1, 0).astype(np.int32)


def stack(axes: str = "TZCYX") -> CellImage:
    """A two-channel image of 2 frames and 3 slices of 60 x 80 pixels of 0.5 µm."""
    sizes = {"T": 2, "Z": 3, "C": 2, "Y": 60, "X": 80}
    data = np.random.default_rng(0).integers(0, 1000, [sizes[axis] for axis in axes]).astype(np.uint16)
    scale, units = {"Y": 0.5, "X": 0.5, "Z": 2.0}, dict.fromkeys("ZYX", "micrometer")
    return CellImage(data, axes, scale=scale, units=units, name="stack")
