"""The data of one training: what it learns from, and what it is judged on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from napari_cupre.data.augment import rescale
from napari_cupre.data.sample import Sample
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.finetuning.crops import CropSampler, scale_shot
from napari_cupre.finetuning.finetune_optimiser import rates
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.finetuning.folder_contrast import FolderContrast
from napari_cupre.finetuning.judge import Judge
from napari_cupre.finetuning.pseudo import PseudoBackground
from napari_cupre.finetuning.scaling import choose_scaling
from napari_cupre.finetuning.split import ENOUGH_FROM_SCRATCH, count_cells, hold_out
from napari_cupre.finetuning.teacher import MeanTeacher
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.project.heldout import HELD_FROM_CELLS
from napari_cupre.words import counted

MOSTLY_KNOWN = 0.95  # if this share of the images is known, looking at the rest is not worth the time
MOST_UNLABELLED, PLACE = 48, 768  # images without annotation to use, and side of the used part, network px
SKILL_WINDOWS = 4  # windows of annotation on which the start is tried
LEAST_NEW = 5  # cells of images that the start has not seen, to tell what it knows
# Of the budget: when the network looks at the unknown part of the images, and again as it gets better.
PSEUDO_AT = (0.25, 0.4, 0.55, 0.7, 0.85)
PSEUDO_SHARE = 0.2  # of the steps is how many windows are looked at altogether
MOST_WINDOWS = 12  # at a time


class Teaching:
    """Scaled annotated images, split into those to learn from and those that only judge.

    Parameters
    ----------
    shots : list of Shot
        Annotated images at their own scale, and images without annotation (`Shot.is_unlabelled`).
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
        Draws the crops to learn from.
    judge : Judge or None
        Judges on the held-out part; None if nothing is held out.
    remark : str
        A sentence about images without annotation that cannot be used; "" if all can.
    """

    def __init__(self, shots: list[Shot], settings: FinetuneSettings, diameter: float, scratch: bool) -> None:
        self._settings, self._seed = settings, settings.seed
        self._unlabelled = [shot for shot in shots if shot.is_unlabelled]
        shots = [shot for shot in shots if not shot.is_unlabelled]
        self._keys = {_key(shot): shot.name for shot in shots}
        self.scaling = choose_scaling(shots, settings.diameter)
        enough = ENOUGH_FROM_SCRATCH if scratch else HELD_FROM_CELLS
        self._taught, self._held_out = hold_out(shots, settings.held_out, settings.seed, enough)
        judging = [(shot.for_judging(), self.scaling.of(shot)) for shot in self._held_out]
        judged = [scale_shot(shot, diameter / own) for shot, own in judging if shot.labels.any()]
        if not judged and all(shot.held is None for shot in shots):
            self._taught, self._held_out = list(shots), []  # what a project holds out may judge later
        parts = [*self._taught, *self._held_out]
        self._cut = sum(count_cells(x.labels) for x in shots) - sum(count_cells(x.labels) for x in parts)
        self.judge = Judge(judged, settings.seed) if judged else None
        self._scales = [diameter / self.scaling.of(shot) for shot in self._taught]
        rehearse = 0.0 if scratch else settings.rehearse
        self.sampler = CropSampler(self._taught, self._scales, diameter, rehearse)
        self._unknown: PseudoBackground | None = None
        if _known_share(self.sampler.samples) < MOSTLY_KNOWN:
            rng = np.random.default_rng(settings.seed)
            self._unknown = PseudoBackground(self.sampler.samples, self._scales, rng)
        scale = diameter / self.scaling.typical
        self._others = self._places(self._unlabelled, [scale] * len(self._unlabelled))
        self.remark = ""
        self._looked = 0
        self._teacher: MeanTeacher | None = None
        if self._others and settings.teacher:
            checks = self.judge.windows if self.judge else self._some(SKILL_WINDOWS).windows
            self._teacher = MeanTeacher(self._others, checks, np.random.default_rng(settings.seed))

    def _places(self, shots: list[Shot], scales: list[float]) -> list[np.ndarray]:
        """Return one place in each of some images, at network scale; a folder may be larger than memory."""
        rng = np.random.default_rng(self._seed)
        chosen = sorted(rng.permutation(len(shots))[:MOST_UNLABELLED])
        return [_place(rng, shots[number], scales[number]) for number in chosen]

    @property
    def cells(self) -> int:
        """Return the number of cells to learn from."""
        return sum(count_cells(shot.labels) for shot in self._taught)

    def contrast(self, network: CellRCNN, skill: float, holds_norm: bool) -> FolderContrast | None:
        """Return the contrastive step on images without annotation; None if there are too few.

        Parameters
        ----------
        skill : float
            See `make_optimiser`.
        holds_norm : bool
            BatchNorm keeps its statistics.
        """
        if not self._others or not self._settings.contrast:
            return None
        images = [*self._others, *self._places(self._taught, self._scales)]
        try:
            return FolderContrast(network, images, self._seed, rates(skill)[0], holds_norm)
        except InputError:
            self.remark = (
                "The images without annotation are too few or too small to learn from (contrastive learning)."
            )
            return None

    def skill(self, network: CellRCNN, dtype: torch.dtype | None) -> float:
        """Return how well a network finds annotated cells: AP50 on some windows of some images.

        Parameters
        ----------
        network : CellRCNN
            It is not changed.
        dtype : torch.dtype or None
            Data type of autocast.
        """
        return self._some(SKILL_WINDOWS).skill(network, dtype)

    def knew(
        self, network: CellRCNN, dtype: torch.dtype | None, training: Mapping[str, Any], skill: float
    ) -> float:
        """Return how well a start finds annotated cells that it has not learned from, AP50 in 0..1.

        Of images that it learned from in an earlier round it finds what it was shown.

        Parameters
        ----------
        network : CellRCNN
            The start; it is not changed.
        dtype : torch.dtype or None
            Data type of autocast.
        training : mapping
            The description of the start's own training.
        skill : float
            How well it finds the cells of all images. Returned if it learned from none of them.

        Returns
        -------
        float
            On the new images; if they have too few cells, what the first start of its rounds knew.
        """
        seen = set(training.get("seen", ()))
        if not seen & self._keys.keys():
            return skill
        names = {self._keys[key] for key in self._keys.keys() - seen}
        new = [number for number, shot in enumerate(self._taught) if shot.name in names]
        if sum(count_cells(self._taught[number].labels) for number in new) < LEAST_NEW:
            return float(training.get("knew", skill))
        return self._some(SKILL_WINDOWS, new).skill(network, dtype)

    def _some(self, most: int, among: Sequence[int] | None = None) -> Judge:
        """Return a judge on some windows of some images that are learned from."""
        numbers = range(len(self._taught)) if among is None else among
        annotated = [number for number in numbers if self._taught[number].labels.any()]
        chosen = np.random.default_rng(self._seed).permutation(annotated)[:most]
        scaled = [scale_shot(self._taught[number], self._scales[number]) for number in chosen]
        return Judge(scaled, self._seed, most)

    def windows_due(self, step: int, fraction: float) -> int:
        """Return how many windows to `look` at now; 0 between two looks, or if little is unknown.

        Parameters
        ----------
        step : int
            Steps done so far.
        fraction : float
            Used share of the budget.
        """
        due = sum(fraction >= point for point in PSEUDO_AT)
        if due == self._looked or (self._unknown is None and self._teacher is None):
            return 0
        self._looked = due
        steps = step / fraction  # that the whole budget has room for
        return int(np.clip(PSEUDO_SHARE * steps / len(PSEUDO_AT), 1, MOST_WINDOWS))

    def look(self, network: CellRCNN, dtype: torch.dtype | None, windows: int) -> str:
        """Also learn from what a network is sure of; see `PseudoBackground.look` and `MeanTeacher.look`.

        Returns
        -------
        str
            What changed, in sentences; "" if the network is not trusted yet.
        """
        return " ".join(
            said
            for said in (
                self._look_around(network, dtype, windows),
                self._look_elsewhere(network, dtype, windows),
            )
            if said
        )

    def _look_elsewhere(self, network: CellRCNN, dtype: torch.dtype | None, windows: int) -> str:
        """Take confident cells and background from images without annotation."""
        samples = [] if self._teacher is None else self._teacher.look(network, dtype, windows)
        self.sampler.unlabelled = samples
        cells = sum(count_cells(sample.labels) for sample in samples)
        said = (
            f"The network now also learns from {counted(len(samples), 'part')} of images without annotation: "
            f"from {counted(cells, 'cell')} and the background that it is sure of."
        )
        return said if samples else ""

    def _look_around(self, network: CellRCNN, dtype: torch.dtype | None, windows: int) -> str:
        """Count areas as background where the network is sure that there is no other cell."""
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
        held = sum(count_cells(shot.labels) for shot in self._held_out)
        accepted = held - sum(count_cells(shot.for_judging().labels) for shot in self._held_out)
        judged = f"{held} are held out to judge" if held else "too few to hold some out as a check"
        if accepted:
            guesses = counted(accepted, "accepted guess does", "accepted guesses do")
            judged += f" ({guesses} not count where not everything is annotated)"
        if self._cut:
            judged += f" ({counted(self._cut, 'cell')} on the cut between them left out)"
        others = len(self._unlabelled)
        beside = f", beside {counted(others, 'image')} without annotation" if others else ""
        taught = f"{counted(self.cells, 'cell')} of {counted(len(self._taught), 'image')}"
        return f"{taught}{beside}, {judged}; {self.scaling}"


def learned_from(shots: Sequence[Shot], training: Mapping[str, Any], knew: float) -> dict[str, Any]:
    """Return what the description of a model says about the images that it learned from.

    Parameters
    ----------
    shots : sequence of Shot
        The images.
    training : mapping
        The description of the start's own training.
    knew : float
        See `Teaching.knew`.
    """
    seen = {_key(shot) for shot in shots if not shot.is_unlabelled}
    return {
        "knew": round(knew, 4),
        "seen": sorted(seen.union(training.get("seen", ()))),
        "cells": sum(count_cells(shot.labels) for shot in shots),
        "images": sum(not shot.is_unlabelled for shot in shots),
        "unlabelled": sum(shot.is_unlabelled for shot in shots),
        **SeenChannels.of_shots(shots).as_dict(),
    }


def _key(shot: Shot) -> str:
    """Return what tells an image from others, whatever is annotated in it."""
    return f"{zlib.crc32(np.ascontiguousarray(shot.image).data):08x}"


def _known_share(samples: Sequence[Sample]) -> float:
    return sum(int(sample.known.sum()) for sample in samples) / sum(sample.known.size for sample in samples)


def _place(rng: np.random.Generator, shot: Shot, scale: float) -> np.ndarray:
    """Return a part of an image at network scale, float32 (Y, X, 3)."""
    side = max(1, int(PLACE / scale))
    top, left = (int(rng.integers(max(0, length - side) + 1)) for length in shot.labels.shape)
    part = (slice(top, top + side), slice(left, left + side))
    return rescale(shot.sample.part(part), scale).image
