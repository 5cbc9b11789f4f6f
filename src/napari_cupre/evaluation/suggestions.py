"""Which images to annotate next: those in which a model is uncertain, and that differ from each other.

Uncertainty has two parts, both known from active learning for detection: *doubt*, detections whose score is
neither high nor low (the margin of Brust et al., "Active Learning for Deep Object Detection", VISAPP 2019),
and *disagreement* between what is found in an image and in its mirror image (consistency, Elezi et al.,
"Not All Labels Are Equal", CVPR 2022). Diversity is the greedy k-center of Sener and Savarese, "Active
Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, in the backbone's features: the
next image is the one farthest from all that are annotated or chosen, here with its distance multiplied by its
uncertainty.

The function that finds cells is an argument, so that this module does not depend on prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.data.normalise import middle
from napari_cupre.errors import InputError
from napari_cupre.evaluation.image_features import extract_features
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.events import Progress
from napari_cupre.io.images import read_image
from napari_cupre.model.checkpoint import Model

#: Least score of a detection that counts as a cell; lower ones only add to the doubt.
CELL_SCORE = 0.5

#: Least score of the detections to compute.
LEAST_SCORE = 0.1

#: Least weight of an image, so that its looks count even if the model is certain.
LEAST_WEIGHT = 0.05

#: Only the centre of larger planes is used, px a side.
LARGEST_SIDE = 2048


class Seen(Protocol):
    """What was found in a plane: label i of `labels` (int32, Y x X) has the score `scores[i - 1]`."""

    labels: np.ndarray
    scores: np.ndarray


#: Finds the cells of a plane, float32 (Y, X, 3) normalised, from `LEAST_SCORE` on.
Detect = Callable[[np.ndarray], Seen]


@dataclass(frozen=True)
class Uncertainty:
    """How uncertain a model is about a plane.

    Attributes
    ----------
    cells : int
        Found with a score of at least `CELL_SCORE`.
    doubt : float
        Mean of 4 s (1 - s) over the scores s of all that was found, 0..1: 0 for scores of 0 and 1, 1 for
        scores of 0.5. Where nothing was found at all it is 1: the plane may be empty, or the model blind.
    disagreement : float
        1 - F1 at IoU 0.5 between the cells of the plane and those of its mirror image, 0..1.
    """

    cells: int
    doubt: float
    disagreement: float

    @property
    def value(self) -> float:
        """The mean of both parts."""
        return (self.doubt + self.disagreement) / 2


@dataclass(frozen=True)
class Suggestion:
    """An image to annotate.

    Attributes
    ----------
    path : Path
        The image.
    uncertainty : Uncertainty
        Of the model.
    novelty : float
        Distance (1 - cosine, 0..2) to the nearest image that is annotated or suggested before it.
    """

    path: Path
    uncertainty: Uncertainty
    novelty: float


@dataclass
class Suggestions:
    """What to annotate next, best first.

    Attributes
    ----------
    chosen : list of Suggestion
        The suggested images.
    candidates : int
        Number of images that were looked at and are not annotated yet.
    labelled : int
        Number of images that are.
    skipped : list of tuple of (Path, str)
        Images that could not be read, with the reason.
    notices : list of str
        What of the images was not looked at, one sentence each.
    """

    chosen: list[Suggestion]
    candidates: int
    labelled: int
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "suggestions": [
                {
                    "image": str(each.path),
                    "uncertainty": each.uncertainty.value,
                    **asdict(each.uncertainty),
                    "novelty": each.novelty,
                }
                for each in self.chosen
            ],
            "candidates": self.candidates,
            "labelled": self.labelled,
            "skipped": [str(path) for path, _ in self.skipped],
        }

    def table(self) -> str:
        """A row of text per suggested image."""
        rows: list[tuple[str, ...]] = [("image", "uncertainty", "doubt", "disagreement", "novelty", "cells")]
        for each in self.chosen:
            unsure = each.uncertainty
            figures = (unsure.value, unsure.doubt, unsure.disagreement, each.novelty)
            rows.append((str(each.path), *(f"{figure:.2f}" for figure in figures), str(unsure.cells)))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join([name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(figures, widths[1:]))])
            for name, *figures in rows
        )


def suggest(
    candidates: Sequence[Path],
    labelled: Sequence[Path],
    model: Model,
    detect: Detect,
    *,
    count: int = 5,
    seed: int = 0,
) -> Generator[Progress, None, Suggestions]:
    """Rate images and choose those that are most worth annotating; yields the progress.

    Parameters
    ----------
    candidates : sequence of Path
        Images that are not annotated yet; what cannot be read is skipped and named in the result.
    labelled : sequence of Path
        Images that are annotated already: what looks like them is not suggested.
    model : Model
        Its backbone compares the images.
    detect : Detect
        The same model's cells of a plane.
    count : int, optional
        Number of suggestions; fewer if there are fewer candidates.
    seed : int, optional
        Seed of the projection of the features.

    Raises
    ------
    InputError
        If there is no candidate, or none can be read.
    """
    if not candidates:
        raise InputError("There is no image left to suggest: all of them are annotated already.")
    features = yield from extract_features([*candidates, *labelled], model, seed=seed)
    known = set(labelled)
    is_labelled = np.array([path in known for path in features.paths], bool)
    numbers = np.flatnonzero(~is_labelled)
    if len(numbers) == 0:
        raise InputError("None of the images without annotation can be read: give other images.")
    unsure = []
    for done, number in enumerate(numbers, start=1):
        unsure.append(measure_uncertainty(_middle(read_image(features.paths[number])), detect))
        yield Progress(done, len(numbers), "images segmented")
    weights = np.array([max(LEAST_WEIGHT, each.value) for each in unsure])
    order, novelty = weighted_k_center(
        features.vectors[numbers], weights, features.vectors[is_labelled], count
    )
    chosen = [
        Suggestion(features.paths[numbers[row]], unsure[row], distance)
        for row, distance in zip(order, novelty)
    ]
    return Suggestions(chosen, len(numbers), int(is_labelled.sum()), features.skipped, features.notices)


def measure_uncertainty(plane: np.ndarray, detect: Detect) -> Uncertainty:
    """Measure how uncertain a model is about a plane.

    Parameters
    ----------
    plane : numpy.ndarray
        float32 (Y, X, 3), normalised.
    detect : Detect
        The model's cells of a plane.
    """
    seen = detect(plane)
    mirrored = detect(np.ascontiguousarray(plane[:, ::-1]))
    scores = np.concatenate([seen.scores, mirrored.scores]).astype(np.float64)
    doubt = float((4 * scores * (1 - scores)).mean()) if len(scores) else 1.0
    found = match_instances(_sure(seen), _sure(mirrored)[:, ::-1])
    both, only_mirrored, only_seen = found.counts(0.5)
    cells = 2 * both + only_mirrored + only_seen
    return Uncertainty(len(found.truth_ids), doubt, 1 - 2 * both / cells if cells else 0.0)


def weighted_k_center(
    vectors: np.ndarray, weights: np.ndarray, labelled: np.ndarray, count: int
) -> tuple[list[int], list[float]]:
    """Choose points by the greedy k-center method, with weights.

    Parameters
    ----------
    vectors : numpy.ndarray
        float (N, D), unit length.
    weights : numpy.ndarray
        float (N,), what a point's distance is multiplied by; above 0.
    labelled : numpy.ndarray
        float (M, D), unit length, centers that are there already; M may be 0.
    count : int
        Centers to choose, at most N.

    Returns
    -------
    rows : the chosen points, in the order of choice; without any center the first is that of most weight.
    distances : of each to the nearest center before it, 1 - cosine; 1 where there was none.
    """
    # 1 is the distance of images that have nothing in common.
    nearest = (1 - vectors @ labelled.T).min(axis=1) if len(labelled) else np.ones(len(vectors))
    nearest = np.maximum(nearest.astype(np.float64), 0.0)
    rows: list[int] = []
    distances: list[float] = []
    left = np.ones(len(vectors), bool)
    while left.any() and len(rows) < count:
        row = int(np.argmax(np.where(left, nearest * weights, -1.0)))
        rows.append(row)
        distances.append(float(nearest[row]))
        left[row] = False
        nearest = np.minimum(nearest, np.maximum(1 - vectors @ vectors[row], 0.0))
    return rows, distances


def _sure(seen: Seen) -> np.ndarray:
    """The labels of what counts as a cell."""
    kept = np.concatenate([[False], np.asarray(seen.scores) >= CELL_SCORE])
    return np.where(kept[seen.labels], seen.labels, 0)


def _middle(image: CellImage) -> np.ndarray:
    """The first plane, or of a large one its middle, normalised: float32 (Y, X, 3)."""
    return image.stretch()(np.asarray(middle(image.lazy_plane(), LARGEST_SIDE)))
