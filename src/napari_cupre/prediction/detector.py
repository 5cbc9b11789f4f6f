"""Run the network on pieces of an image at the network's own scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_cupre.data.normalise import is_grey
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.device import autocast, training_dtype
from napari_cupre.model.engine import Engine
from napari_cupre.model.geometry import stretched_size
from napari_cupre.model.hardware import is_out_of_memory
from napari_cupre.model.heads import InstanceHeads
from napari_cupre.model.memory import keep_large_blocks
from napari_cupre.model.network import Detections
from napari_cupre.prediction.detecting import (
    MAX_DETECTIONS,
    CellFinder,
    Features,
    in_px,
    too_large,
)
from napari_cupre.prediction.stitch import Found

PIXELS_AT_ONCE = {"cpu": 1 << 20, "mps": 1 << 22, "cuda": 1 << 23}
"""Network pixels of one batch; on a CPU larger batches cost memory and gain nothing."""


class Detector(CellFinder):
    """A model made ready for prediction.

    Parameters
    ----------
    model : Model
        It stays on its device; on the processor its fastest engine is used (see `Model.engine`). If its
        weights change, make another detector.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.info = model.info
        self.device = model.device
        self.engine = model.engine()
        # An engine's layers have their types; autocast would compute even the exact ones in bfloat16.
        self._dtype = None if self.engine else training_dtype(self.device)
        if self.device.type == "cpu":
            keep_large_blocks()

    @property
    def diameter(self) -> float:
        """Return the cell diameter in network px that the network was trained for."""
        return self.model.network.config.diameter

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the tensors, then the graphs."""
        for name, tensor in sorted(self.model.network.state_dict().items()):
            yield name, tensor.detach().cpu().contiguous().numpy().tobytes()
        yield from sorted(self.model.valid_graphs.items())

    def batch_size(self, shape: tuple[int, int], factor: float) -> int:
        """Return how many pieces of `shape` (Y, X) image px go through the network together."""
        pixels = max(1.0, shape[0] * shape[1] * factor * factor)
        return max(1, int(PIXELS_AT_ONCE.get(self.device.type, 1 << 20) // pixels))

    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        """Find the cells of one piece, in float32; see `CellFinder`."""
        return self._found([piece], factor, score, self.model.engine(exact=True))[0]

    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        """Find the surest cells of one piece, in the precision of the prediction; see `CellFinder`."""
        return self._found([piece], factor, score, self.engine, most)[0]

    def detected(self, pieces: Sequence[np.ndarray], factor: float, score: float) -> list[Found]:
        """Find the cells of each piece, in the piece's own px; see `CellFinder`."""
        return self._found(pieces, factor, score, self.engine)

    def _found(
        self,
        pieces: Sequence[np.ndarray],
        factor: float,
        score: float,
        engine: Engine | None,
        most: int = MAX_DETECTIONS,
    ) -> list[Found]:
        """See `detected`; halve the number of pieces at once if there is not enough memory."""
        try:
            return self._run(pieces, factor, score, engine, most)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(pieces) == 1:
            raise too_large(pieces[0], str(self.device))
        half = len(pieces) // 2
        return [
            found
            for part in (pieces[:half], pieces[half:])
            for found in self._found(part, factor, score, engine, most)
        ]

    def features(self, piece: np.ndarray, factor: float) -> Features:
        """Compute the features of one piece; see `CellFinder`."""
        try:
            images = self._resized([piece], factor)
            with torch.inference_mode(), autocast(self.device, self._dtype):
                maps = (self.engine or self.model.network).maps(images).features
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(piece, str(self.device)) from error
        self._tidy_after(images)
        # RoI pooling needs the channels of a pixel next to each other in memory.
        maps = {name: level.contiguous(memory_format=torch.channels_last) for name, level in maps.items()}
        return Features(maps, (images.shape[2], images.shape[3]), factor)

    def mended(self, features: Features, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correct boxes (N, 4) in px of the piece with the box head; see `CellFinder`."""
        with torch.inference_mode(), autocast(self.device, self._dtype):
            given = self._in_network(features, boxes)
            found = self._heads.mend(features.maps, given, features.size, self.engine or self._heads)
        mended, scores, classes = (part.float().cpu().numpy() for part in found)
        return mended / np.float32(features.factor), scores, classes.astype(np.int64)

    def outlined(self, features: Features, boxes: np.ndarray) -> np.ndarray:
        """Return the mask in each box (N, 4) in px of the piece: float32 probabilities (N, S, S)."""
        with torch.inference_mode(), autocast(self.device, self._dtype):
            given = self._in_network(features, boxes)
            return self._heads.outline(
                features.maps, given, features.size, self.engine or self._heads
            ).numpy()

    @property
    def _heads(self) -> InstanceHeads:
        return self.model.network.heads

    def _in_network(self, features: Features, boxes: np.ndarray) -> Tensor:
        scaled = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) * np.float32(features.factor)
        return torch.from_numpy(scaled).to(self.device)

    def _run(
        self, pieces: Sequence[np.ndarray], factor: float, score: float, engine: Engine | None, most: int
    ) -> list[Found]:
        images = self._resized(pieces, factor)
        with torch.inference_mode(), autocast(self.device, self._dtype):
            found = self.model.network.detect(images, score=score, max_detections=most, engine=engine)
        self._tidy_after(images)
        height, width = pieces[0].shape[:2]
        return [_in_image(detections, factor, (height, width)) for detections in found]

    def _resized(self, pieces: Sequence[np.ndarray], factor: float) -> Tensor:
        """Resize pieces of one shape to network px, float32 (B, 3, Y, X); only one channel if grey."""
        channels = 1 if factor != 1 and all(map(is_grey, pieces)) else 3
        parts = torch.from_numpy(np.stack([piece[..., :channels] for piece in pieces]))
        # (B, Y, X, 3) viewed as (B, 3, Y, X) is in channels-last layout, which suits convolutions.
        images = resized(parts.permute(0, 3, 1, 2).to(self.device), factor)
        return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def _tidy_after(self, images: Tensor) -> None:
        if self.device.type == "cpu":
            self._tidy(images.shape[0] * images.shape[2] * images.shape[3])


def resized(images: Tensor, factor: float) -> Tensor:
    """Stretch images (B, C, Y, X) by exactly `factor`, smoothing if they shrink; at least 1 px a side.

    The result covers the whole image; its last row and column repeat the image's border if necessary.
    """
    if factor == 1:
        return images
    size, lack = stretched_size((images.shape[-2], images.shape[-1]), factor)
    if any(lack):
        images = F.pad(images, (0, lack[1], 0, lack[0]), mode="replicate")
    # Pass the factor, not the size, which would stretch by the ratio of two rounded numbers.
    stretched = F.interpolate(
        images,
        scale_factor=factor * (1 + 1e-9),  # a whole product must not be rounded down
        mode="bilinear",
        align_corners=False,
        antialias=factor < 1,
        recompute_scale_factor=False,
    )
    return stretched[..., : size[0], : size[1]]


def _in_image(detections: Detections, factor: float, size: tuple[int, int]) -> Found:
    """Convert detections to the px of the piece, of `size` (Y, X), before it was stretched."""
    return Found(
        in_px(detections.boxes.numpy(), factor, size),
        detections.scores.numpy(),
        detections.classes.numpy(),
        detections.masks.numpy(),
    )
