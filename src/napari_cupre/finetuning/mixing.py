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
"""If the start finds the annotated cells with at most the first AP50, all of the training is kept; if with at
least the second, the least share. Chosen on images outside the test part (docs/accuracy.md)."""

FEW, SEVERAL = 10, 40
"""Up to the first number of cells, at most half of a training is kept, and from the second on all of it: what
a start does not find of a few cells may be odd."""

USUAL_GAIN, GAIN_SPREAD, MOST_CHANCE = 0.05, 0.035, 0.3
"""What a training adds to the score of a start that does not know the cells, and its standard deviation over
trainings, measured with plenty of test cells (docs/accuracy.md); and the largest difference that is ever put
down to chance."""

CLEARLY, CLEARLY_SHARE = 0.01, 0.25
"""Another share is clearly better if it scores more than this above the usual one, and more than this share
of the uncertainty of the score."""


def usual_share(skill: float, cells: int) -> float:
    """Return how much of a training to keep, 0..1, if nothing else is known.

    Parameters
    ----------
    skill : float
        How well the start finds the annotated cells, AP50 in 0..1.
    cells : int
        Number of cells learned from.

    Examples
    --------
    >>> usual_share(0.3, 50), usual_share(0.3, 8), usual_share(0.9, 50)
    (1.0, 0.5, 0.25)
    """
    by_skill = np.interp(skill, (UNKNOWN, KNOWN), (SHARES[-1], SHARES[0]))
    return float(min(by_skill, np.interp(cells, (FEW, SEVERAL), SHARES[1:])))


def down_to_chance(skill: float, judgement: Judgement) -> float:
    """Return by how much a training may score below its start before it is taken for worse, 0..0.3.

    Of a start that does not know the cells, nearly every training is better. If it looks worse on a handful
    of held-out cells, that is most likely chance. This is the difference at which the mean of both, what is
    usual and what was measured, each weighted by its certainty, is zero. It is 0 for a start that knows the
    cells, and small if many are held out.

    Parameters
    ----------
    skill : float
        How well the start finds the annotated cells, AP50 in 0..1.
    judgement : Judgement
        Of the training.

    Examples
    --------
    >>> few, many = Judgement(0.2, 0.1, 0.0, cells=4), Judgement(0.2, 0.1, 0.0, cells=100)
    >>> down_to_chance(0.3, few), round(down_to_chance(0.3, many), 3), down_to_chance(0.9, few)
    (0.3, 0.026, 0.0)
    """
    usual = USUAL_GAIN * float(np.interp(skill, (UNKNOWN, KNOWN), (1.0, 0.0)))
    # Both are judged on the same cells, so the difference is half as uncertain as a score.
    return min(MOST_CHANCE, usual * (judgement.uncertainty / 2 / GAIN_SPREAD) ** 2)


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
    """Say what a mix is made of; "" for all of a training."""
    if share == 1.0:
        return ""
    return (
        f"The new model is a mix that forgets less than the training alone: {100 * share:.0f} % trained, "
        f'{100 - round(100 * share)} % "{start}". The more cells "{start}" misses, the more is kept.'
    )
