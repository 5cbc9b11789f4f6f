"""Judging a network on held-out annotation; only its known part counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_cupre.data.labels import USUAL_SCORE
from napari_cupre.data.shot import Shot
from napari_cupre.evaluation.decision import ENOUGH_CELLS, Decision, Finds, decide, tally, too_few
from napari_cupre.evaluation.matching import Match, match_instances
from napari_cupre.evaluation.report import score_match
from napari_cupre.finetuning.split import count_cells
from napari_cupre.model.device import autocast, memory_format
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.paint import paint_masks
from napari_cupre.model.sharpen import sharpened
from napari_cupre.model.targets import label_boxes, target_from_labels
from napari_cupre.words import counted

# Windows and their side in network px that one validation looks at, so that it takes seconds.
MOST_WINDOWS, WINDOW = 8, 320
# Weights are worse than the start if their score is lower by more than this, or by more than this share of
# the uncertainty: both are judged on the same cells, so the scores differ less than those of two samples.
NO_WORSE, NO_WORSE_SHARE = 0.02, 0.25


@dataclass(frozen=True)
class Judgement:
    """How well a network does on the held-out part.

    Attributes
    ----------
    ap50, ap : float
        As in `evaluate`, mean over windows.
    loss : float
        Mean loss over the windows.
    cells : int
        Number of held-out cells.
    finds : tuple of Finds
        The results by window; empty in runs of earlier versions.
    """

    ap50: float
    ap: float
    loss: float
    cells: int
    finds: tuple[Finds, ...] = ()

    @property
    def score(self) -> float:
        """Return the score that defines "better": finding cells and outlining them well count equally."""
        return (self.ap50 + self.ap) / 2

    @property
    def uncertainty(self) -> float:
        """Return the largest possible standard error of a share of this many cells."""
        return 0.5 / max(self.cells, 1) ** 0.5

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Judgement:
        """Rebuild a judgement written by `asdict`; other keys of `entry` are ignored."""
        finds = tuple(map(Finds.from_json, entry.get("finds", ())))
        return cls(entry["ap50"], entry["ap"], entry["loss"], entry["cells"], finds)


class Judge:
    """Held-out windows at network scale.

    Parameters
    ----------
    shots : list[Shot]
        Held-out shots, already scaled to the network's diameter.
    seed : int
        Seed for the choice of windows in large images, and for the sampling of the loss.
    most : int, optional
        Maximum number of windows.
    """

    def __init__(self, shots: list[Shot], seed: int, most: int = MOST_WINDOWS) -> None:
        self.seed = seed
        self.windows = [window for shot in shots for window in _windows(shot, seed)]
        if len(self.windows) > most:
            chosen = np.random.default_rng(seed).permutation(len(self.windows))[:most]
            self.windows = [self.windows[i] for i in sorted(chosen)]
        self.cells = sum(count_cells(window.labels) for window in self.windows)

    def __call__(self, network: CellRCNN, dtype: torch.dtype | None) -> Judgement:
        """Judge `network` in its present state, without changing its mode."""
        matches = self.matches(network, dtype)
        scores = [score_match("", match) for match in matches]
        ap50, ap = (float(np.mean([getattr(each, name) for each in scores])) for name in ("ap50", "ap"))
        return Judgement(ap50, ap, self._loss(network, dtype), self.cells, self.finds(matches))

    def matches(self, network: CellRCNN, dtype: torch.dtype | None) -> list[Match]:
        """Match the cells that `network` finds in each window with the annotation."""
        return [
            match_instances(each.labels, segment(network, each.image, dtype), each.known).counting(
                each.accepted
            )
            for each in self.windows
        ]

    def finds(self, matches: list[Match]) -> tuple[Finds, ...]:
        """Return the finds in each window from its match."""
        return tuple(Finds.of(match, window.accepted) for match, window in zip(matches, self.windows))

    def skill(self, network: CellRCNN, dtype: torch.dtype | None) -> float:
        """Return the AP50 of `network`, mean over the windows."""
        return float(np.mean([score_match("", match).ap50 for match in self.matches(network, dtype)]))

    @torch.no_grad()
    def _loss(self, network: CellRCNN, dtype: torch.dtype | None) -> float:
        device = next(network.parameters()).device
        total = 0.0
        with torch.random.fork_rng(devices=[]), losses_without_learning(network):
            torch.manual_seed(self.seed)
            for window in self.windows:
                target = target_from_labels(window.labels, window.known).to(device)
                with autocast(device, dtype):
                    losses = network(to_batch([window.image], device), [target])
                total += torch.stack(list(losses.values())).sum().item()
        return total / max(len(self.windows), 1)


def is_as_good(
    judgement: Judgement, history: list[dict[str, Any]], scratch: bool, chance: float = 0.0
) -> bool:
    """Whether to prefer later weights to the best earlier ones.

    Later weights have seen more, so they lose only by a difference that the number of held-out cells cannot
    explain. Weights that are worse than the start on the same cells are never taken.

    Parameters
    ----------
    history : list[dict[str, Any]]
        The figures of the earlier judgements, see `in_words`.
    scratch : bool
        The start were random weights.
    chance : float, optional
        By how much a training that helps may be behind the start, see `mixing.down_to_chance`.
    """
    scores = [(entry["ap50"] + entry["ap"]) / 2 for entry in history]
    least = max(scores) - judgement.uncertainty
    floor = scores[0] - max(NO_WORSE, NO_WORSE_SHARE * judgement.uncertainty, chance)
    return judgement.score >= (least if scratch else max(least, floor))


def decision(history: list[dict[str, Any]], best_step: int | None, scratch: bool) -> Decision | None:
    """Compare the new weights with the start's on the held-out cells; return None if that is impossible.

    Parameters
    ----------
    history : list of dict
        The figures of every `Judgement`, with "step"; the start's first, except from random weights.
    best_step : int or None
        Step of the weights that were kept; 0 means the start's, which are compared with the last ones.
    scratch : bool
        The start were random weights.
    """
    if scratch or best_step is None or len(history) < 2:
        return None
    kept = [entry for entry in history if best_step == 0 or entry["step"] == best_step]
    start, new = Judgement.of(history[0]), Judgement.of(kept[-1])
    return decide(start.finds, new.finds) if start.finds and new.finds else None


def figures(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the history without the results cell by cell."""
    return {name: value for name, value in entry.items() if name != "finds"}


def in_words(
    history: list[dict[str, Any]],
    best_step: int | None,
    steps: int,
    scratch: bool,
    start: str = "the start",
) -> str:
    """Say in one line whether the new model is better than the start.

    Parameters
    ----------
    history, best_step, scratch
        See `decision`.
    steps : int
        Steps trained.
    start : str, optional
        Name of the model the training started from.
    """
    if steps == 0:
        return "Stopped before the first step: the model is the same as the start, and nothing was learned."
    trained = f"Trained {counted(steps, 'step')}"
    if best_step is None or not history:
        return (
            f"{trained}. Too few cells were drawn or changed by hand to judge it by, "
            "so check the result by eye, or annotate more."
        )
    if scratch:
        best = next(entry for entry in reversed(history) if entry["step"] == best_step)
        counts = tally(Judgement.of(best).finds)
        if counts.cells < ENOUGH_CELLS:
            return f"{trained} from random weights. {too_few(counts.cells)}"
        return f"{trained} from random weights: {counts}."
    said = decision(history, best_step, scratch)
    sentence = (
        f"{trained}: look at the result yourself."  # a run started by an earlier version
        if said is None
        else said.sentence("The new model", start)
    )
    return f"{sentence} The weights of {start} are kept." if best_step == 0 else sentence


@contextmanager
def losses_without_learning(network: CellRCNN) -> Iterator[None]:
    """Make a network return losses without changing its BatchNorm statistics."""
    modes = {module: module.training for module in network.modules()}
    network.train()
    hold_batchnorm(network)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def hold_batchnorm(network: torch.nn.Module) -> None:
    """Make every BatchNorm use its running statistics without changing them."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def to_batch(images: list[np.ndarray], device: torch.device) -> Tensor:
    """Convert (H, W, 3) images of one size to a float batch (B, 3, H, W)."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return batch.to(device).contiguous(memory_format=memory_format(device))


def segment(network: CellRCNN, image: np.ndarray, dtype: torch.dtype | None) -> np.ndarray:
    """Return the label image, int32 (Y, X), of one window (Y, X, 3) at network scale."""
    device = next(network.parameters()).device
    with autocast(device, dtype):
        found = network.detect(to_batch([image], device), score=USUAL_SCORE)[0]
    boxes = found.boxes.numpy()
    masks = sharpened(image, boxes, found.masks.numpy())  # as in prediction
    return paint_masks(boxes, masks, found.scores.numpy(), image.shape[:2])


def _windows(shot: Shot, seed: int) -> list[Shot]:
    """Return a small shot whole; for a large one, windows around random annotated cells."""
    height, width = shot.labels.shape
    if max(height, width) <= 2 * WINDOW:
        return [shot]
    _, boxes = label_boxes(shot.labels)
    taken = np.zeros((height, width), bool)
    windows: list[Shot] = []
    for row in np.random.default_rng(seed).permutation(len(boxes)):
        x, y = (boxes[row, :2] + boxes[row, 2:]) // 2
        top, left = _start(y, height), _start(x, width)
        part = (slice(top, top + WINDOW), slice(left, left + WINDOW))
        if len(windows) == MOST_WINDOWS or taken[part].any():
            continue
        taken[part] = True
        windows.append(shot.cut(*part))
    return windows


def _start(centre: int, length: int) -> int:
    return int(np.clip(centre - WINDOW // 2, 0, max(length - WINDOW, 0)))
