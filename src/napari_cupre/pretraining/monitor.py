"""Measure AP on held-out fields of the source; if it falls, the network forgets what instances are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from napari_cupre.evaluation.report import Report, evaluate
from napari_cupre.model.device import memory_format
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.paint import paint_masks
from napari_cupre.pretraining.labelled_sources import FieldBatch, MixedFields

_SCORE = 0.5
"""Detections below this score do not count."""


@dataclass
class HeldOutScores:
    """How well the network predicts the held-out fields.

    Attributes
    ----------
    ap, ap50 : float
        TP / (TP + FP + FN) over the IoU thresholds 0.5 to 0.95, and at 0.5; pooled over the fields, ignoring
        classes.
    by_source : dict of str to float
        `ap50` of each source alone.
    cells : int
        Number of true instances.
    predicted : list of numpy.ndarray
        int32 label image of each field.
    """

    ap: float
    ap50: float
    by_source: dict[str, float]
    cells: int
    predicted: list[np.ndarray] = field(default_factory=list)


class HeldOut:
    """A fixed set of fields that the network does not train on.

    Parameters
    ----------
    dataset : MixedFields
        Source of the fields.
    count : int
        Number of fields; the first ones of `dataset` are taken.
    """

    def __init__(self, dataset: MixedFields, count: int) -> None:
        self.fields: list[FieldBatch] = [dataset[number] for number in range(count)]

    def judge(self, network: CellRCNN) -> HeldOutScores:
        """Predict the fields and score the result; the network is not changed."""
        predicted = [self._predict(network, one.images) for one in self.fields]
        whole = _report(self.fields, predicted)
        by_source = {}
        for name in sorted({one.sources[0] for one in self.fields}):
            own = [number for number, one in enumerate(self.fields) if one.sources[0] == name]
            own_report = _report([self.fields[n] for n in own], [predicted[n] for n in own])
            by_source[name] = float(own_report.pooled.ap50)
        cells = sum(len(one.targets[0]) for one in self.fields)
        return HeldOutScores(float(whole.pooled.ap), float(whole.pooled.ap50), by_source, cells, predicted)

    @staticmethod
    def _predict(network: CellRCNN, images: Tensor) -> np.ndarray:
        device = next(network.parameters()).device
        images = images.to(device, memory_format=memory_format(device))
        found = network.detect(images, score=_SCORE)[0]
        shape = (images.shape[2], images.shape[3])
        return paint_masks(found.boxes.numpy(), found.masks.numpy(), found.scores.numpy(), shape)


def _report(fields: Sequence[FieldBatch], predicted: Sequence[np.ndarray]) -> Report:
    truth = [one.targets[0].instances.numpy() for one in fields]
    known = [one.targets[0].known.numpy() for one in fields]
    return evaluate(truth, predicted, known=known)
