"""How much of a training to keep: AP of mixes of the start's and the trained weights.

    python benchmarks/mixing.py --kinds fluorescence histology --seeds 0 1 --out benchmarks/results/mixing.csv
    python benchmarks/mixing.py --table --out benchmarks/results/mixing.csv

Annotated are complete fields of ten cells in one or three images, or five whole images. Each training takes
--minutes of CPU time; its average weights, before anything is judged, are mixed with those of the start, and
each mix is tested on --tests other images. `skill` is what the training itself measures of the start: AP50 on
annotated windows. Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from functools import partial
from typing import Any

import numpy as np
from few_shot import drawn, parts, read
from folder import tested
from loop import field_of
from rows import Row, simulate, simulation_parser

SHARES = (0.25, 0.5, 0.75, 1.0)
AMOUNTS = {"field": (1, 10), "fields": (3, 10), "images": (5, 0)}
"""Number of images, and of the cells annotated in each; 0 for all of them."""

KEY = ("model", "part", "kind", "amount", "seed", "minutes")
FIELDS = [*KEY, "cells", "steps", "skill", "held", "share", "judged", "ap50", "ap", "f1"]


def main() -> None:
    options = parse()
    cases = (
        dict(zip(KEY, (options.model, options.part, kind, amount, seed, options.minutes)))
        for seed, amount, kind in itertools.product(options.seeds, options.amounts, options.kinds)
    )
    simulate(options, cases, partial(mixes, tests=options.tests), FIELDS, table)


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--amounts", nargs="+", default=list(AMOUNTS), choices=AMOUNTS)
    parser.add_argument("--minutes", type=float, default=0.5, help="of CPU time, of each training")
    parser.add_argument("--tests", type=int, default=6, help="images that are tested on")
    parser.add_argument("--table", action="store_true", help="only print what --out says")
    return parser.parse_args()


def mixes(case: Row, tests: int) -> list[Row]:
    """Train once, and test every mix on so many images."""
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model.average import approach
    from napari_cupre.model.zoo import open_model

    start = open_model(str(case["model"]), "cpu")
    pool, stems = parts(str(case["kind"]), str(case["part"]), tests)
    images, cells = AMOUNTS[str(case["amount"])]
    rng = np.random.default_rng([int(case["seed"]), images, cells])
    shots = [shot_of(str(case["kind"]), stem, cells, rng) for stem in drawn(pool, images, int(case["seed"]))]
    settings = FinetuneSettings(minutes=float(case["minutes"]), seed=int(case["seed"]), device="cpu")
    training = FinetuneRun(start, shots, settings, clock=time.process_time)
    for _ in training.events():
        pass
    judge = training.teaching.judge
    known = {
        "cells": sum(len(np.unique(shot.labels)) - 1 for shot in shots),
        "steps": training.step,
        "skill": round(training.skill, 4),
        "held": 0 if judge is None else sum(len(np.unique(each.labels)) - 1 for each in judge.windows),
    }
    trained = training.average.network.state_dict()
    result: Any = training.result

    def judged(network: Any) -> Row:
        return {"judged": "" if judge is None else round(judge(network, training.dtype).score, 4)}

    def row(share: object, model: Any) -> Row:
        return known | {"share": share} | judged(model.network) | tested(model, str(case["kind"]), stems)

    start.network.eval()
    rows = [row(0.0, start.copy(diameter=result.info.diameter))]
    for share in SHARES:
        network = copy.deepcopy(start.network).eval()
        approach(network.state_dict(), trained, share)
        mixed = result.copy()
        mixed.network.load_state_dict(network.state_dict())
        rows.append(
            known | {"share": share} | judged(mixed.network) | tested(mixed, str(case["kind"]), stems)
        )
    return [*rows, row("kept", result)]


def shot_of(kind: str, stem: str, cells: int, rng: np.random.Generator) -> Any:
    """An image with all cells annotated, or those of a field of it."""
    from napari_cupre.data.annotation import make_shot

    image, truth = read(stem, kind)
    if not cells:
        return make_shot(image, truth, complete=True, name=stem)
    top, left, bottom, right = field_of(truth, cells, rng)
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
    inside = np.unique(truth[top:bottom, left:right])
    return make_shot(image, np.where(np.isin(truth, inside), truth, 0), regions=[corners], name=stem)


def table(rows: list[dict[str, str]]) -> str:
    """AP50 of each mix, by what the start finds of the annotated cells, and of the rule that ships."""
    from napari_cupre.finetuning.mixing import KNOWN, UNKNOWN, usual_share

    shares = ["0.0", *map(str, SHARES)]
    cases: dict[tuple[str, ...], dict[str, float]] = {}
    skills: dict[tuple[str, ...], float] = {}
    taught: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(row[name] for name in KEY)
        cases.setdefault(key, {})[row["share"]] = float(row["ap50"])
        skills[key], taught[key] = float(row["skill"]), int(row["cells"]) - int(row["held"])
    whole = {key: mixes for key, mixes in cases.items() if set(shares) <= set(mixes)}
    lines = [f"| the start finds | trainings | {' | '.join(shares)} | the rule |", "|---" * 7 + "|"]
    parts = (("less", 0.0, UNKNOWN), ("between", UNKNOWN, KNOWN), ("most", KNOWN, 1.01), ("all", 0.0, 1.01))
    for name, low, high in parts:
        group = [key for key in whole if low <= skills[key] < high]
        if group:
            means = [np.mean([whole[key][share] for key in group]) for share in shares]
            ruled = np.mean([_between(whole[key], usual_share(skills[key], taught[key])) for key in group])
            figures = " | ".join(f"{each:.3f}" for each in (*means, ruled))
            lines.append(f"| {name} | {len(group)} | {figures} |")
    return "\n".join(lines)


def _between(mixes: dict[str, float], share: float) -> float:
    """The AP50 at a share that was not tested, from its neighbours."""
    return float(np.interp(share, [0.0, *SHARES], [mixes["0.0"], *(mixes[str(each)] for each in SHARES)]))


if __name__ == "__main__":
    main()
