"""The labelled sources of the supervised step, mixed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from napari_cupre.data.synthetic import SyntheticFields
from napari_cupre.model.targets import Target, target_from_labels


@dataclass
class LabelledField:
    """One labelled training image.

    Attributes
    ----------
    image : float32 (side, side, 3), in about [0, 1].
    labels : int32 (side, side), 0 = background.
    known : bool (side, side); None = all. Crowd regions of COCO are unknown.
    classes : name of the class of each label; None = "cell" for all.
    """

    image: np.ndarray
    labels: np.ndarray
    known: np.ndarray | None = None
    classes: dict[int, str] | None = None


class LabelledSource(Protocol):
    """Something that labelled training images are drawn from."""

    name: str
    classes: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> LabelledField:
        """One augmented field of the size that was asked for; a function of the generator's state alone."""
        ...


class SyntheticSource:
    """Fields of cell-like instances drawn on the fly.

    Parameters
    ----------
    side : of a field, px.
    seed : of the fields.
    diameter : the network's cell diameter; fields have from half to twice of it.
    """

    name = "synthetic"
    classes = ("cell",)

    def __init__(self, side: int, seed: int, diameter: float) -> None:
        self.fields = SyntheticFields(size=side, seed=seed, diameter=(max(4.0, diameter / 2), diameter * 2))

    def draw(self, rng: np.random.Generator) -> LabelledField:
        """See `LabelledSource.draw`."""
        field = self.fields[int(rng.integers(2**31))]
        return LabelledField(field.image, field.labels)


@dataclass
class FieldSample:
    """A field as tensors: `image` float32 (3, side, side), its target, and the name of its source."""

    image: Tensor
    target: Target
    source: str


class MixedFields(Dataset):
    """Sample `i` of the supervised stream: a function of the seed and `i` alone.

    Parameters
    ----------
    sources : with their weights.
    classes : the network's classes, in order.
    seed : of the stream.
    """

    def __init__(
        self, sources: Sequence[tuple[LabelledSource, float]], classes: tuple[str, ...], seed: int
    ) -> None:
        self.sources = [source for source, _ in sources]
        weights = np.array([weight for _, weight in sources], dtype=np.float64)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._numbers = {name: number for number, name in enumerate(classes, start=1)}
        self.seed = seed

    def __getitem__(self, number: int) -> FieldSample:
        rng = np.random.default_rng([self.seed, number])
        chosen = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        source = self.sources[min(chosen, len(self.sources) - 1)]
        field = source.draw(rng)
        target = target_from_labels(field.labels, field.known, self._class_numbers(field))
        image = torch.from_numpy(np.ascontiguousarray(field.image.transpose(2, 0, 1), dtype=np.float32))
        return FieldSample(image, target, source.name)

    def _class_numbers(self, field: LabelledField) -> dict[int, int] | None:
        if field.classes is not None:
            return {label: self._numbers[name] for label, name in field.classes.items()}
        cell = self._numbers["cell"]
        if cell == 1:
            return None
        return {int(label): cell for label in np.unique(field.labels) if label}


@dataclass
class FieldBatch:
    """Stacked fields: `images` float32 (B, 3, side, side) and one target each."""

    images: Tensor
    targets: list[Target]


def collate_fields(samples: list[FieldSample]) -> FieldBatch:
    return FieldBatch(torch.stack([s.image for s in samples]), [s.target for s in samples])
