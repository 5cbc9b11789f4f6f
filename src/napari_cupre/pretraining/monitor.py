"""Held-out AP on the labelled source; a falling AP shows that the network forgets what instances are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_cupre.evaluation.report import Report, evaluate_labels
from napari_cupre.model.device import memory_format
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.paint import paint_masks
from napari_cupre.pretraining.sources import FieldSample, MixedFields

#: Detections below this score are not counted.
_SCORE = 0.5


@dataclass
class Judgement:
    """The network's predictions on the held-out fields.

    Attributes
    ----------
    ap, ap50 : float
        TP / (TP + FP + FN), pooled over the fields, classes aside.
    by_source : dict of str to float
        ap50 of each source alone.
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
        Their source; the first `count` of it are taken.
    """

    def __init__(self, dataset: MixedFields, count: int) -> None:
        self.fields: list[FieldSample] = [dataset[number] for number in range(count)]

    def judge(self, network: CellRCNN) -> Judgement:
        """Predict the fields and score the result; the network is not changed."""
        predicted = [self._predict(network, sample) for sample in self.fields]
        whole = _report(self.fields, predicted)
        by_source = {}
        for name in sorted({sample.source for sample in self.fields}):
            own = [number for number, sample in enumerate(self.fields) if sample.source == name]
            own_report = _report([self.fields[n] for n in own], [predicted[n] for n in own])
            by_source[name] = float(own_report.pooled.ap50)
        cells = sum(len(sample.target) for sample in self.fields)
        return Judgement(float(whole.pooled.ap), float(whole.pooled.ap50), by_source, cells, predicted)

    @staticmethod
    def _predict(network: CellRCNN, sample: FieldSample) -> np.ndarray:
        device = next(network.parameters()).device
        images = sample.image[None].to(device, memory_format=memory_format(device))
        found = network.detect(images, score=_SCORE)[0]
        shape = (sample.image.shape[1], sample.image.shape[2])
        return paint_masks(found.boxes.numpy(), found.masks.numpy(), found.scores.numpy(), shape)


def _report(fields: Sequence[FieldSample], predicted: Sequence[np.ndarray]) -> Report:
    truth = [sample.target.instances.numpy() for sample in fields]
    known = [sample.target.known.numpy() for sample in fields]
    return evaluate_labels(truth, predicted, known=known)
