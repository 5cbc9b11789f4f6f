"""How often the cross-check and *Is it enough?* are right, which the window measures while nobody works.

    python benchmarks/enough_truth.py --kinds fluorescence histology --seeds 0 1 2 \
        --out benchmarks/results/enough.csv
    python benchmarks/enough_truth.py --check --steps 30 --kinds ... --out benchmarks/results/check.csv
    python benchmarks/enough_truth.py --keep FOLDER ...     # all that was measured, a JSON file a simulation

A user has annotated fields of some images. As in the window, models are trained on parts of these cells
(`finetuning.subsets`).

The cross-check says from three of them whether training is better than its start. A model that learned from
all cells is compared with the start on test images that neither saw: "better" and "worse" are wrong if their
AP differs the other way, or by less than 0.005. --check measures this alone.

The learning curve predicts what 20 more cells would bring. They are annotated, in fields of other images, and
a model that learned from all is compared with one that learned from the first alone, after equally many
steps. Both gains are of the share of right ones in all that was to be found or was invented. Two trainings
on the same cells differ already, so --repeats takes the mean of several pairs of them.

Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from few_shot import parts, read
from loop import field_of
from rows import Row, append_row, read_rows, rows_of, simulation_parser

KEY = ("model", "part", "kind", "seed", "steps", "annotated")
CHECKED = ("check", "check_ap", "check_low", "check_high", "real_ap", "start_ap")
CURVE = ("more", "points", "outcome", "predicted", "low", "high", "real", "start", "repeats")
FIELDS = [*KEY, "cells", *CHECKED, *CURVE]
SAME_AP = 0.005


def main() -> None:
    options = parse()
    import torch

    torch.set_num_threads(options.threads)
    for seed, kind in itertools.product(options.seeds, options.kinds):
        case = dict(zip(KEY, (options.model, options.part, kind, seed, options.steps, options.cells)))
        if rows_of(options.out, case):
            continue
        row = case | run(case, options)
        append_row(options.out, row, FIELDS)
        print(row, flush=True)
    print(checks(read_rows(options.out)))
    print(summary(read_rows(options.out)))


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--steps", type=int, default=40, help="of each training")
    parser.add_argument("--cells", type=int, default=40, help="annotated at first, in fields of about 10")
    parser.add_argument("--check", action="store_true", help="the cross-check alone")
    parser.add_argument("--tests", type=int, default=8, help="images that are tested on")
    parser.add_argument("--repeats", type=int, default=1, help="trainings with and without the 20 more cells")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", type=Path, help="folder for all that was measured")
    return parser.parse_args()


def run(case: Row, options: argparse.Namespace) -> Row:
    """Let the window's sentences be said, and measure what they are about."""
    from napari_cupre.evaluation.enough import MORE
    from napari_cupre.finetuning.split import count_cells
    from napari_cupre.model.zoo import open_model

    kind, rng = str(case["kind"]), np.random.default_rng(case["seed"])
    pool, tests = parts(kind, options.part, options.tests)
    order = itertools.cycle([str(name) for name in rng.permutation(pool)])
    shots = until(int(case["annotated"]), order, kind, rng)
    start = open_model(options.model, options.device, case["seed"])
    measured = lessons(start, shots, case, options)
    if options.keep is not None:
        keep(measured, options.keep / f"{kind}_{case['seed']}.json")
    untrained = of_start(options.model, options.device, kind, tuple(tests))
    before = tested(start, shots, case, options, tests)
    row: Row = {"cells": sum(count_cells(shot.labels) for shot in shots)} | checked(measured)
    row |= {"start_ap": f"{untrained[1]:.4f}", "real_ap": f"{before[1] - untrained[1]:.4f}"}
    if options.check:
        return row
    more = until(MORE, order, kind, rng)
    after = tested(start, shots + more, case, options, tests)
    return (
        row
        | {"more": sum(count_cells(shot.labels) for shot in more), "repeats": options.repeats}
        | predicted(measured, int(row["cells"]))
        | {"real": f"{after[0] - before[0]:.4f}", "start": f"{before[0] - untrained[0]:.4f}"}
    )


def keep(measured: list[Any], path: Path) -> None:
    """Write all results of trainings on parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(each) for each in measured]) + "\n", encoding="utf-8")


def checked(measured: list[Any]) -> Row:
    """What the cross-check says."""
    from napari_cupre.evaluation.project_curve import cross_check

    check = cross_check(measured)
    if check is None:
        raise RuntimeError("a fold was not measured")
    said = check.decision
    return dict(
        zip(CHECKED, (str(said.outcome), f"{said.difference:.4f}", f"{said.low:.4f}", f"{said.high:.4f}"))
    )


def predicted(measured: list[Any], cells: int) -> Row:
    """What the learning curve says."""
    from napari_cupre.evaluation.enough import is_enough
    from napari_cupre.evaluation.project_curve import longer_of, points_of_parts

    points = points_of_parts(measured)
    said = is_enough(points, cells, longer_of(measured))
    values = ["", "", ""] if said.gain is None else [f"{value:.4f}" for value in astuple(said.gain)]
    return {
        "points": " ".join(f"{point.cells:.0f}:{point.value:.3f}" for point in points),
        "outcome": str(said.outcome),
        **dict(zip(("predicted", "low", "high"), values)),
    }


def until(cells: int, names: Iterator[str], kind: str, rng: np.random.Generator) -> list[Any]:
    """Annotate a field in one image after the other until there are so many cells."""
    from napari_cupre.finetuning.split import count_cells

    shots: list[Any] = []
    while sum(count_cells(shot.labels) for shot in shots) < cells:
        shots.append(annotated(next(names), kind, rng))
    return shots


def annotated(name: str, kind: str, rng: np.random.Generator) -> Any:
    """An image with a field of about ten cells annotated."""
    from napari_cupre.data.annotation import make_shot

    image, truth = read(name, kind)
    top, left, bottom, right = field_of(truth, 10, rng)
    inside = np.zeros(truth.shape, bool)
    inside[top:bottom, left:right] = True
    labels = np.where(inside, truth, 0).astype(np.int32)
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
    return make_shot(image, labels, regions=[corners], name=name)


def lessons(start: Any, shots: list[Any], case: Row, options: argparse.Namespace) -> list[Any]:
    """Train on parts of the annotation, as the window does."""
    from napari_cupre.events import Steps
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.finetuning.subsets import parts_to_train, train_part
    from napari_cupre.project.lessons import LessonResult

    measured = []
    for part in parts_to_train(int(case["steps"])):
        if options.check and (part.share, part.steps) != (1.0, int(case["steps"])):
            continue
        settings = FinetuneSettings(
            minutes=None, steps=part.steps, device=options.device, seed=int(case["seed"])
        )
        steps = Steps(train_part(start, shots, part, settings))
        for _ in steps:
            pass
        learned = steps.result
        if learned is None:
            raise RuntimeError("a part was not trained")
        what = ("", "", 0, part.fold, part.share, part.steps)
        measured.append(LessonResult(*what, **learned.as_dict()))
    return measured


def tested(
    start: Any, shots: list[Any], case: Row, options: argparse.Namespace, tests: list[str]
) -> tuple[float, float]:
    """Mean figures of models that learned from all cells of some images, each with a seed of its own."""
    found = []
    for repeat in range(options.repeats):
        model = trained(start, shots, case, int(case["seed"]) + 1000 * repeat, options.device)
        found.append(tested_by(model, str(case["kind"]), tests))
    right, ap = np.mean(found, axis=0)
    return float(right), float(ap)


def trained(start: Any, shots: list[Any], case: Row, seed: int, device: str) -> Any:
    """A model that learned from all cells of some images."""
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings

    settings = FinetuneSettings(
        minutes=None, steps=int(case["steps"]), device=device, seed=seed, held_out=0.0
    )
    training = FinetuneRun(start, shots, settings)
    for _ in training.events():
        pass
    return training.result


@cache
def of_start(model: str, device: str, kind: str, tests: tuple[str, ...]) -> tuple[float, float]:
    """Figures of a start, which all seeds have in common."""
    from napari_cupre.model.zoo import open_model

    return tested_by(open_model(model, device), kind, list(tests))


def tested_by(model: Any, kind: str, tests: list[str]) -> tuple[float, float]:
    """Share of right ones in all that was to be found or was invented, over all tests, and their mean AP."""
    from napari_cupre.evaluation.matching import match_instances
    from napari_cupre.evaluation.report import score_match
    from napari_cupre.prediction.plane import predict_plane

    right = wrong = 0
    ap = []
    for name in tests:
        image, truth = read(name, kind)
        match = match_instances(truth, predict_plane(model, image).labels)
        found, invented, missed = match.counts(0.5)
        right, wrong = right + found, wrong + invented + missed
        ap.append(score_match(name, match).ap)
    return right / max(1, right + wrong), float(np.mean(ap))


def checks(rows: list[dict[str, str]]) -> str:
    """How often the cross-check was right of the test images."""
    counts: Counter[str] = Counter()
    for row in rows:
        gain = float(row["real_ap"])
        real = "gain" if gain > SAME_AP else "loss" if gain < -SAME_AP else "no difference"
        counts[f"{row['check']}: {real}"] += 1
    return f"cross-checks of {len(rows)} trainings: {dict(sorted(counts.items()))}"


def summary(rows: list[dict[str, str]]) -> str:
    """How often the interval held the real gain, and each answer was right of it."""
    told = [row for row in rows if row.get("predicted")]
    if not told:
        return "no curve"
    real, low, high, middle = (
        np.array([float(row[name]) for row in told]) for name in ("real", "low", "high", "predicted")
    )
    held = int(((real >= low) & (real <= high)).sum())
    answers = Counter(row["outcome"] for row in told)
    worth = {
        answer: f"{np.mean([float(row['real']) for row in told if row['outcome'] == answer]):+.3f}"
        for answer in answers
    }
    return (
        f"{len(told)} curves: {held} intervals hold the real gain; predicted {middle.mean():+.3f}, real "
        f"{real.mean():+.3f}, off by {np.abs(real - middle).mean():.3f}; answers {dict(answers)}, "
        f"real gain {worth}"
    )


if __name__ == "__main__":
    main()
