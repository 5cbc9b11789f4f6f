"""Judging a network on held-out annotation, of which only the known part counts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_cupre.data.shot import Shot
from napari_cupre.evaluation import Report, evaluate_labels
from napari_cupre.finetuning.split import count_cells
from napari_cupre.model.device import autocast, memory_format
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.paint import paint_masks
from napari_cupre.model.targets import label_boxes, target_from_labels

# Windows and their side in network px that one validation looks at, so that it takes seconds.
MOST_WINDOWS, WINDOW = 8, 320
# Weights whose score is lower than the start's by more than this, or by more than this share of a verdict's
# uncertainty, are worse than it: both are judged on the same cells, which differ less than two draws would.
NO_WORSE, NO_WORSE_SHARE = 0.02, 0.25


@dataclass(frozen=True)
class Verdict:
    """How well a network does on the held-out part; `ap` and `ap50` as in `evaluate`, mean over windows."""

    ap50: float
    ap: float
    loss: float
    cells: int

    @property
    def score(self) -> float:
        """What "better" means: finding the cells and outlining them well count alike."""
        return (self.ap50 + self.ap) / 2

    @property
    def uncertainty(self) -> float:
        """Standard error of a share of so many cells, at its largest."""
        return 0.5 / max(self.cells, 1) ** 0.5


class Judge:
    """Held-out windows at network scale.

    Parameters
    ----------
    shots : list[Shot]
        Held-out shots, already scaled to the network's diameter.
    seed : int
        Fixes which windows are looked at in large images, and the sampling of the loss.
    most : int, optional
        Windows that are looked at.
    """

    def __init__(self, shots: list[Shot], seed: int, most: int = MOST_WINDOWS) -> None:
        self.seed = seed
        self.windows = [window for shot in shots for window in _windows(shot, seed)]
        if len(self.windows) > most:
            chosen = np.random.default_rng(seed).permutation(len(self.windows))[:most]
            self.windows = [self.windows[i] for i in sorted(chosen)]
        self.cells = sum(count_cells(window.labels) for window in self.windows)

    def __call__(self, network: CellRCNN, dtype: torch.dtype | None) -> Verdict:
        """Judge `network` as it is; it is left in the mode it was in."""
        report = self.report(network, dtype)
        return Verdict(report.ap50, report.ap, self._loss(network, dtype), self.cells)

    def report(self, network: CellRCNN, dtype: torch.dtype | None) -> Report:
        """What `network` finds of the windows' annotation, without the losses that a verdict has too."""
        predicted = [segment(network, window.image, dtype) for window in self.windows]
        return evaluate_labels(
            [w.labels for w in self.windows], predicted, known=[w.known for w in self.windows]
        )

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


def is_as_good(verdict: Verdict, history: list[dict[str, Any]], scratch: bool) -> bool:
    """Whether later weights are to be preferred to the best of the earlier ones.

    They have seen more: they yield only for a difference that the number of held-out cells does not explain.
    The start is another matter: what is worse than it on the same cells is not taken.

    Parameters
    ----------
    history : list[dict[str, Any]]
        The figures of the earlier verdicts, see `in_words`.
    scratch : bool
        The start were random weights.
    """
    scores = [(entry["ap50"] + entry["ap"]) / 2 for entry in history]
    least = max(scores) - verdict.uncertainty
    floor = scores[0] - max(NO_WORSE, NO_WORSE_SHARE * verdict.uncertainty)
    return verdict.score >= (least if scratch else max(least, floor))


def in_words(history: list[dict[str, Any]], best_step: int | None, steps: int, scratch: bool) -> str:
    """Say in one line whether the new model is better than the start.

    Parameters
    ----------
    history : list[dict[str, Any]]
        The figures of every `Verdict`, with "step"; the start's first, except from random weights.
    best_step : int or None
        Step of the weights that were kept; None if nothing was judged.
    steps : int
        Steps trained.
    scratch : bool
        The start were random weights.
    """
    if steps == 0:
        return "Stopped before the first step: the model is the same as the start, and nothing was learnt."
    if best_step is None or not history:
        return (
            f"Trained {steps} steps. Too few cells were annotated to hold some out, "
            "so check the result by eye, or annotate more."
        )
    best = next(entry for entry in reversed(history) if entry["step"] == best_step)
    cells = f"on {best['cells']} held-out cells"
    if scratch:
        return f"Trained {steps} steps from random weights: AP50 {best['ap50']:.2f} {cells}."
    start = history[0]
    if best_step == 0:
        change = f"AP50 {start['ap50']:.2f} -> {history[-1]['ap50']:.2f}"
        is_worse = f"{history[-1]['ap50']:.2f}" < f"{start['ap50']:.2f}"
        word = "Worse" if is_worse else "No better"
        return f"{word} than the start {cells} ({change}): the start's weights are kept."
    change = f"AP50 {start['ap50']:.2f} -> {best['ap50']:.2f}, AP {start['ap']:.2f} -> {best['ap']:.2f}"
    before, after = (
        Verdict(**{field.name: entry[field.name] for field in fields(Verdict)}) for entry in (start, best)
    )
    if abs(after.score - before.score) <= after.uncertainty:
        return f"No clear difference from the start {cells}: {change}."
    return f"Better than the start {cells}: {change}."


class losses_without_learning:
    """Context in which a network gives losses, but its BatchNorm statistics stay as they are."""

    def __init__(self, network: CellRCNN) -> None:
        self.network = network

    def __enter__(self) -> None:
        self.modes = {module: module.training for module in self.network.modules()}
        self.network.train()
        hold_batchnorm(self.network)

    def __exit__(self, *_: object) -> None:
        for module, mode in self.modes.items():
            module.training = mode


def hold_batchnorm(network: torch.nn.Module) -> None:
    """Use the running statistics of every BatchNorm and do not change them."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def to_batch(images: list[np.ndarray], device: torch.device) -> Tensor:
    """Float (B, 3, H, W) of (H, W, 3) images of one size."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return batch.to(device).contiguous(memory_format=memory_format(device))


def segment(
    network: CellRCNN, image: np.ndarray, dtype: torch.dtype | None, score: float = 0.5
) -> np.ndarray:
    """Label image int32 (Y, X) of one window (Y, X, 3) at network scale."""
    device = next(network.parameters()).device
    with autocast(device, dtype):
        found = network.detect(to_batch([image], device), score=score)[0]
    return paint_masks(found.boxes.numpy(), found.masks.numpy(), found.scores.numpy(), image.shape[:2])


def _windows(shot: Shot, seed: int) -> list[Shot]:
    """A small shot whole; of a large one, windows around random annotated cells."""
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
        windows.append(_window(shot, part))
    return windows


def _start(centre: int, length: int) -> int:
    return int(np.clip(centre - WINDOW // 2, 0, max(length - WINDOW, 0)))


def _window(shot: Shot, part: tuple[slice, slice]) -> Shot:
    """Cut a window; cells that its border divides are unknown in it."""
    labels, known = shot.labels[part].copy(), shot.known[part].copy()
    whole = dict(zip(*np.unique(shot.labels, return_counts=True)))
    for label, area in zip(*np.unique(labels, return_counts=True)):
        if label and area < whole[label]:
            known[labels == label] = False
            labels[labels == label] = 0
    return Shot(shot.image[part], labels, known, shot.name)
