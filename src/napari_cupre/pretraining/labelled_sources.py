"""The labelled sources of the supervised step, mixed by weight."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from napari_cupre.data.augment import jpeg_artefacts, photometric, random_crop, random_turn
from napari_cupre.data.labels import median_diameter
from napari_cupre.data.paste import copy_paste, cut_cells
from napari_cupre.data.sample import Sample
from napari_cupre.errors import InputError
from napari_cupre.io.coco import CocoSource
from napari_cupre.model.targets import Target, target_from_labels
from napari_cupre.pretraining.adapt import RealLight
from napari_cupre.synthetic import SyntheticFields

#: Large-scale jitter: a photo is resized by a factor in this range, log-uniformly, before a field is cut from
#: it.
JITTER = (0.3, 1.6)

#: The same for images of cells, about the network's cell diameter.
SCALED_JITTER = (0.5, 1.6)

#: Copy-paste: how often, at most how many instances of another image, and the largest share of a field's area
#: of one.
_PASTE_PROBABILITY, _PASTED, _PASTE_AREA = 0.5, 8, 0.15

#: Quality and, as a share of the eight bits, darkest exposure of an image that comes as from a JPEG file.
_QUALITY, _DARKEST = (25, 95), 0.1

#: Images in a row that may be unreadable.
_TRIES = 20


#: Images that could not be read, with the reason.
Skipped = list[tuple[str, str]]


class LabelledSource(Protocol):
    """Something that labelled training images are drawn from."""

    @property
    def name(self) -> str:
        """Name of the source in reports."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes."""

    def draw(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """Draw one augmented field; the result depends only on the generator's state.

        Images that cannot be read on the way to it are added to `skipped`.
        """


class SyntheticSource:
    """Fields of cell-like instances drawn on the fly.

    Parameters
    ----------
    side : int
        Of a field, px.
    seed : int
        Seed of the fields.
    diameter : float
        The network's cell diameter; fields have from half to twice of it.
    looks : mapping of str to float, optional
        Weight of each look; None = the looks' own.
    modules : sequence of str, optional
        Python modules that register further looks.

    Attributes
    ----------
    light : RealLight or None
        Gives some of the fields the light of real images.

    Raises
    ------
    InputError
        If a module cannot be imported, or there is no such look.
    """

    name = "synthetic"
    classes = ("cell",)

    def __init__(
        self,
        side: int,
        seed: int,
        diameter: float,
        looks: Mapping[str, float] | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        self.modules = tuple(modules)
        self.light: RealLight | None = None
        import_looks(self.modules)
        self.fields = SyntheticFields(
            size=side, seed=seed, looks=looks, diameter=(max(4.0, diameter / 2), diameter * 2)
        )

    def draw(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """See `LabelledSource.draw`."""
        import_looks(self.modules)  # a loader's process may have started without them
        drawn = self.fields[int(rng.integers(2**31))]
        return drawn if self.light is None else replace(drawn, image=self.light.on(rng, drawn.image))


def import_looks(modules: Sequence[str]) -> None:
    """Import modules that register looks; those that are imported already cost nothing.

    Raises
    ------
    InputError
        If one cannot be imported.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"The module {name!r} of look_modules cannot be imported ({error}): install it, or add its "
                "folder to PYTHONPATH."
            ) from error


class CocoFields:
    """Fields from a COCO-format source, with large-scale jitter and copy-paste.

    Ghiasi et al., "Simple Copy-Paste", CVPR 2021.

    Parameters
    ----------
    source : CocoSource
        The images with their instances.
    numbers : numpy.ndarray
        Which of its images to draw from.
    side : int
        Of a field, px.
    diameter : float, optional
        That the median instance of an image is scaled to, px, before the jitter; None keeps its size.
    jpeg : float
        Share of the images that come as from a JPEG file.
    """

    def __init__(
        self,
        source: CocoSource,
        numbers: np.ndarray,
        side: int,
        diameter: float | None = None,
        jpeg: float = 0.0,
    ) -> None:
        self.source = source
        self.numbers = numbers
        self.side = side
        self.diameter = diameter
        self.jpeg = jpeg
        self.name = str(source.index.path)
        self.classes = tuple(source.categories)

    def draw(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """See `LabelledSource.draw`.

        Raises
        ------
        InputError
            If many images in a row cannot be read.
        """
        sample = self._jittered(rng, skipped)
        if rng.random() < _PASTE_PROBABILITY:
            sample = self._pasted(rng, sample, self._jittered(rng, skipped))
        return replace(sample, image=photometric(rng, sample.image))

    def _jittered(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """A square part of a random image at a random size, turned at random."""
        for _ in range(_TRIES):
            number = int(rng.choice(self.numbers))
            try:
                read = self.source[number]
            except (InputError, OSError) as error:
                skipped.append((f"{self.name}#{number}", str(error)))
                continue
            if self.jpeg and rng.random() < self.jpeg:  # where it is 0, a seed draws what it always drew
                exposure = float(np.exp(rng.uniform(np.log(_DARKEST), 0)))
                image = jpeg_artefacts(read.image, int(rng.integers(*_QUALITY)), exposure)
                read = replace(read, image=image)
            return random_turn(rng, random_crop(rng, read, self.side, self._range(read.labels)))
        raise InputError(
            f"{_TRIES} images of {self.name} in a row could not be read, the last because: {skipped[-1][1]}"
        )

    def _range(self, labels: np.ndarray) -> tuple[float, float]:
        """Between which factors an image is resized."""
        if self.diameter is None or not labels.any():
            return JITTER
        factor = self.diameter / median_diameter(labels)
        return SCALED_JITTER[0] * factor, SCALED_JITTER[1] * factor

    def _pasted(self, rng: np.random.Generator, sample: Sample, other: Sample) -> Sample:
        """Some instances of another image pasted in, each keeping its class."""
        classes, others = dict(sample.classes or {}), other.classes or {}
        labels = [int(label) for label in np.unique(other.labels) if label]
        rng.shuffle(labels)
        for label in labels[: int(rng.integers(1, _PASTED + 1))]:
            alone = np.where(other.labels == label, label, 0).astype(np.int32)
            if np.count_nonzero(alone) > _PASTE_AREA * alone.size:
                continue
            donor = cut_cells(Sample(other.image, alone, other.known & ((other.labels == 0) | (alone > 0))))
            before = int(sample.labels.max())
            sample = copy_paste(rng, sample, donor, 1)
            if int(sample.labels.max()) > before:
                classes[before + 1] = others[label]
        return replace(sample, classes=classes)


@dataclass
class FieldBatch:
    """Fields as tensors.

    Attributes
    ----------
    images : torch.Tensor
        float32 (B, 3, side, side).
    targets : list of Target
        What the network should find in each.
    sources : list of str
        Name of the source of each.
    skipped : list of tuple of str
        Images that could not be read on the way to them, with the reason.
    """

    images: Tensor
    targets: list[Target]
    sources: list[str]
    skipped: Skipped


class MixedFields(Dataset[FieldBatch]):
    """Field `i` of the supervised stream, a batch of one: a function of the seed and `i` only.

    Parameters
    ----------
    sources : sequence of tuple of (LabelledSource, float)
        With their weights.
    classes : tuple of str
        The network's classes, in order.
    seed : int
        Seed of the stream.
    """

    def __init__(
        self, sources: Sequence[tuple[LabelledSource, float]], classes: tuple[str, ...], seed: int
    ) -> None:
        self.sources = [source for source, _ in sources]
        weights = np.array([weight for _, weight in sources], dtype=np.float64)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._numbers = {name: number for number, name in enumerate(classes, start=1)}
        self.seed = seed

    def __getitem__(self, number: int) -> FieldBatch:
        rng = np.random.default_rng([self.seed, number])
        chosen = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        source = self.sources[min(chosen, len(self.sources) - 1)]
        skipped: Skipped = []
        drawn = source.draw(rng, skipped)
        target = target_from_labels(drawn.labels, drawn.known, self._class_numbers(drawn))
        image = torch.from_numpy(np.ascontiguousarray(drawn.image.transpose(2, 0, 1), dtype=np.float32))
        return FieldBatch(image[None], [target], [source.name], skipped)

    def _class_numbers(self, drawn: Sample) -> dict[int, int]:
        if drawn.classes is not None:
            return {label: self._numbers[name] for label, name in drawn.classes.items()}
        return {int(label): self._numbers["cell"] for label in np.unique(drawn.labels) if label}


def collate_fields(parts: list[FieldBatch]) -> FieldBatch:
    """Join batches to one."""
    return FieldBatch(
        torch.cat([part.images for part in parts]),
        [target for part in parts for target in part.targets],
        [source for part in parts for source in part.sources],
        [skip for part in parts for skip in part.skipped],
    )


def split_numbers(count: int, seed: int, share: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images to train on and of those held out: a `share`, at least one and at most 200.

    A single image is trained on and judged on.
    """
    order = np.random.default_rng(seed).permutation(count)
    held = min(max(1, round(share * count)), 200)
    return (order[held:], order[:held]) if count > 1 else (order, order)
