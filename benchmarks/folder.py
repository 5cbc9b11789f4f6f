"""Does the folder teach? AP at equal seconds with and without what images without annotation add.

    python benchmarks/folder.py --kinds fluorescence histology --shots 1 5 --minutes 1 \
        --part dev --out benchmarks/results/folder.csv

Ways: `plain` (annotated images alone), `contrast` (momentum contrast on the backbone beside each supervised
step), `teacher` (what the averaged weights are sure of is learned from), `both`; and `half`, the weights of
`plain` halfway back to the start. The images without annotation are the others of the kind, up to
--unlabelled of them, those that are tested on among them: as in the window, where the images without
annotation are the ones whose cells are wanted. Their labels are used by nothing but the test.

The minutes are CPU time. Rows that --out holds already are not run again. The verdict of each training and
the start's figures at the same diameter are kept, which tells how often verdicts are right (`--verdicts`).
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from few_shot import annotate, parts, read
from rows import Row, append_row, read_rows, rows_of, simulation_parser

WAYS = ("plain", "contrast", "teacher", "both")
KEY = ("model", "part", "kind", "shots", "seed", "minutes", "way")
FIELDS = [
    *KEY,
    *("steps", "cells", "unlabelled", "ap50", "ap", "f1"),
    *("held_out", "start_held_out", "outcome", "start_ap50", "start_ap"),
]


def main() -> None:
    options = parse()
    import torch

    torch.set_num_threads(options.threads)
    if options.verdicts:
        print(verdicts(read_rows(options.out)))
        return
    for case in cases(options):
        if rows_of(options.out, case):
            continue
        for row in run(case, options):
            append_row(options.out, row, FIELDS)
            print(row, flush=True)
    print(table(read_rows(options.out)))


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--minutes", type=float, default=1.0, help="of CPU time")
    parser.add_argument("--tests", type=int, default=8, help="images that are tested on")
    parser.add_argument("--unlabelled", type=int, default=16, help="images without annotation")
    parser.add_argument("--verdicts", action="store_true", help="count right and wrong verdicts in --out")
    return parser.parse_args()


def cases(options: argparse.Namespace) -> Iterator[Row]:
    every = itertools.product(options.seeds, options.shots, options.kinds, options.ways)
    for seed, shots, kind, way in every:
        values = (options.model, options.part, kind, shots, seed, options.minutes, way)
        yield dict(zip(KEY, values))


def run(case: Row, options: argparse.Namespace) -> Iterator[Row]:
    """Train and test one case; after `plain`, also the weights halfway back."""
    from napari_cupre.data.shot import Shot
    from napari_cupre.events import Finished
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model.zoo import open_model

    kind, way = str(case["kind"]), str(case["way"])
    start = open_model(options.model, "cpu", case["seed"])
    pool, tests = parts(kind, options.part, options.tests)
    order = np.random.default_rng([case["seed"], case["shots"]]).permutation(pool)
    chosen, rest = [str(x) for x in order[: case["shots"]]], [str(x) for x in order[case["shots"] :]]
    shots = [annotate(kind, identifier, 1.0, case["seed"]) for identifier in chosen]
    cells = sum(len(np.unique(shot.labels)) - 1 for shot in shots)
    others = [*tests, *rest][: options.unlabelled] if way != "plain" else []
    settings = FinetuneSettings(
        minutes=options.minutes,
        seed=case["seed"],
        device="cpu",
        contrast=way in ("contrast", "both"),
        teacher=way in ("teacher", "both"),
    )
    shots += [Shot.unlabelled(read(identifier, kind)[0], identifier) for identifier in others]
    training = FinetuneRun(start, shots, settings, clock=time.process_time)
    finished: Finished | None = None
    for event in training.events():
        finished = event if isinstance(event, Finished) else finished
    if training.result is None or finished is None:
        raise RuntimeError("the training gave no model")
    common = training.result.info.diameter
    before = tested_start(options.model, common, kind, tuple(tests))
    shared = case | {
        "steps": training.step,
        "cells": cells,
        "unlabelled": len(others),
        "start_held_out": held_out(training, start.network),
        "outcome": (finished.result.get("decision") or {}).get("outcome", ""),
        "start_ap50": before["ap50"],
        "start_ap": before["ap"],
    }
    mine = held_out(training, training.result.network)
    yield shared | tested(training.result, kind, tests) | {"held_out": mine}
    if way == "plain":
        model = training.result.copy()
        model.network.load_state_dict(halfway(start.network, training.result.network))
        mine = held_out(training, model.network)
        yield shared | {"way": "half", "outcome": ""} | tested(model, kind, tests) | {"held_out": mine}


def halfway(start: Any, trained: Any) -> dict[str, Any]:
    """The mean of two networks' weights."""
    ours = start.state_dict()
    return {
        key: (value + ours[key]) / 2 if value.is_floating_point() else value
        for key, value in trained.state_dict().items()
    }


def held_out(training: Any, network: Any) -> str:
    """Score on the held-out cells; "" where none are."""
    if training.judge is None:
        return ""
    return f"{training.judge(copy.deepcopy(network).eval(), training.dtype).score:.4f}"


@lru_cache
def tested_start(name: str, diameter: float | None, kind: str, tests: tuple[str, ...]) -> Row:
    """Figures of a start, which all ways have in common."""
    from napari_cupre.model.zoo import open_model

    return tested(open_model(name, "cpu").copy(diameter=diameter), kind, list(tests))


def tested(model: Any, kind: str, tests: list[str]) -> Row:
    """Figures on images that nothing was learned from but their pixels."""
    from napari_cupre.evaluation import evaluate
    from napari_cupre.prediction.plane import predict_plane

    pairs = [read(identifier, kind) for identifier in tests]
    report = evaluate(
        [labels for _, labels in pairs], [predict_plane(model, image).labels for image, _ in pairs]
    )
    return {name: round(float(getattr(report, name)), 4) for name in ("ap50", "ap", "f1")}


def table(rows: list[dict[str, str]]) -> str:
    """Mean AP50 of each way, and its paired difference from `plain` with a 95 % interval over all cases."""
    plain = {_case(row): float(row["ap50"]) for row in rows if row["way"] == "plain"}
    lines = ["| way | cases | AP50 | plain | difference |", "|---|---|---|---|---|"]
    for way in (*WAYS[1:], "half"):
        pairs = [
            (float(row["ap50"]), plain[_case(row)])
            for row in rows
            if row["way"] == way and _case(row) in plain
        ]
        if pairs:
            mine, theirs = np.array(pairs).T
            low, high = interval(mine - theirs)
            difference = f"{(mine - theirs).mean():+.3f} [{low:+.3f}, {high:+.3f}]"
            lines.append(f"| {way} | {len(pairs)} | {mine.mean():.3f} | {theirs.mean():.3f} | {difference} |")
    return "\n".join(lines)


def interval(values: np.ndarray) -> tuple[float, float]:
    """A 95 % interval of the mean, by bootstrap."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def verdicts(rows: list[dict[str, str]], same: float = 0.005) -> str:
    """How often "better" and "worse" were right of the test images, by AP."""
    counted: Counter[str] = Counter()
    for row in rows:
        if row["way"] == "half" or not row["outcome"]:
            continue
        gain = float(row["ap"]) - float(row["start_ap"])
        signed = {"better": gain, "worse": -gain}.get(row["outcome"])
        counted["undecided" if signed is None else "right" if signed > same else "wrong"] += 1
    return f"{sum(counted.values())} trainings: {dict(counted)}"


def _case(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[key] for key in KEY if key != "way")


if __name__ == "__main__":
    main()
