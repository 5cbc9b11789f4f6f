"""A simulated user: AP against cells annotated and against seconds of a hand, round after round.

    python benchmarks/loop.py --kinds fluorescence histology --rounds 3 --minutes 0.5 --seeds 0 1 2 \
        --out benchmarks/results/loop.csv
    python benchmarks/loop.py --kinds mixed_nuclei --pool 24 --arms suggested+correct random+correct ...
    python benchmarks/loop.py --table --out benchmarks/results/loop.csv

In each round the user takes a new image of the pool, annotates --cells cells of a field of it, and the best
model so far is trained on all that is annotated. Arms:

- `suggested+correct`: the image that `suggest` ranks first; guesses of the model are corrected;
- `random+correct`: any image; the same;
- `random+draw`: any image; every cell is drawn from nothing.

`mixed_nuclei` is a folder of fluorescence in which every fourth image is stained histology, and
`fluorescence+KIND` one in which every fourth image is of a kind that `cupre` has never seen. Both are tested
on --tests images of each of their kinds.

Correcting: the oracle looks at every guess of the field, deletes what is no cell, keeps an outline whose IoU
with the cell is 0.75 or more, clicks on a cell that was missed and keeps what the click gives by the same
rule, and draws what is left. So what is kept is as wrong as the model drew it. The seconds are a model, that
of `annotate.py`: 1.1 s to point, 0.2 s to press, 0.017 s for each screen px steered along, cells 60 px on the
screen, and 0.5 s to look at a guess or a cell. Training time, in which a person may go on annotating, is not
counted. Pool and test images do not overlap. A training's own figures stand beside those of the model that
the next round starts from, so that the rows also tell how often its verdict was right. Rows that --out holds
already are not run again; a sequence that was broken off begins again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from few_shot import parts, read
from folder import interval, tested
from rows import Row, append_row, read_rows, rows_of, simulation_parser
from split import LABELLED, data_folder

POINT_S, PRESS_S, STEER_S, LOOK_S = 1.1, 0.2, 0.017, 0.5
SCREEN_PX = 60
GOOD_IOU = 0.75
NEW_KINDS = ("phase_contrast_t98g", "fly_embryos", "sem_powder", "tem_nanoparticles")
MIXED = {"mixed_nuclei": (("fluorescence", 0.75), ("histology", 0.25))} | {
    f"fluorescence+{kind}": (("fluorescence", 0.75), (kind, 0.25)) for kind in NEW_KINDS
}
"""Kinds of image in one folder, with their shares."""

ARMS = ("suggested+correct", "random+correct", "random+draw")
KEY = ("model", "part", "kind", "arm", "seed", "minutes", "cells_a_round", "round")
FIELDS = [
    *KEY,
    "image",
    "cells",
    "seconds",
    "outlines",
    "ap50",
    "ap",
    "outcome",
    "trained_ap50",
    "trained_ap",
    "trained_ap50_each",
]
SAME_AP = 0.005


def main() -> None:
    options = parse()
    if options.table:
        print(table(read_rows(options.out)))
        return
    import torch

    torch.set_num_threads(options.threads)
    for seed, kind, arm in itertools.product(options.seeds, options.kinds, options.arms):
        case = dict(zip(KEY, (options.model, options.part, kind, arm, seed, options.minutes, options.cells)))
        done = rows_of(options.out, case)
        if len(done) > options.rounds:
            continue
        for row in Loop(case, options).rounds():
            if row["round"] >= len(done):
                append_row(options.out, row, FIELDS)
            print(row, flush=True)
    print(table(read_rows(options.out)))


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__, MIXED)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=10, help="annotated in a round")
    parser.add_argument("--pool", type=int, default=8, help="images that may be annotated")
    parser.add_argument("--minutes", type=float, default=0.5, help="of CPU time, in each round")
    parser.add_argument("--tests", type=int, default=4, help="images that are tested on")
    parser.add_argument("--table", action="store_true", help="only print what --out says")
    return parser.parse_args()


class Loop:
    """One user with one way of working."""

    def __init__(self, case: Row, options: argparse.Namespace) -> None:
        from napari_cupre.model.zoo import open_model

        self.case, self.options, self.kind = case, options, str(case["kind"])
        self.rng = np.random.default_rng(case["seed"])
        self.tests: dict[str, list[str]] = {}
        self.left: list[str] = []
        self.kind_of: dict[str, str] = {}
        for kind, share in MIXED.get(self.kind, ((self.kind, 1.0),)):
            pool, self.tests[kind] = parts(kind, options.part, options.tests)
            mine = list(map(str, self.rng.permutation(pool)[: round(share * options.pool)]))
            self.left += mine
            self.kind_of |= dict.fromkeys(mine, kind)
        if self.kind in MIXED:
            self.left = list(map(str, self.rng.permutation(self.left)))
        self.model = open_model(options.model, "cpu")
        self.figures = self._tested(self.model)
        self.done: list[str] = []
        self.shots: list[Any] = []
        self.cells, self.seconds = 0, 0.0
        self.outlines: list[float] = []

    def rounds(self) -> Iterator[Row]:
        """The start, and then every round."""
        yield self._row(0, "", "", self.figures)
        for number in range(1, self.options.rounds + 1):
            if not self.left:
                return
            chosen = self._choose()
            self.left.remove(chosen)
            self.done.append(chosen)
            self._annotate(chosen)
            trained, outcome = self._train()
            mine = self._tested(trained)
            if outcome != "worse":  # the next round starts from the best one
                self.model, self.figures = trained, mine
            yield self._row(number, chosen, outcome, mine)

    def _tested(self, model: Any) -> Row:
        """Means over all test images, and the AP50 of each kind."""
        each = {kind: tested(model, kind, stems) for kind, stems in self.tests.items()}
        counts = [len(stems) for stems in self.tests.values()]
        means = {
            name: round(float(np.average([row[name] for row in each.values()], weights=counts)), 4)
            for name in ("ap50", "ap")
        }
        return means | {"each": " ".join(f"{row['ap50']:.3f}" for row in each.values())}

    def _row(self, number: int, image: str, outcome: str, mine: Row) -> Row:
        drawn = f"{np.mean(self.outlines):.3f}" if self.outlines else ""
        return self.case | {
            "round": number,
            "image": image,
            "cells": self.cells,
            "seconds": round(self.seconds),
            "outlines": drawn,
            "ap50": self.figures["ap50"],
            "ap": self.figures["ap"],
            "outcome": outcome,
            "trained_ap50": mine["ap50"],
            "trained_ap": mine["ap"],
            "trained_ap50_each": mine["each"],
        }

    # --- which image ------------------------------------------------------------------------------

    def _choose(self) -> str:
        if str(self.case["arm"]).startswith("random"):
            return self.left[0]  # they were shuffled
        from napari_cupre.evaluation.places import of_files
        from napari_cupre.evaluation.suggestions import LEAST_SCORE, suggest
        from napari_cupre.events import Steps
        from napari_cupre.prediction.plane import predict_plane

        run = Steps(
            suggest(
                of_files(list(map(self._path, self.left)), list(map(self._path, self.done))),
                self.model,
                lambda plane: predict_plane(self.model, plane, score=LEAST_SCORE),
                count=1,
                seed=int(self.case["seed"]),
            )
        )
        for _ in run:
            pass
        return Path(run.result.chosen[0].place.candidate.name).stem

    def _path(self, stem: str) -> Path:
        kind = self.kind_of[stem]
        folder = data_folder() / (f"labelled/{kind}" if kind in LABELLED else "bbbc038")
        (path,) = (folder / "images").glob(f"{stem}.*")
        return path

    # --- what the hand does -----------------------------------------------------------------------

    def _annotate(self, stem: str) -> None:
        from napari_cupre.data.annotation import make_shot

        image, truth = read(stem, self.kind_of[stem])
        top, left, bottom, right = field_of(truth, self.options.cells, self.rng)
        part = (slice(top, bottom), slice(left, right))
        numbers = [n for n in np.unique(truth[part]) if n and _is_mostly_in(truth == n, part)]
        if str(self.case["arm"]).endswith("draw"):
            drawn, accepted = {n: self._draw(truth == n) for n in numbers}, []
        else:
            drawn, accepted = self._correct(image, truth, numbers, part)
        labels = np.zeros(truth.shape, np.int32)
        for number, mask in drawn.items():
            labels[mask & (labels == 0)] = number
            self.outlines.append(overlap(mask, truth == number))
        corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
        shot = make_shot(image, labels, regions=[corners], name=stem)
        # as a project hands them over; the region is complete
        self.shots.append(replace(shot, accepted=tuple(accepted), surveyed=tuple(accepted)))
        self.cells += len(drawn)

    def _draw(self, mask: np.ndarray) -> np.ndarray:
        """Go around a cell."""
        self.seconds += LOOK_S + POINT_S + PRESS_S + STEER_S * np.pi * SCREEN_PX
        return mask

    def _correct(
        self, image: np.ndarray, truth: np.ndarray, numbers: list[int], part: tuple[slice, slice]
    ) -> tuple[dict[int, np.ndarray], list[int]]:
        """Keep what is right, delete what is no cell, click on what is missed, draw the rest.

        Returns
        -------
        dict of int to numpy.ndarray
            Mask of each cell.
        list of int
            Those whose outline is the network's.
        """
        from napari_cupre.prediction.outliner import Outliner
        from napari_cupre.prediction.plane import predict_plane

        guesses = predict_plane(self.model, image).labels
        kept: dict[int, np.ndarray] = {}
        for guess in np.unique(guesses[part]):
            mask = guesses == guess
            if not guess or not _is_mostly_in(mask, part):
                continue
            self.seconds += LOOK_S
            under = np.bincount(truth[mask])
            under[0] = 0
            number = int(under.argmax()) if len(under) > 1 else 0
            if number in numbers and number not in kept and overlap(mask, truth == number) >= GOOD_IOU:
                kept[number] = mask
            else:
                self.seconds += POINT_S + PRESS_S  # deleted
        accepted = list(kept)
        missed = [n for n in numbers if n not in kept]
        if missed:
            outliner = Outliner(self.model, _reader(image), None)
            found = outliner.instances(outliner.points([_middle(truth == n) for n in missed]))
            for row, number in enumerate(missed):
                self.seconds += LOOK_S + POINT_S + PRESS_S
                mask = found.labels == row + 1
                good = overlap(mask, truth == number) >= GOOD_IOU
                kept[number] = mask if good else self._draw(truth == number)
                if good:
                    accepted.append(number)
        return kept, accepted

    # --- the training -----------------------------------------------------------------------------

    def _train(self) -> tuple[Any, str]:
        from napari_cupre.events import Finished
        from napari_cupre.finetuning.finetune_run import FinetuneRun
        from napari_cupre.finetuning.finetune_settings import FinetuneSettings

        settings = FinetuneSettings(minutes=self.options.minutes, seed=int(self.case["seed"]), device="cpu")
        training = FinetuneRun(self.model, self.shots, settings, clock=time.process_time)
        outcome = ""
        for event in training.events():
            if isinstance(event, Finished):
                outcome = (event.result.get("decision") or {}).get("outcome", "")
        if training.result is None:
            raise RuntimeError("the training gave no model")
        return training.result, outcome


def field_of(truth: np.ndarray, cells: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A square field with about so many cells around one of them: top, left, bottom, right."""
    from napari_cupre.model.targets import label_boxes

    _, boxes = label_boxes(truth)
    centres = (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / 2
    middle = centres[int(rng.integers(len(centres)))]
    away = np.sort(np.abs(centres - middle).max(1))
    size = float(np.median(boxes[:, 2:] - boxes[:, :2]))
    reach = away[min(cells, len(away)) - 1] + 0.75 * size
    (top, left), (bottom, right) = middle - reach, middle + reach
    height, width = truth.shape
    return max(0, int(top)), max(0, int(left)), min(height, int(bottom) + 1), min(width, int(right) + 1)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two masks."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def _is_mostly_in(mask: np.ndarray, part: tuple[slice, slice]) -> bool:
    return bool(2 * np.count_nonzero(mask[part]) > np.count_nonzero(mask))


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Where a person clicks: deep inside."""
    from scipy import ndimage

    deep = ndimage.distance_transform_edt(mask)
    y, x = np.unravel_index(int(deep.argmax()), deep.shape)
    return float(y) + 0.5, float(x) + 0.5


def _reader(image: np.ndarray) -> Any:
    """A normalised plane as the outliner reads it."""
    from napari_cupre.data.image import CellImage
    from napari_cupre.prediction.reader import PlaneReader

    bytes_ = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return PlaneReader(CellImage.from_array(bytes_, "YXS"), {})


def table(rows: list[dict[str, str]]) -> str:
    """AP50, cells and seconds after each round, means over kinds and seeds; differences; verdicts."""
    lines = ["| arm | round | sequences | cells | seconds | AP50 |", "|---|---|---|---|---|---|"]
    groups: dict[tuple[str, int], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["arm"], int(row["round"])), []).append(row)
    for (arm, number), members in sorted(groups.items()):
        means = [np.mean([float(m[name]) for m in members]) for name in ("cells", "seconds", "ap50")]
        lines.append(
            f"| {arm} | {number} | {len(members)} | {means[0]:.0f} | {means[1]:.0f} | {means[2]:.3f} |"
        )
    compared = (("suggested+correct", "random+correct"), ("random+correct", "random+draw"))
    lines += [difference(rows, *pair) for pair in compared]
    return "\n".join([*lines, verdicts(rows)])


def difference(rows: list[dict[str, str]], first: str, second: str) -> str:
    """What one arm is ahead of another after the last round, paired by kind and seed; 95 % intervals."""
    last = max(int(row["round"]) for row in rows)
    ends = {(r["arm"], r["kind"], r["seed"]): r for r in rows if int(r["round"]) == last}
    cases = [key[1:] for key in ends if key[0] == first and (second, *key[1:]) in ends]
    if not cases:
        return ""
    said = []
    for name in ("ap50", "cells", "seconds"):
        both = ((float(ends[(arm, *case)][name]) for arm in (first, second)) for case in cases)
        gains = np.array([mine - theirs for mine, theirs in both])
        low, high = interval(gains)
        said.append(f"{name} {gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
    return f"{first} - {second} over {len(cases)} pairs after round {last}: {', '.join(said)}"


def verdicts(rows: list[dict[str, str]]) -> str:
    """How often "better" and "worse" were right of the test images, by AP."""
    counts: Counter[str] = Counter()
    before = {tuple(row[key] for key in KEY): float(row["ap"]) for row in rows}
    for row in rows:
        if not row["outcome"]:
            continue
        gain = (
            float(row["trained_ap"]) - before[(*(row[key] for key in KEY[:-1]), str(int(row["round"]) - 1))]
        )
        signed = {"better": gain, "worse": -gain}.get(row["outcome"])
        counts["undecided" if signed is None else "right" if signed > SAME_AP else "wrong"] += 1
    return f"verdicts of {sum(counts.values())} trainings: {dict(counts)}"


if __name__ == "__main__":
    main()
