"""How often *Is it enough?* is right: the gain it predicts of 20 more cells beside the gain that they bring.

    python benchmarks/enough_truth.py --kinds fluorescence histology --seeds 0 1 2 \
        --out benchmarks/results/enough.csv

A user has annotated fields of some images. The learning curve is measured as in the window, on parts of these
cells (`finetuning.subsets`), and predicts what 20 more would bring. Then they are annotated, in fields of
other images; a model that learned from all is compared with one that learned from the first cells alone,
after equally many steps, on test images that neither saw. Both gains are of the share of right ones in all
that was to be found or was invented. Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import numpy as np
from few_shot import parts, read
from loop import field_of
from rows import Row, append_row, read_rows, simulation_parser

KEY = ("model", "part", "kind", "seed", "steps", "annotated")
FIELDS = [*KEY, "cells", "more", "points", "outcome", "predicted", "low", "high", "real", "start"]


def main() -> None:
    options = parse()
    import torch

    torch.set_num_threads(options.threads)
    for seed, kind in itertools.product(options.seeds, options.kinds):
        case = dict(zip(KEY, (options.model, options.part, kind, seed, options.steps, options.cells)))
        if any(all(str(row[key]) == str(case[key]) for key in KEY) for row in read_rows(options.out)):
            continue
        row = case | run(case, options)
        append_row(options.out, row, FIELDS)
        print(row, flush=True)
    print(summary(read_rows(options.out)))


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--steps", type=int, default=40, help="of each training")
    parser.add_argument("--cells", type=int, default=40, help="annotated at first, in fields of about 10")
    parser.add_argument("--folds", type=int, default=2, help="of three; the window measures all")
    parser.add_argument("--tests", type=int, default=8, help="images that are tested on")
    return parser.parse_args()


def run(case: Row, options: argparse.Namespace) -> Row:
    """Predict the gain, and measure it."""
    from napari_cupre.evaluation.enough import MORE, is_enough
    from napari_cupre.finetuning.split import count_cells
    from napari_cupre.model.zoo import open_model

    kind, rng = str(case["kind"]), np.random.default_rng(case["seed"])
    pool, tests = parts(kind, options.part, options.tests)
    order = itertools.cycle([str(name) for name in rng.permutation(pool)])
    shots = until(int(case["annotated"]), order, kind, rng)
    cells = sum(count_cells(shot.labels) for shot in shots)
    start = open_model(options.model, "cpu", case["seed"])
    points, longer = curve(start, shots, case, options.folds)
    said = is_enough(points, cells, longer)
    more = until(MORE, order, kind, rng)
    before, after, untrained = (
        value_of(model, kind, tests)
        for model in (trained(start, shots, case), trained(start, shots + more, case), start)
    )
    gain = said.gain
    return {
        "cells": cells,
        "more": sum(count_cells(shot.labels) for shot in more),
        "points": " ".join(f"{point.cells:.0f}:{point.value:.3f}" for point in points),
        "outcome": str(said.outcome),
        **(
            {}
            if gain is None
            else {n: f"{v:.4f}" for n, v in zip(("predicted", "low", "high"), astuple(gain))}
        ),
        "real": f"{after - before:.4f}",
        "start": f"{before - untrained:.4f}",
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


def curve(start: Any, shots: list[Any], case: Row, folds: int) -> tuple[list[Any], Any]:
    """The points of the learning curve, measured on parts of the annotation as the window does it."""
    from napari_cupre.evaluation.project_curve import longer_of, points_of_parts
    from napari_cupre.events import Steps
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.finetuning.subsets import parts_to_train, train_part
    from napari_cupre.project.lessons import LessonResult

    measured = []
    for part in parts_to_train(int(case["steps"])):
        if part.fold >= folds:
            continue
        settings = FinetuneSettings(minutes=None, steps=part.steps, device="cpu", seed=int(case["seed"]))
        steps = Steps(train_part(start, shots, part, settings))
        for _ in steps:
            pass
        point = steps.result
        if point is None:
            raise RuntimeError("a part was not trained")
        what = ("", "", 0, part.fold, part.share, part.steps)
        measured.append(LessonResult(*what, int(point.cells), point.found, point.judged, point.invented))
    return points_of_parts(measured), longer_of(measured)


def trained(start: Any, shots: list[Any], case: Row) -> Any:
    """A model that learned from all cells of some images."""
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings

    settings = FinetuneSettings(
        minutes=None, steps=int(case["steps"]), device="cpu", seed=int(case["seed"]), held_out=0.0
    )
    training = FinetuneRun(start, shots, settings)
    for _ in training.events():
        pass
    return training.result


def value_of(model: Any, kind: str, tests: list[str]) -> float:
    """Share of right ones in all that was to be found or was invented, over all test images."""
    from napari_cupre.evaluation.matching import match_instances
    from napari_cupre.prediction.plane import predict_plane

    right = wrong = 0
    for name in tests:
        image, truth = read(name, kind)
        found, invented, missed = match_instances(truth, predict_plane(model, image).labels).counts(0.5)
        right, wrong = right + found, wrong + invented + missed
    return right / max(1, right + wrong)


def summary(rows: list[dict[str, str]]) -> str:
    """How often the interval held the real gain, and each answer was right of it."""
    told = [row for row in rows if row["predicted"]]
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
