"""What one training learns from, and what it is judged on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_cupre.data.sample import Sample
from napari_cupre.data.shot import Shot
from napari_cupre.finetuning.crops import CropSampler, scale_shot
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.finetuning.judge import Judge
from napari_cupre.finetuning.pseudo import PseudoBackground
from napari_cupre.finetuning.scaling import choose_scaling
from napari_cupre.finetuning.split import ENOUGH_FROM_SCRATCH, ENOUGH_TO_HOLD_OUT, count_cells, hold_out
from napari_cupre.model.network import CellRCNN

MOSTLY_KNOWN = 0.95  # so much is known of the images that looking at the rest is not worth the time
SKILL_WINDOWS = 4  # of annotation that the start is tried on


class Teaching:
    """Annotated images, parted into those that are learned from and those that only judge, and scaled.

    Parameters
    ----------
    shots : list of Shot
        What is annotated, at its own scale.
    settings : FinetuneSettings
        Of the run.
    diameter : float
        Diameter of the cells in network px.
    scratch : bool
        The start are random weights.

    Attributes
    ----------
    scaling : Scaling
        Diameter of the annotated cells.
    sampler : CropSampler
        Draws what is learned from.
    judge : Judge or None
        Judges on what is held out; None if nothing is.
    """

    def __init__(self, shots: list[Shot], settings: FinetuneSettings, diameter: float, scratch: bool) -> None:
        self._seed = settings.seed
        self.scaling = choose_scaling(shots, settings.diameter)
        enough = ENOUGH_FROM_SCRATCH if scratch else ENOUGH_TO_HOLD_OUT
        self._taught, self._held_out = hold_out(shots, settings.held_out, settings.seed, enough)
        judged = [scale_shot(shot, diameter / self.scaling.of(shot)) for shot in self._held_out]
        self.judge = Judge(judged, settings.seed) if judged else None
        self._scales = [diameter / self.scaling.of(shot) for shot in self._taught]
        rehearse = 0.0 if scratch else settings.rehearse
        self.sampler = CropSampler(self._taught, self._scales, diameter, rehearse)
        self._unknown: PseudoBackground | None = None
        if _known_share(self.sampler.samples) < MOSTLY_KNOWN:
            rng = np.random.default_rng(settings.seed)
            self._unknown = PseudoBackground(self.sampler.samples, self._scales, rng)

    @property
    def has_unknown(self) -> bool:
        """Whether much of the images is unknown, so that `look` may help."""
        return self._unknown is not None

    def skill(self, network: CellRCNN, dtype: torch.dtype | None) -> float:
        """How well a network finds what is annotated, AP50 on some windows of some images.

        Parameters
        ----------
        network : CellRCNN
            It is not changed.
        dtype : torch.dtype or None
            Data type of autocast.
        """
        annotated = [number for number, shot in enumerate(self._taught) if shot.labels.any()]
        chosen = np.random.default_rng(self._seed).permutation(annotated)[:SKILL_WINDOWS]
        scaled = [scale_shot(self._taught[number], self._scales[number]) for number in chosen]
        return Judge(scaled, self._seed, SKILL_WINDOWS).skill(network, dtype)

    def look(self, network: CellRCNN, dtype: torch.dtype | None, windows: int) -> str:
        """Take for background where a network is sure that no cell is; see `PseudoBackground.look`.

        Returns
        -------
        str
            What changed, as a sentence; "" if the network is not trusted yet.
        """
        samples = None if self._unknown is None else self._unknown.look(network, dtype, windows)
        if self._unknown is None or samples is None:
            return ""
        self.sampler.learn_from(samples)
        return (
            "The network now finds the annotated cells. Areas where it is sure that there are no others now "
            f"count as background: {_known_share(self._unknown.samples):.0%} of the images were known, "
            f"now {_known_share(samples):.0%}."
        )

    def in_words(self) -> str:
        """Say how many cells are learned from, and how many judge."""
        cells = sum(count_cells(shot.labels) for shot in self._taught)
        held = sum(count_cells(shot.labels) for shot in self._held_out)
        judged = f"{held} are held out to judge" if held else "too few to hold any out to judge"
        images = len(self._taught)
        return f"{cells} cells of {images} image{'s' * (images != 1)}, {judged}; {self.scaling}"


def _known_share(samples: Sequence[Sample]) -> float:
    return sum(int(sample.known.sum()) for sample in samples) / sum(sample.known.size for sample in samples)
