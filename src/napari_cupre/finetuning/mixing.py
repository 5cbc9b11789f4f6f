"""How much of a training to keep: a mix of the start's and the trained weights.

A start that knows the cells already forgets more in a few minutes than a few cells teach it, and the mean of
both networks' weights is often better than either: Wortsman et al., "Robust fine-tuning of zero-shot models",
CVPR 2022. A start that does not know them learns, and all of the training is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from napari_cupre.evaluation.decision import ENOUGH_CELLS
from napari_cupre.finetuning.judge import Judge, Judgement
from napari_cupre.model.average import approach
from napari_cupre.model.network import CellRCNN

SHARES = (0.25, 0.5, 1.0)
"""Shares of the trained weights in a mix, in 0..1, that are tried on the held-out cells."""

UNKNOWN, KNOWN = 0.6, 0.8
"""Start that finds the annotated cells with at most the first AP50 keeps all of its training, and one that
finds them with at least the second the least share; chosen on images outside the test part
(docs/accuracy.md)."""

CLEARLY, CLEARLY_SHARE = 0.01, 0.25
"""Another share is clearly better if it scores more than this above the usual one, and more than this share
of the uncertainty of the score."""


def usual_share(skill: float) -> float:
    """Return how much of a training to keep, 0..1, if nothing else is known.

    Parameters
    ----------
    skill : float
        How well the start finds the annotated cells, AP50 in 0..1.

    Examples
    --------
    >>> usual_share(0.3), round(usual_share(0.7), 3), usual_share(0.9)
    (1.0, 0.625, 0.25)
    """
    return float(np.interp(skill, (UNKNOWN, KNOWN), (SHARES[-1], SHARES[0])))


def mixed(start: CellRCNN, trained: Mapping[str, Tensor], share: float) -> CellRCNN:
    """Mix the weights of two networks.

    Parameters
    ----------
    start : CellRCNN
        It is not changed, and may be on another device than `trained`.
    trained : mapping of str to torch.Tensor
        The state after a training.
    share : float
        Share of the trained weights, 0..1.

    Returns
    -------
    CellRCNN
        In evaluation mode, on the device of `trained`.
    """
    device = next(iter(trained.values())).device
    network = copy.deepcopy(start).to(device).eval()
    approach(network.state_dict(), trained, share)
    return network


def best_share(
    start: CellRCNN, trained: Mapping[str, Tensor], usual: float, judge: Judge, dtype: torch.dtype | None
) -> tuple[float, Judgement]:
    """Choose the share on the held-out cells: the usual one, unless another is clearly better.

    With fewer than `ENOUGH_CELLS` cells no other is tried, because chance would decide.

    Parameters
    ----------
    start, trained : CellRCNN, mapping of str to torch.Tensor
        See `mixed`.
    usual : float
        See `usual_share`.
    judge : Judge
        The judge of the training.
    dtype : torch.dtype or None
        Data type of autocast.

    Returns
    -------
    float
        The share.
    Judgement
        Of the mix.
    """
    best, found = usual, judge(mixed(start, trained, usual), dtype)
    others = [share for share in SHARES if share != usual] if found.cells >= ENOUGH_CELLS else []
    least = found.score + max(CLEARLY, CLEARLY_SHARE * found.uncertainty)
    for share in others:
        judgement = judge(mixed(start, trained, share), dtype)
        if judgement.score > least:
            best, found, least = share, judgement, judgement.score
    return best, found


def words_of_mix(share: float, start: str) -> str:
    """Say what a mix is made of; "" for all of a training.

    Examples
    --------
    >>> print(words_of_mix(0.25, "cupre"))
    "cupre" finds most of these cells already, so a mix that forgets less is kept: 25 % trained, 75 % "cupre".
    """
    if share == 1.0:
        return ""
    return (
        f'"{start}" finds most of these cells already, so a mix that forgets less is kept: '
        f'{100 * share:.0f} % trained, {100 - round(100 * share)} % "{start}".'
    )
