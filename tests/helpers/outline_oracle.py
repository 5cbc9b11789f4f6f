"""A stand-in for a trained network that is pointed at things: it sees what is brighter than a half."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage

from napari_cupre.model.checkpoint import new_model
from napari_cupre.prediction.detector import Detector, Features, resized

SIDE = 28


class SeeingDetector(Detector):
    """Mends a box to the bright thing at its middle; its mask is what is bright in a box."""

    def __init__(self) -> None:
        super().__init__(new_model("tiny"))
        self.pieces: list[tuple[int, ...]] = []

    def features(self, piece: np.ndarray, factor: float) -> Features:
        self.pieces.append(piece.shape)
        image = resized(torch.from_numpy(np.ascontiguousarray(piece)).permute(2, 0, 1)[None], factor)
        return Features({"0": image}, (image.shape[2], image.shape[3]), factor)

    def mended(self, features: Features, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        things, _ = ndimage.label(self._seen(features) >= 0.5)
        places = ndimage.find_objects(things)
        mended, scores = np.array(boxes, dtype=np.float32), np.full(len(boxes), 0.1, np.float32)
        for row, box in enumerate(np.asarray(boxes) * features.factor):
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            thing = things[min(max(y, 0), things.shape[0] - 1), min(max(x, 0), things.shape[1] - 1)]
            if thing:
                rows, columns = places[thing - 1]
                found = np.array([columns.start, rows.start, columns.stop, rows.stop])
                mended[row] = found / features.factor
                scores[row] = 0.9
        return mended, scores, np.ones(len(boxes), np.int64)

    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        seen, steps = self._seen(features), (np.arange(SIDE) + 0.5) / SIDE
        masks = np.zeros((len(boxes), SIDE, SIDE), np.float32)
        for row, box in enumerate(np.asarray(boxes) * features.factor):
            place = [box[low] + steps * (box[low + 2] - box[low]) - 0.5 for low in (1, 0)]
            masks[row] = ndimage.map_coordinates(
                seen, np.meshgrid(*place, indexing="ij"), order=1, mode="nearest"
            )
        return masks

    @staticmethod
    def _seen(features: Features) -> Any:
        return features.maps["0"][0, 0].numpy()


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two masks."""
    return float((first & second).sum() / max(1, (first | second).sum()))
