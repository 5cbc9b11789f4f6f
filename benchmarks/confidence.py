"""Which confidence to ask of a cell after a training: AP50 by minimum score, and what the annotation says.

    python benchmarks/confidence.py --kinds histology fly_embryos --seeds 0 1 --out confidence.csv
    python benchmarks/confidence.py --table --out confidence.csv

Each training takes --minutes of CPU time (see `mixing.py` for what is annotated). Its start and its result
then find cells in the annotated images and in --tests others. A row holds, for each minimum score, the cells
found, invented and missed in the annotated regions, and the AP50 of the test images; the score "own" is the
one that is used if nobody chooses. Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

import numpy as np
from few_shot import drawn, parts, read
from mixing import AMOUNTS, KEY, shot_of
from rows import Row, append_row, read_rows, rows_of, simulation_parser

SCORES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FIELDS = [*KEY, "who", "cells", "skill", "diameter", "score", "found", "invented", "missed", "ap50"]


def main() -> None:
    options = parse()
    if options.table:
        print(table(read_rows(options.out)))
        return
    import torch

    torch.set_num_threads(options.threads)
    for seed, amount, kind in itertools.product(options.seeds, options.amounts, options.kinds):
        case = dict(zip(KEY, (options.model, options.part, kind, amount, seed, options.minutes)))
        if rows_of(options.out, case):
            continue
        for row in scores(case, *parts(kind, options.part, options.tests)):
            append_row(options.out, case | row, FIELDS)
        print(case, flush=True)


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--amounts", nargs="+", default=["fields", "images"], choices=AMOUNTS)
    parser.add_argument("--minutes", type=float, default=0.5, help="of CPU time, of each training")
    parser.add_argument("--tests", type=int, default=6, help="images that are tested on")
    parser.add_argument("--table", action="store_true", help="only print what --out says")
    return parser.parse_args()


def scores(case: Row, pool: list[str], tests: list[str]) -> list[Row]:
    """Train once, and look at every score with the start and with the result."""
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model.zoo import open_model

    kind, seed = str(case["kind"]), int(case["seed"])
    images, cells = AMOUNTS[str(case["amount"])]
    rng = np.random.default_rng([seed, images, cells])
    shots = [shot_of(kind, stem, cells, rng) for stem in drawn(pool, images, seed)]
    start = open_model(str(case["model"]), "cpu")
    settings = FinetuneSettings(minutes=float(case["minutes"]), seed=seed, device="cpu")
    training = FinetuneRun(start, shots, settings, clock=time.process_time)
    for _ in training.events():
        pass
    result: Any = training.result
    rows = []
    for who, model in (("start", start.copy(diameter=result.info.diameter)), ("trained", result)):
        about = {
            "who": who,
            "cells": sum(len(np.unique(shot.labels)) - 1 for shot in shots),
            "skill": round(training.skill, 4),
            "diameter": result.info.diameter or "",
        }
        annotated = [counts(model, shot.image, shot.labels, shot.known) for shot in shots]
        tested = [counts(model, *read(stem, kind)) for stem in tests]
        for number, score in enumerate((*SCORES, "own")):
            found, invented, missed = (sum(each[number][part] for each in annotated) for part in range(3))
            ap50 = float(np.mean([share(*each[number]) for each in tested]))
            rows.append(
                about | dict(score=score, found=found, invented=invented, missed=missed, ap50=f"{ap50:.4f}")
            )
    return rows


def counts(
    model: Any, image: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None
) -> list[tuple[int, int, int]]:
    """Cells found, invented and missed at each of `SCORES`, and with the score that is used by itself."""
    from napari_cupre.evaluation.matching import match_instances
    from napari_cupre.prediction.plane import predict_plane

    all_found, own = predict_plane(model, image, score=SCORES[0]), predict_plane(model, image)
    labels = [
        np.where(np.concatenate([[False], all_found.scores >= score])[all_found.labels], all_found.labels, 0)
        for score in SCORES
    ]
    return [match_instances(truth, each, known).counts(0.5) for each in (*labels, own.labels)]


def share(found: int, invented: int, missed: int) -> float:
    """TP / (TP + FP + FN)."""
    return found / max(found + invented + missed, 1)


def table(rows: list[dict[str, str]]) -> str:
    """AP50 at each score, by kind, of the trained models."""
    lines = ["| kind | trainings | " + " | ".join(map(str, (*SCORES, "own"))) + " |", "|---" * 11 + "|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        mine = [row for row in rows if row["kind"] == kind and row["who"] == "trained"]
        means = [
            np.mean([float(r["ap50"]) for r in mine if r["score"] == str(s)]) for s in (*SCORES, "own")
        ]
        lines.append(
            f"| {kind} | {len(mine) // len(means)} | " + " | ".join(f"{each:.3f}" for each in means) + " |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
