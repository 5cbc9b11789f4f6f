"""Run a network without torch: its graphs in ONNX Runtime, and NumPy between them."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, NamedTuple

import numpy as np

from napari_cupre.model.config import ModelConfig
from napari_cupre.model.geometry import (
    BOXES_AT_ONCE,
    MASK_SIZE,
    MASKS_IN_HEAD,
    PROPOSALS_A_DETECTION,
    REFINING,
    anchor_shapes,
    candidate_counts,
)
from napari_cupre.model.graph_boxes import covers_a_pixel, cut_to, decoded, likely_boxes, pooled
from napari_cupre.model.graph_file import BOX, MASK, SUPPRESSION, TRUNK, Weights, filled_graph, graph_path
from napari_cupre.model.hardware import thread_count
from napari_cupre.model.suppress import suppress

BOX_SIDE, BOX_SAMPLES = 7, 2
MASK_SIDE, MASK_SAMPLES = 14, 1


class FirstStage(NamedTuple):
    """The result of the first stage for an image.

    Attributes
    ----------
    features : list of numpy.ndarray
        float32 (Y, X, C) of each pyramid level, finest first.
    peaks : list of numpy.ndarray
        (A, Y, X), logits of the anchors that are local maxima, very low elsewhere.
    offsets : list of numpy.ndarray
        (4 * A, Y, X).
    """

    features: list[np.ndarray]
    peaks: list[np.ndarray]
    offsets: list[np.ndarray]


class DetectedCells(NamedTuple):
    """Cells of one image, best first: boxes (N, 4) in network px, scores, classes and masks (N, S, S)."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray


class GraphNetwork:
    """The detection of `CellRCNN` for one image at a time.

    Parameters
    ----------
    config : ModelConfig
        A configuration for which graphs ship (see `graph_file.has_graphs`).
    weights : Weights
        See `graph_file.read_tensors`; not needed afterwards.

    Raises
    ------
    ImportError
        If ONNX Runtime is not installed.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.config = config
        self._trunk, self._box, self._mask = (
            _session(filled_graph(config.preset, part, weights)) for part in (TRUNK, BOX, MASK)
        )
        self._suppression = _session(graph_path(SUPPRESSION).read_bytes(), threads=1)

    @functools.cached_property
    def _anchors(self) -> list[np.ndarray]:
        return [anchor_shapes(sizes, self.config.aspect_ratios) for sizes in self.config.anchor_sizes]

    def maps(self, image: np.ndarray) -> FirstStage:
        """Run the first stage on an image float32 (Y, X, 3)."""
        found = self._trunk.run(None, {"image": np.ascontiguousarray(image, dtype=np.float32)[None]})
        parts, levels = [part[0] for part in found], len(self._anchors)
        return FirstStage(parts[:levels], parts[levels : 2 * levels], parts[2 * levels :])

    def detect(self, image: np.ndarray, score: float, max_detections: int) -> DetectedCells:
        """Detect the cells of an image float32 (Y, X, 3); those below `score` are left out."""
        size = (image.shape[0], image.shape[1])
        seen = self.maps(image)
        boxes = self._proposals(seen, size)[: PROPOSALS_A_DETECTION * max_detections]
        values, offsets = self._scored(seen.features, boxes)
        boxes, values, classes = self._kept(
            decoded(offsets, boxes, REFINING), values, size, score, max_detections
        )
        masks = self.outline(seen.features, boxes)
        rows = suppress(boxes, values, masks, size, self.config.mask_nms)
        return DetectedCells(boxes[rows], values[rows], classes[rows], masks[rows])

    def mend(
        self, features: list[np.ndarray], boxes: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Refine boxes (N, 4) with the box head; return boxes, scores and classes (from 1)."""
        values, offsets = self._scored(features, boxes)
        kind = values[:, 1:].argmax(axis=1)
        best = values[np.arange(len(values)), kind + 1]
        return cut_to(decoded(offsets, boxes, REFINING), size), best, kind + 1

    def outline(self, features: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """Return the masks float32 (N, S, S) of the cells in boxes (N, 4)."""
        masks = np.zeros((len(boxes), MASK_SIZE, MASK_SIZE), dtype=np.float32)
        for start in range(0, len(boxes), MASKS_IN_HEAD):
            rows = slice(start, start + MASKS_IN_HEAD)
            rois = pooled(features[:4], boxes[rows], MASK_SIDE, MASK_SAMPLES)
            masks[rows] = self._mask.run(None, {"rois": rois})[0]
        return masks

    def _proposals(self, seen: FirstStage, size: tuple[int, int]) -> np.ndarray:
        """Return boxes (N, 4) that may be cells, best first; see `rpn.ProposalNetwork.propose`."""
        most, after = candidate_counts(self.config.detect_candidates, size)
        boxes, logits = [], []
        for level, (peaks, offsets) in enumerate(zip(seen.peaks, seen.offsets, strict=True)):
            found, logit = likely_boxes(level, peaks, offsets, self._anchors[level], most)
            found = cut_to(found, size)
            large = covers_a_pixel(found)
            found, logit = found[large], logit[large]
            rows = self._suppressed(found, logit, self.config.rpn_nms)
            boxes.append(found[rows])
            logits.append(logit[rows])
        order = np.argsort(-np.concatenate(logits), kind="stable")[:after]
        return np.concatenate(boxes)[order]

    def _scored(self, features: list[np.ndarray], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (N, classes + 1) and offsets (N, 4) of boxes, computed a few at a time."""
        values = np.zeros((len(boxes), len(self.config.classes) + 1), dtype=np.float32)
        offsets = np.zeros((len(boxes), 4), dtype=np.float32)
        for start in range(0, len(boxes), BOXES_AT_ONCE):
            rows = slice(start, start + BOXES_AT_ONCE)
            rois = pooled(features[:4], boxes[rows], BOX_SIDE, BOX_SAMPLES)
            values[rows], offsets[rows] = self._box.run(None, {"rois": rois})
        return values, offsets

    def _kept(
        self, boxes: np.ndarray, values: np.ndarray, size: tuple[int, int], threshold: float, limit: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes, scores and classes of cells after suppression; see `heads.InstanceHeads`."""
        kind = values[:, 1:].argmax(axis=1)
        best = values[np.arange(len(values)), kind + 1]
        boxes = cut_to(boxes, size)
        good = np.flatnonzero((best >= threshold) & covers_a_pixel(boxes))
        rows = good[self._suppressed(boxes[good], best[good], self.config.box_nms)][:limit]
        return boxes[rows], best[rows], kind[rows] + 1

    def _suppressed(self, boxes: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
        """Return the rows of boxes (N, 4) that no better box overlaps by more than `iou`, best first."""
        if len(boxes) < 2:
            return np.arange(len(boxes))
        given = {
            "boxes": boxes[None].astype(np.float32),
            "scores": scores[None, None].astype(np.float32),
            "most": np.array([len(boxes)], dtype=np.int64),
            "iou": np.array([iou], dtype=np.float32),
        }
        return self._suppression.run(None, given)[0][:, 2]


def _session(graph: bytes, threads: int | None = None) -> Any:
    """Load a graph; its threads sleep while they wait, since spinning would slow other processes."""
    import onnxruntime

    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or thread_count()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@functools.cache
def _share_memory() -> None:
    """Let all graphs of this process share memory that grows only as needed; calling it once is enough.

    A field of 1,024 px then takes 490 MB instead of 650, in the same time.
    """
    import onnxruntime

    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    with contextlib.suppress(Exception):  # another library has set one up already, which serves as well
        onnxruntime.create_and_register_allocator(where, settings)
