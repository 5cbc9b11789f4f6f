"""Split the annotation into a part to learn from and a held-out part to judge with."""

from __future__ import annotations

import numpy as np

from napari_cupre.data.shot import Shot
from napari_cupre.model.targets import label_boxes
from napari_cupre.project.heldout import HELD_FROM_CELLS, HELD_FROM_IMAGES, LEAST_FOR_A_STRIP

# Training cannot make random weights worse, so there all of a few cells are learned from.
ENOUGH_FROM_SCRATCH = 40


def hold_out(
    shots: list[Shot], share: float, seed: int, enough: int = HELD_FROM_CELLS
) -> tuple[list[Shot], list[Shot]]:
    """Return the shots to learn from and the held-out shots; no pixel is in both.

    Decisions of earlier rounds of a project (`Shot.held`) are kept. Otherwise, with few images, a strip of
    each is held out. A cell divided by the cut becomes unknown on both sides.

    Parameters
    ----------
    shots : list[Shot]
        Annotated images.
    share : float
        Share of the cells to hold out; 0 holds out none.
    enough : int, optional
        Minimum number of annotated cells to hold out some.

    Returns
    -------
    teaching, held_out : list[Shot]
        The second is empty when there are too few cells, otherwise it holds at least one.
    """
    counts = [count_cells(shot.labels) for shot in shots]
    if share <= 0 or sum(counts) < enough:
        return list(shots), []
    if any(shot.held is not None for shot in shots):
        return _as_settled(shots)
    annotated = sum(count > 0 for count in counts)
    if annotated >= HELD_FROM_IMAGES:
        return _split_images(shots, counts, share, seed)
    parts = [
        _split_strip(shot, share) if count >= LEAST_FOR_A_STRIP else (shot, None)
        for shot, count in zip(shots, counts)
    ]
    held_out = [held for _, held in parts if held is not None]
    if not held_out and annotated >= 2:  # many images with a few cells each, none of which can be cut
        return _split_images(shots, counts, share, seed)
    return [teaching for teaching, _ in parts], held_out


def _as_settled(shots: list[Shot]) -> tuple[list[Shot], list[Shot]]:
    """Split the shots as the project decided; learn from all if no cell would be left to learn from."""
    parts = [shot.parted() for shot in shots]
    teaching = [taught for taught, _ in parts if taught is not None]
    if not any(shot.labels.any() for shot in teaching):
        return list(shots), []
    return teaching, [held for _, held in parts if held is not None]


def count_cells(labels: np.ndarray) -> int:
    """Return the number of cells in a label image."""
    return len(np.unique(labels[labels > 0]))


def _split_images(
    shots: list[Shot], counts: list[int], share: float, seed: int
) -> tuple[list[Shot], list[Shot]]:
    """Hold out whole images until their cells reach the share; never hold out images without cells."""
    order = [i for i in np.random.default_rng(seed).permutation(len(shots)) if counts[i] > 0]
    wanted = max(1, round(share * len(order)))
    # Among the images in random order, those with a medium number of cells judge best: neither the one
    # with most of the annotation nor one with a single cell.
    middle = sorted(order, key=lambda i: abs(counts[i] - float(np.median([counts[j] for j in order]))))
    held = set(middle[:wanted])
    return [s for i, s in enumerate(shots) if i not in held], [shots[i] for i in sorted(held)]


def _split_strip(shot: Shot, share: float) -> tuple[Shot, Shot | None]:
    """Cut along the longer side so that about `share` of the cells are in the second part."""
    axis = int(shot.labels.shape[1] > shot.labels.shape[0])
    ids, boxes = label_boxes(shot.labels)
    first, last = (boxes[:, 1], boxes[:, 3]) if axis == 0 else (boxes[:, 0], boxes[:, 2])
    wanted = max(1, round(share * len(ids)))
    cut = int(np.sort(first)[-wanted])
    divided = ids[(first < cut) & (last > cut)]
    if len(divided) and len(divided) + wanted >= len(ids):
        return shot, None
    before, after = shot.halves(axis, cut)
    if count_cells(before.labels) == 0 or count_cells(after.labels) == 0:
        return shot, None
    return before, after
