"""Few-shot accuracy: starting models x kinds of image x annotated images x seeds, split by `split.py`.

    python benchmarks/few_shot.py --models scratch --shots 5 --minutes 3              # random weights
    python benchmarks/few_shot.py --models scratch --shots 5 --minutes 3 --marked 0.2 # a fifth marked
    python benchmarks/few_shot.py --models scratch cupre --shots 0 1 5 20 --seeds 3 --out few_shot.csv
    python benchmarks/few_shot.py --models cupre --kinds sem_powder fly_embryos --shots 0 5 --minutes 2

A kind is fluorescence, histology or brightfield (BBBC038), or a set of `labelled/`. `--part dev` tests on
images of the part that may be trained on, for choosing settings; the test part is for published figures.

AP is TP / (TP + FP + FN), mean over the test images. Rows that `--out` holds already are not run again.
`--cpu` counts the minutes in CPU time of the process, so that what else the machine does changes nothing;
use it with --threads 1.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rows import Row, read_rows, write_rows
from script import script_parser
from split import LABELLED, TEST_SIZES, bbbc038_split, labelled_split, read_labelled

if TYPE_CHECKING:
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings

FIELDS = [
    "model",
    "kind",
    "shots",
    "marked",
    "seed",
    "minutes",
    "steps",
    "seconds",
    "cells",
    "ap50",
    "ap",
    "f1",
]


def main() -> None:
    options = parse()
    import torch

    torch.set_num_threads(options.threads)
    print(f"{platform.platform()}, torch {torch.__version__}, {options.threads} threads")
    rows: list[Row] = [] if options.out is None else [*read_rows(options.out)]
    for case in cases(options):
        if any(all(str(row[key]) == str(value) for key, value in case.items()) for row in rows):
            continue
        row = case | run(case, options)
        rows.append(row)
        if options.out is not None:
            write_rows(options.out, rows, FIELDS)
        print({key: row[key] for key in FIELDS}, flush=True)
    print(table(rows))


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["scratch"], help="names or files")
    parser.add_argument("--shots", nargs="+", type=int, default=[5], help="annotated images; 0 = none at all")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument(
        "--marked", type=float, default=1.0, help="share of each image's cells that is annotated"
    )
    parser.add_argument("--kinds", nargs="+", default=["fluorescence"], choices=[*TEST_SIZES, *LABELLED])
    parser.add_argument("--part", default="test", choices=["test", "dev"])
    parser.add_argument("--tests", type=int, default=30, help="unseen images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="count CPU time")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    every = itertools.product(range(options.seeds), options.shots, options.kinds, options.models)
    for seed, shots, kind, model in every:
        if shots == 0 and (model == "scratch" or seed > 0):
            continue  # random weights find nothing, and without training there is nothing random
        yield {
            "model": Path(model).stem if model.endswith(".safetensors") else model,
            "kind": kind,
            "shots": shots,
            "marked": options.marked,
            "seed": seed,
            "minutes": options.minutes if shots else 0,
        }


def parts(kind: str, part: str, tests: int) -> tuple[list[str], list[str]]:
    """Stems to draw annotated images from, and stems to test on."""
    if kind in LABELLED:
        pool, test = labelled_split(kind)
    else:
        split = _fields_split()
        pool, test = split[f"shots_{kind}"], split[f"test_{kind}"]
    if part == "test":
        return pool, list(np.random.default_rng(0).permutation(test)[:tests])
    order = [str(stem) for stem in np.random.default_rng(1).permutation(pool)]
    held = min(tests, len(order) // 2)
    return sorted(order[held:]), order[:held]


@functools.cache
def _fields_split() -> dict[str, list[str]]:
    """The split of BBBC038; drawing it reads every image."""
    return bbbc038_split(seed=0)


def drawn(pool: list[str], shots: int, seed: int) -> list[str]:
    """Stems of the images that are annotated in one case."""
    return [str(stem) for stem in np.random.default_rng([seed, shots]).permutation(pool)[:shots]]


def run(case: dict[str, object], options: argparse.Namespace) -> Row:
    """Train and test one case."""
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings

    path = next(m for m in options.models if m == case["model"] or Path(m).stem == case["model"])
    settings = FinetuneSettings(minutes=options.minutes, seed=int(str(case["seed"])), device="cpu")
    return scored(
        path,
        str(case["kind"]),
        int(str(case["shots"])),
        settings,
        marked=options.marked,
        part=options.part,
        tests=options.tests,
        clock=time.process_time if options.cpu else time.monotonic,
    )


def scored(
    start: str,
    kind: str,
    shots: int,
    settings: FinetuneSettings,
    *,
    marked: float = 1.0,
    part: str = "test",
    tests: int = 30,
    clock: Callable[[], float] = time.monotonic,
) -> Row:
    """Train a start on annotated images of a kind as `settings` say, unless `shots` is 0, and test it."""
    from napari_cupre.evaluation import evaluate
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.model.zoo import open_model
    from napari_cupre.prediction.detecting import as_finder
    from napari_cupre.prediction.plane import predict_plane

    model = open_model(start, settings.device, settings.seed)
    pool, tested = parts(kind, part, tests)
    steps, seconds, cells = 0, 0.0, 0
    if shots:
        chosen = drawn(pool, shots, settings.seed)
        annotated = [annotate(kind, identifier, marked, settings.seed) for identifier in chosen]
        cells = sum(len(np.unique(shot.labels)) - 1 for shot in annotated)
        training = FinetuneRun(model, annotated, settings, clock=clock)
        for _ in training.events():
            pass
        if training.result is None:
            raise RuntimeError("the training gave no model")
        model, steps, seconds = training.result, training.step, training.elapsed
    truth, found = [], []
    finder = as_finder(model)
    for identifier in tested:
        image, labels = read(identifier, kind)
        truth.append(labels)
        found.append(predict_plane(finder, image).labels)
    report = evaluate(truth, found)
    return {
        "steps": steps,
        "seconds": round(seconds),
        "cells": cells,
        "ap50": round(report.ap50, 4),
        "ap": round(report.ap, 4),
        "f1": round(report.f1, 4),
    }


def read(identifier: str, kind: str = "fluorescence") -> tuple[np.ndarray, np.ndarray]:
    """Normalised image and label image."""
    from napari_cupre.data.image import normalise

    image, labels = read_labelled(kind if kind in LABELLED else "bbbc038", identifier)
    return normalise(image), labels


def annotate(kind: str, identifier: str, marked: float, seed: int):
    """A shot with all cells known, or with a random share of them and nothing else."""
    from napari_cupre.data.annotation import make_shot

    image, labels = read(identifier, kind)
    if marked >= 1:
        return make_shot(image, labels, complete=True, name=identifier)
    cells = np.unique(labels[labels > 0])
    kept = np.random.default_rng(seed).permutation(cells)[: max(1, round(marked * len(cells)))]
    return make_shot(image, np.where(np.isin(labels, kept), labels, 0), name=identifier)


def table(rows: list[dict[str, object]]) -> str:
    """Mean over seeds, and half the range of a 95 % interval (Student's t) where there are several."""
    from scipy.stats import t

    groups: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in ("model", "kind", "shots", "marked", "minutes"))
        groups.setdefault(key, []).append(row)
    lines = [
        "| model | kind | shots | marked | minutes | seeds | AP50 | AP |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, members in groups.items():
        figures = []
        for name in ("ap50", "ap"):
            values = np.array([float(str(member[name])) for member in members])
            text = f"{values.mean():.3f}"
            if len(values) > 1:
                half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
                text += f" ± {half:.3f}"
            figures.append(text)
        lines.append("| " + " | ".join([*key, str(len(members)), *figures]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
