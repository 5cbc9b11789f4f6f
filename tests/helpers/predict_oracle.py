"""Stand-ins for a trained network: one that knows the truth, and one that sees bright discs."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import torch
from skimage.measure import label, regionprops

from napari_cupre.data.image import CellImage
from napari_cupre.model.checkpoint import Model, ModelInfo
from napari_cupre.model.config import preset
from napari_cupre.model.network import Detections
from napari_cupre.prediction.stitch import Found
from napari_cupre.prediction.tiles import Window

SIDE = 28


def disc_labels(discs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """int32 (Y, X): disc i (centre y, x, radius) has the value i + 1; the earlier stays on top."""
    labels = np.zeros(shape, dtype=np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    for index in range(len(discs) - 1, -1, -1):
        y, x, radius = discs[index]
        labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = index + 1
    return labels


def oracle(discs: np.ndarray, view: Window, jitter: float = 0.0) -> Found:
    """Every disc of which a part is in view; boxes and masks end at the view's border.

    `jitter` moves the boxes by up to so many px, differently in every view.
    """
    rng = np.random.default_rng([view.y0, view.x0, view.y1, view.x1])
    boxes, masks, scores = [], [], []
    for index, (y, x, radius) in enumerate(discs):
        box = np.array([x - radius, y - radius, x + radius, y + radius])
        box += rng.uniform(-jitter, jitter, 4)
        box = np.array(
            [max(box[0], view.x0), max(box[1], view.y0), min(box[2], view.x1), min(box[3], view.y1)]
        )
        if box[2] - box[0] < 2 or box[3] - box[1] < 2:
            continue
        centres = (np.arange(SIDE) + 0.5) / SIDE
        rows = box[1] + centres * (box[3] - box[1])
        columns = box[0] + centres * (box[2] - box[0])
        distance = np.hypot(rows[:, None] - y, columns[None, :] - x)
        step = (box[2] - box[0]) / SIDE
        mask = np.clip(0.5 + (radius - distance) / (2 * step), 0, 1)
        if (mask >= 0.5).sum() < 10:
            continue
        boxes.append(box)
        masks.append(mask)
        scores.append(0.99 - 0.4 * index / max(len(discs), 1))
    count = len(boxes)
    return Found(
        np.array(boxes, dtype=np.float32).reshape(count, 4),
        np.array(scores, dtype=np.float32),
        np.ones(count, dtype=np.int64),
        np.array(masks, dtype=np.float32).reshape(count, SIDE, SIDE),
    )


def scattered_discs(
    seed: int, shape: tuple[int, int], radius: tuple[float, float], count: int, gap: float = -1.0
) -> np.ndarray:
    """Discs of random place and size, at least `gap` px apart (negative: they may overlap so far)."""
    rng = np.random.default_rng(seed)
    kept: list[tuple[float, float, float]] = []
    for _ in range(count):
        r = rng.uniform(*radius)
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        if all(np.hypot(y - a, x - b) >= r + c + gap for a, b, c in kept):
            kept.append((y, x, r))
    return np.array(kept).reshape(-1, 3)


def slide_of_discs(shape: tuple[int, int], count: int, **more: Any) -> CellImage:
    """Discs on a plane that is read piece by piece."""
    discs = scattered_discs(11, shape, (9, 14), count, 3.0)
    plane = (disc_labels(discs, shape) > 0).astype(np.uint8) * 250
    return CellImage.from_array(da.from_array(plane, chunks=64), "YX", name="slide", **more)


class SeeingNetwork(torch.nn.Module):
    """Finds bright discs by thresholding; behaves as `CellRCNN.detect`.

    It is only sure of cells between half and twice its diameter, as a trained network is.
    """

    def __init__(self, diameter: float = 24.0) -> None:
        super().__init__()
        self.config = preset("tiny", diameter=diameter)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.calls: list[tuple[int, ...]] = []

    def detect(
        self, images: torch.Tensor, *, score: float = 0.5, max_detections: int = 3000, engine: None = None
    ) -> list[Detections]:
        self.calls.append(tuple(images.shape))
        return [self._look(image.mean(dim=0).float().numpy(), score) for image in images]

    def _look(self, plane: np.ndarray, score: float) -> Detections:
        parts = label(plane > 0.5, connectivity=1)
        boxes, scores, masks = [], [], []
        for part in regionprops(parts):
            y0, x0, y1, x1 = part.bbox
            size = 2 * np.sqrt(part.area / np.pi) / self.config.diameter
            sure = 0.95 if 0.5 <= size <= 2 else 0.2
            if part.area < 6 or sure < score:
                continue
            rows, columns = (
                ((np.arange(SIDE) + 0.5) / SIDE * length).astype(int) for length in part.image.shape
            )
            mask = part.image[np.ix_(rows, columns)]
            boxes.append([x0, y0, x1, y1])
            scores.append(sure - 1e-5 * part.label)
            masks.append(mask)
        count = len(boxes)
        return Detections(
            torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
            torch.tensor(scores, dtype=torch.float32),
            torch.ones(count, dtype=torch.int64),
            torch.from_numpy(np.array(masks, dtype=np.float32).reshape(count, SIDE, SIDE)),
        )


class SeeingModel(Model):
    """Has no layers that could be made faster."""

    def engine(self, *, exact: bool = False) -> None:
        return None


def seeing_model(diameter: float | None = None, network_diameter: float = 24.0) -> Model:
    """A model around `SeeingNetwork`; `diameter` is what it claims to be trained for, in image px."""
    network = SeeingNetwork(network_diameter)
    return SeeingModel(network, ModelInfo("seeing", network.config, diameter=diameter))


def disc_image(discs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float32 (Y, X, 3): bright discs on black."""
    plane = (disc_labels(discs, shape) > 0).astype(np.float32)
    return np.repeat(plane[..., None], 3, axis=2)
