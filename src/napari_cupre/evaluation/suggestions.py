"""Suggest which images to annotate next: images that a model is uncertain about and that differ.

Uncertainty has two parts, both known from active learning for detection: *doubt*, detections whose score is
neither high nor low (the margin of Brust et al., "Active Learning for Deep Object Detection", VISAPP 2019),
and *disagreement* between what is found in an image and in its mirror image (consistency, Elezi et al.,
"Not All Labels Are Equal", CVPR 2022). The most uncertain image by itself is a poor choice while little is
annotated, because it is often an odd one (Hacohen et al., "Active Learning on a Budget: Opposite Strategies
Suit High and Low Budgets", ICML 2022). So the next image is the one that stands for most of the uncertainty
of the folder: the uncertainty of all images that look like it and not like one that is annotated or chosen
(facility location, Wei et al., "Submodularity in Data Subset Selection and Active Learning", ICML 2015).
Looks are compared by the backbone's features. If there are too many images to search, those that differ most
are searched: the greedy k-center of Sener and Savarese, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach", ICLR 2018.

The function that finds cells is an argument, so that this module does not depend on prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.evaluation.image_features import (
    Partly,
    centred,
    look_of,
    note_partly,
    partly_notices,
    projection_for,
    shrunk,
    step_for,
    thumbnail_of,
)
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.evaluation.places import Candidate, Looker, Place, fields_in
from napari_cupre.events import Progress
from napari_cupre.io.channel_names import ChooseChannels
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.words import counted

CELL_SCORE = 0.5
"""Minimum score of a detection that counts as a cell; lower ones only add to the doubt."""

LEAST_SCORE = 0.1
"""Minimum score of the detections to compute."""

DOUBTFUL = (0.25, 0.75)
"""Detections with a score between these are reported as doubtful cells."""

LEAST_WEIGHT = 0.05
"""Minimum weight of an image, so that its look counts even if the model is certain."""

UNLIKE, ALIKE = 0.7, 0.3
"""Distances between images: above the first they are unlike, below the second alike."""

NONE_LEFT = "There is no image left to suggest: all of them are annotated already."


class Seen(Protocol):
    """What was found in a plane: label i of `labels` (int32, Y x X) has the score `scores[i - 1]`."""

    labels: np.ndarray
    scores: np.ndarray


Detect = Callable[[np.ndarray], Seen]
"""Function that finds the cells of a plane, float32 (Y, X, 3) normalised, from `LEAST_SCORE` on."""


@dataclass(frozen=True)
class Uncertainty:
    """How uncertain a model is about a plane.

    Attributes
    ----------
    cells : int
        Number of cells found with a score of at least `CELL_SCORE`.
    doubt : float
        Mean of 4 s (1 - s) over the scores s of all detections, 0..1: 0 for scores of 0 and 1, 1 for scores
        of 0.5. Without any detection it is 1: the plane may be empty, or the model blind to its cells.
    disagreement : float
        1 - F1 at IoU 0.5 between the cells of the plane and those of its mirror image, 0..1.
    doubtful : int
        Detections with a middling score.
    unsteady : int
        Cells found in only one of the plane and its mirror image, so missed or invented in one of them.
    """

    cells: int
    doubt: float
    disagreement: float
    doubtful: int = 0
    unsteady: int = 0

    @property
    def value(self) -> float:
        """Return the mean of both parts."""
        return (self.doubt + self.disagreement) / 2

    def in_words(self) -> str:
        """Describe what a person would find there.

        Examples
        --------
        >>> Uncertainty(40, 0.3, 0.1, doubtful=12, unsteady=1).in_words()
        '12 doubtful cells, 1 found in only one of two passes'
        >>> Uncertainty(0, 1.0, 0.0).in_words()
        'no cell found'
        """
        parts = []
        if self.doubtful:
            parts.append(counted(self.doubtful, "doubtful cell"))
        if self.unsteady:
            number = str(self.unsteady) if self.doubtful else counted(self.unsteady, "cell")
            parts.append(f"{number} found in only one of two passes")
        if parts:
            return ", ".join(parts)
        if not self.cells:
            return "no cell found"
        return f"{counted(self.cells, 'cell')}, none of them doubtful"


@dataclass(frozen=True)
class Suggestion:
    """A place to annotate.

    Attributes
    ----------
    place : Place
        An image, or a field of one.
    uncertainty : Uncertainty
        Of the model.
    novelty : float
        Distance (1 - cosine, 0..2) to the nearest image that is annotated or was suggested earlier.
    unlike : float
        Distance to the nearest annotated image; NaN without one.
    thumbnail : numpy.ndarray
        uint8 (64, 64, 3).
    alike : int
        Number of other places without annotation that look like it.
    """

    place: Place
    uncertainty: Uncertainty
    novelty: float
    unlike: float
    thumbnail: np.ndarray = field(compare=False)
    alike: int = 0

    @property
    def reason(self) -> str:
        """Return in words why the place would teach something: what is in doubt, and how it looks."""
        said = [self.uncertainty.in_words()]
        if self.unlike >= UNLIKE:
            said.append("unlike the images annotated so far")
        elif self.unlike <= ALIKE:
            said.append("much like an annotated image")
        if self.alike:
            said.append(f"looks like {counted(self.alike, 'other')}")
        return ", ".join(said)


@dataclass
class Suggestions:
    """What to annotate next, best first.

    Attributes
    ----------
    chosen : list of Suggestion
        The suggested places.
    candidates : int
        Number of examined places without annotation.
    labelled : int
        Number of examined places with annotation.
    skipped : list of tuple of (str, str)
        Names of images that could not be read, with the reason.
    notices : list of str
        One sentence about each kind of image of which only a part was used.
    """

    chosen: list[Suggestion]
    candidates: int
    labelled: int
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "suggestions": [
                {
                    "image": each.place.candidate.name,
                    "field": each.place.field,
                    "reason": each.reason,
                    "uncertainty": each.uncertainty.value,
                    **asdict(each.uncertainty),
                    "novelty": each.novelty,
                }
                for each in self.chosen
            ],
            "candidates": self.candidates,
            "labelled": self.labelled,
            "skipped": [name for name, _ in self.skipped],
        }

    def table(self) -> str:
        """Return a text table with a row per suggested place."""
        rows: list[tuple[str, ...]] = [("image", "uncertainty", "novelty", "cells", "why")]
        for each in self.chosen:
            unsure = each.uncertainty
            figures = (f"{unsure.value:.2f}", f"{each.novelty:.2f}", str(unsure.cells))
            rows.append((str(each.place), *figures, each.reason))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join([name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(figures, widths[1:])), why])
            for name, *figures, why in rows
        )


def suggest(
    candidates: Sequence[Candidate],
    model: Model,
    detect: Detect,
    *,
    count: int = 5,
    most: int | None = None,
    seed: int = 0,
) -> Generator[Progress, None, Suggestions]:
    """Rate images and fields of large ones, and choose those most worth annotating; yields the progress.

    Parameters
    ----------
    candidates : sequence of Candidate
        Images, annotated or not; unreadable ones are skipped and named in the result. Images that look like
        an annotated one are not suggested.
    model : Model
        Its backbone compares the images.
    detect : Detect
        Finds the same model's cells in a plane.
    count : int, optional
        Number of suggestions; fewer if there are fewer candidates.
    most : int or None, optional
        Find cells in at most this many places, those that differ most; by default in all.
    seed : int, optional
        Seed of the projection of the features.

    Raises
    ------
    InputError
        If there is no candidate, or none can be read.
    """
    if all(each.is_annotated and not each.annotated for each in candidates):
        raise InputError(NONE_LEFT)
    looks = yield from _compare(candidates, model, seed)
    is_done = np.array([place.is_annotated for place in looks.places], bool)
    numbers = np.flatnonzero(~is_done)
    if len(numbers) == 0:
        if is_done.any() and not looks.skipped:
            raise InputError(NONE_LEFT)
        first = looks.skipped[0][1] if looks.skipped else "give other images."
        raise InputError(f"None of the images without annotation can be read: {first}")
    vectors = centred(np.stack(looks.raw))
    known = vectors[is_done]
    open_places = len(numbers)
    if most is not None and most < open_places:
        numbers = numbers[k_center(vectors[numbers], known, most)]
    unsure, looker = [], Looker(_channels_of(model))
    for done, number in enumerate(numbers, start=1):
        unsure.append(measure_uncertainty(looker.pixels(looks.places[number]), detect))
        yield Progress(done, len(numbers), "images searched")
    weights = np.array([max(LEAST_WEIGHT, each.value) for each in unsure])
    order, novelty = weighted_coverage(vectors[numbers], weights, known, count)
    unlike = (1 - vectors[numbers] @ known.T).min(axis=1) if len(known) else np.full(len(numbers), np.nan)
    alike = (1 - vectors[numbers] @ vectors[numbers].T <= ALIKE).sum(axis=1) - 1
    chosen = []
    for row, distance in zip(order, novelty):
        place, picture = looks.places[numbers[row]], looks.thumbnails[numbers[row]]
        chosen.append(Suggestion(place, unsure[row], distance, float(unlike[row]), picture, int(alike[row])))
    return Suggestions(chosen, open_places, int(is_done.sum()), looks.skipped, looks.notices)


@dataclass
class _Looks:
    """The readable places, with how they look to the backbone."""

    places: list[Place] = field(default_factory=list)
    raw: list[np.ndarray] = field(default_factory=list)
    thumbnails: list[np.ndarray] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def _compare(candidates: Sequence[Candidate], model: Model, seed: int) -> Generator[Progress, None, _Looks]:
    projection = projection_for(model, seed)
    looker, found = Looker(_channels_of(model)), _Looks()
    partly: Partly = {}
    for done, candidate in enumerate(candidates, start=1):
        try:
            image = looker.image(candidate)
            places = [Place(candidate, part) for part in fields_in(image.plane_shape)]
            smalls = [_small(looker, place, image) for place in places]
        except InputError as error:
            found.skipped.append((candidate.name, str(error)))
        else:
            found.notices += image.notices
            note_partly(image, partly)
            found.places += places
            found.raw += [look_of(small, model, projection) for small in smalls]
            found.thumbnails += [thumbnail_of(small) for small in smalls]
        yield Progress(done, len(candidates), "images compared")
    found.notices += partly_notices(partly)
    return found


def _channels_of(model: Model) -> ChooseChannels:
    return SeenChannels.of_training(model.info.training).on


def _small(looker: Looker, place: Place, image: CellImage) -> np.ndarray:
    top, left, bottom, right = place.field or (0, 0, *image.plane_shape)
    return shrunk(looker.pixels(place, step_for((bottom - top, right - left))))


def measure_uncertainty(plane: np.ndarray, detect: Detect) -> Uncertainty:
    """Measure how uncertain a model is about a plane.

    Parameters
    ----------
    plane : numpy.ndarray
        float32 (Y, X, 3), normalised.
    detect : Detect
        Finds the model's cells in a plane.
    """
    seen = detect(plane)
    mirrored = detect(np.ascontiguousarray(plane[:, ::-1]))
    own = np.asarray(seen.scores, np.float64)
    scores = np.concatenate([own, mirrored.scores])
    doubt = float((4 * scores * (1 - scores)).mean()) if len(scores) else 1.0
    found = match_instances(_sure(seen), _sure(mirrored)[:, ::-1])
    both, only_mirrored, only_seen = found.counts(0.5)
    cells = 2 * both + only_mirrored + only_seen
    return Uncertainty(
        len(found.truth_ids),
        doubt,
        1 - 2 * both / cells if cells else 0.0,
        int(((own >= DOUBTFUL[0]) & (own < DOUBTFUL[1])).sum()),
        only_mirrored + only_seen,
    )


def k_center(vectors: np.ndarray, labelled: np.ndarray, count: int) -> list[int]:
    """Choose points by the greedy k-center method: each is the one farthest from all centers before it.

    Parameters
    ----------
    vectors : numpy.ndarray
        float (N, D), unit length.
    labelled : numpy.ndarray
        float (M, D), unit length, existing centers; M may be 0.
    count : int
        Centers to choose, at most N.

    Returns
    -------
    list of int
        The chosen points in order; without any center, the first is point 0.
    """
    nearest = _distances(vectors, labelled)
    rows: list[int] = []
    left = np.ones(len(vectors), bool)
    while left.any() and len(rows) < count:
        rows.append(int(np.argmax(np.where(left, nearest, -1.0))))
        left[rows[-1]] = False
        nearest = np.minimum(nearest, _distances(vectors, vectors[rows[-1:]]))
    return rows


def weighted_coverage(
    vectors: np.ndarray, weights: np.ndarray, labelled: np.ndarray, count: int
) -> tuple[list[int], list[float]]:
    """Choose points that look like most of the weight that no point before them looks like.

    Two points look alike by the cosine between them, if it is positive. Each choice adds most to the sum of
    weight times the likeness to the nearest chosen or labelled point. Points that have nothing in common with
    any other are chosen by weight alone.

    Parameters
    ----------
    vectors : numpy.ndarray
        float (N, D), unit length.
    weights : numpy.ndarray
        float (N,), above 0.
    labelled : numpy.ndarray
        float (M, D), unit length, existing points; M may be 0.
    count : int
        Points to choose, at most N.

    Returns
    -------
    rows : list of int
        The chosen points in order.
    distances : list of float
        Distance of each to the nearest chosen or labelled point before it, 1 - cosine; 1 if there was none.
    """
    alike = np.maximum(vectors.astype(np.float64) @ vectors.T, 0.0)
    nearest = _distances(vectors, labelled)
    rows: list[int] = []
    distances: list[float] = []
    left = np.ones(len(vectors), bool)
    while left.any() and len(rows) < count:
        covered = np.maximum(1 - nearest, 0.0)
        gains = np.maximum(alike - covered, 0.0) @ weights
        row = int(np.argmax(np.where(left, gains, -1.0)))
        rows.append(row)
        distances.append(float(nearest[row]))
        left[row] = False
        nearest = np.minimum(nearest, _distances(vectors, vectors[row : row + 1]))
    return rows, distances


def _distances(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest center, 1 - cosine; 1 if there is no center.

    1 is the distance of images that have nothing in common.
    """
    if not len(centers):
        return np.ones(len(vectors))
    return np.maximum((1 - vectors.astype(np.float64) @ centers.T).min(axis=1), 0.0)


def _sure(seen: Seen) -> np.ndarray:
    """Return the labels of detections that count as cells."""
    kept = np.concatenate([[False], np.asarray(seen.scores) >= CELL_SCORE])
    return np.where(kept[seen.labels], seen.labels, 0)
