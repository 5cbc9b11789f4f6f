"""The labelled sources of the supervised step, mixed by weight."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

JITTER = (0.3, 1.6)
"""Large-scale jitter: a photo is resized by a log-uniform factor in this range before a field is cut out."""

SCALED_JITTER = (0.5, 1.6)
"""The same for images of cells, relative to the network's cell diameter."""

_PASTE_PROBABILITY, _PASTED, _PASTE_AREA = 0.5, 8, 0.15
"""Copy-paste: its probability, the maximum number of instances pasted from another image, and the largest
share of the field that a pasted instance may cover."""

_QUALITY, _DARKEST = (25, 95), 0.1
"""Images with JPEG artefacts: range of the quality, and darkest exposure as a share of the 8-bit range."""

_TRIES = 20
"""A source gives up after this many unreadable images in a row."""


Skipped = list[tuple[str, str]]
"""Images that could not be read, with the reason."""


class LabelledSource(Protocol):
    """A source of labelled training images."""

    @property
    def name(self) -> str:
        """Return the name of the source in reports."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of its classes."""

    def draw(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """Draw one augmented field; it depends only on the state of the generator.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all randomness.
        skipped : list of tuple of str
            Images that turn out to be unreadable are added, with the reason.

        Returns
        -------
        Sample
            A square field.
        """


class SyntheticSource:
    """Fields of cell-like instances drawn on the fly.

    Parameters
    ----------
    side : int
        Side of a field in px.
    seed : int
        Seed of the fields.
    diameter : float
        The network's cell diameter in px; cells in the fields have half to twice this diameter.
    looks : mapping of str to float, optional
        Weight of each look; by default the weights with which they were registered.
    modules : sequence of str, optional
        Python modules that register further looks.

    Attributes
    ----------
    light : RealLight or None
        If set, it gives some fields the light of real images.

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
        import_looks(self.modules)  # a loader worker may have started without these modules
        drawn = self.fields[int(rng.integers(2**31))]
        return drawn if self.light is None else replace(drawn, image=self.light.on(rng, drawn.image))


def import_looks(modules: Sequence[str]) -> None:
    """Import modules that register looks; a module that is already imported costs nothing.

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


@dataclass(eq=False)
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
        Side of a field in px.
    diameter : float, optional
        Diameter in px to which the median instance of an image is scaled before the jitter; None keeps the
        size.
    jpeg : float
        Share of the images that get JPEG artefacts.
    """

    source: CocoSource
    numbers: np.ndarray
    side: int
    diameter: float | None = None
    jpeg: float = 0.0
    _factors: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """Return the name of the annotation file."""
        return str(self.source.index.path)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes of the source, in order."""
        return tuple(self.source.categories)

    def draw(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """See `LabelledSource.draw`.

        Raises
        ------
        InputError
            If `_TRIES` images in a row cannot be read.
        """
        sample = self._jittered(rng, skipped)
        if rng.random() < _PASTE_PROBABILITY:
            sample = self._pasted(rng, sample, self._jittered(rng, skipped))
        return replace(sample, image=photometric(rng, sample.image))

    def _jittered(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        """Cut a square part out of a random image, randomly resized and turned."""
        for _ in range(_TRIES):
            number = int(rng.choice(self.numbers))
            try:
                read = self.source[number]
            except (InputError, OSError) as error:
                skipped.append((f"{self.name}#{number}", str(error)))
                continue
            # At 0 no random number is drawn, so that a seed gives the same fields as without this setting.
            if self.jpeg and rng.random() < self.jpeg:
                exposure = float(np.exp(rng.uniform(np.log(_DARKEST), 0)))
                image = jpeg_artefacts(read.image, int(rng.integers(*_QUALITY)), exposure)
                read = replace(read, image=image)
            return random_turn(rng, random_crop(rng, read, self.side, self._range(number, read.labels)))
        raise InputError(
            f"{_TRIES} images of {self.name} in a row could not be read, the last because: {skipped[-1][1]}"
        )

    def _range(self, number: int, labels: np.ndarray) -> tuple[float, float]:
        """Return the range of the factor by which an image is resized."""
        if self.diameter is None or not labels.any():
            return JITTER
        if number not in self._factors:
            self._factors[number] = self.diameter / median_diameter(labels)
        factor = self._factors[number]
        return SCALED_JITTER[0] * factor, SCALED_JITTER[1] * factor

    def _pasted(self, rng: np.random.Generator, sample: Sample, other: Sample) -> Sample:
        """Paste in some instances of another image, with their classes."""
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
        float32 (B, 3, side, side), normalised.
    targets : list of Target
        The instances that the network should find in each field.
    sources : list of str
        Name of the source of each.
    skipped : list of tuple of str
        Images that could not be read, with the reason.
    """

    images: Tensor
    targets: list[Target]
    sources: list[str]
    skipped: Skipped


class MixedFields(Dataset[FieldBatch]):
    """The supervised stream: item `i` is a batch of one field that depends only on the seed and `i`.

    Parameters
    ----------
    sources : sequence of tuple of (LabelledSource, float)
        The sources with their weights.
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
    """Join several batches into one."""
    return FieldBatch(
        torch.cat([part.images for part in parts]),
        [target for part in parts for target in part.targets],
        [source for part in parts for source in part.sources],
        [skip for part in parts for skip in part.skipped],
    )


def split_numbers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the numbers of images into those to train on and those held out: 5 %, but 1 to 200 images.

    A single image serves as both.
    """
    order = np.random.default_rng(seed).permutation(count)
    held = min(max(1, round(0.05 * count)), 200)
    return (order[held:], order[:held]) if count > 1 else (order, order)
