"""Which score to ask of a cell: AP50 by minimum score, with and without a training.

    python benchmarks/confidence.py --model cupre --amounts none --kinds histology --out scores.csv
    python benchmarks/confidence.py --amounts fields images --kinds histology --seeds 0 1 --out scores.csv
    python benchmarks/confidence.py --table --out scores.csv

`none` looks at images outside the test part with the model as it is. Otherwise each training takes --minutes
of CPU time (see `mixing.py` for what is annotated), and its start and its result find cells in the annotated
images and in --tests others. A row holds, for each minimum score, the cells found, invented and missed in
the annotated regions, and the AP50 of the tested images; the score "own" is the one that is used if nobody
chooses. Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from functools import partial
from typing import Any

import numpy as np
from few_shot import drawn, parts, read
from mixing import AMOUNTS, KEY, shot_of
from rows import Row, simulate, simulation_parser

SCORES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ALONE = {
    "fluorescence": 36,
    "histology": 24,
    "fly_embryos": 12,
    "phase_contrast_t98g": 6,
    "sem_powder": 6,
    "sem_spheroidite": 6,
    "tem_nanoparticles": 12,
    "em_neurites": 5,
}
"""Images of each kind that are looked at without a training."""

FIELDS = [*KEY, "who", "cells", "skill", "diameter", "score", "found", "invented", "missed", "ap50"]


def main() -> None:
    options = parse()
    cases = (
        dict(zip(KEY, (options.model, options.part, kind, amount, seed, options.minutes)))
        for seed, amount, kind in itertools.product(options.seeds, options.amounts, options.kinds)
    )
    simulate(options, cases, partial(scores, tests=options.tests), FIELDS, table)


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--amounts", nargs="+", default=["none"], choices=["none", *AMOUNTS])
    parser.add_argument("--minutes", type=float, default=0.5, help="of CPU time, of each training")
    parser.add_argument("--tests", type=int, default=6, help="images that are tested on")
    parser.add_argument("--table", action="store_true", help="only print what --out says")
    return parser.parse_args()


def alone(case: Row) -> list[Row]:
    """Look at every score with a model as it is."""
    from napari_cupre.model.zoo import open_model

    kind = str(case["kind"])
    pool, _ = parts(kind, "test", 1)
    stems = np.random.default_rng(7).permutation(pool)[: ALONE[kind]]
    model = open_model(str(case["model"]), "cpu")
    tested = [counts(model, *read(str(stem), kind)) for stem in stems]
    return [
        {"who": "start", "score": score, "ap50": f"{np.mean([share(*each[at]) for each in tested]):.4f}"}
        for at, score in enumerate((*SCORES, "own"))
    ]


def scores(case: Row, tests: int) -> list[Row]:
    """Look at every score with a model as it is, or with the start and the result of a training."""
    if case["amount"] == "none":
        return alone(case)
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model.zoo import open_model

    kind, seed = str(case["kind"]), int(case["seed"])
    pool, stems = parts(kind, str(case["part"]), tests)
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
        tested = [counts(model, *read(stem, kind)) for stem in stems]
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
    """AP50 at each score: of each model as it is and of the trainings, by kind."""
    lines = ["| model | kind | cases | " + " | ".join(map(str, (*SCORES, "own"))) + " |", "|---" * 12 + "|"]
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        if row["amount"] == "none" or row["who"] == "trained":
            model = row["model"] if row["amount"] == "none" else f"trained from {row['model']}"
            groups.setdefault((model, row["kind"]), []).append(row)
    for (model, kind), mine in groups.items():
        means = [
            np.mean([float(row["ap50"]) for row in mine if row["score"] == str(score)])
            for score in (*SCORES, "own")
        ]
        figures = " | ".join(f"{each:.3f}" for each in means)
        lines.append(f"| {model} | {kind} | {len(mine) // len(means)} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
