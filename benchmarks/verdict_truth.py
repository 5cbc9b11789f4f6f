"""How often a verdict from a few held-out cells is right about a large set of images.

    python benchmarks/verdict_truth.py --images 40 --draws 400 --out benchmarks/results/verdict.csv

Both shipped models, at two sizes and three minimum confidences each, predict images outside the test part;
two of the twelve are compared with `decide` on the cells of one to ten of these images, and on all others.
A verdict is wrong if it says "better" or "worse" and the others say the contrary, or differ by less than
0.005 AP. Images are predicted once and kept in --cache.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from measure import machine
from script import script_parser
from split import bbbc038_split, data_folder

from napari_cupre.evaluation.decision import Finds, Outcome, decide
from napari_cupre.evaluation.matching import match_instances

MODELS = ("cupre", "cells")
SIZES = (1.0, 0.75)
CONFIDENCES = (0.3, 0.5, 0.7)
HELD_OUT = (1, 2, 4, 10)
SAME = 0.005


def main() -> None:
    options = parse()
    print(machine())
    for kind in ("fluorescence", "histology"):
        variants = found(kind, options.images, options.cache)
        names = sorted(variants)
        for count in HELD_OUT:
            outcomes = simulate([variants[name] for name in names], count, options.draws)
            decided = outcomes["right"] + outcomes["wrong"]
            row = {"kind": kind, "images": count, "draws": options.draws, **outcomes}
            print(
                row,
                f"wrong {outcomes['wrong'] / options.draws:.1%}, decided {decided / options.draws:.0%}",
            )
            if options.out:
                write(options.out, row)


def simulate(variants: list[list[Finds]], count: int, draws: int) -> dict[str, int]:
    """Compare random pairs on the cells of `count` random images."""
    rng = np.random.default_rng(count)
    outcomes: Counter[str] = Counter(right=0, wrong=0, undecided=0)
    for draw in range(draws):
        first, second = rng.choice(len(variants), 2, replace=False)
        chosen = rng.choice(len(variants[0]), count, replace=False)
        sides = [[variants[which][i] for i in chosen] for which in (first, second)]
        said = decide(*sides, seed=draw).outcome
        rest = np.setdiff1d(np.arange(len(variants[0])), chosen)
        truth = decide(*([variants[which][i] for i in rest] for which in (first, second)))
        if said is Outcome.UNDECIDED:
            outcomes["undecided"] += 1
            continue
        agrees = (truth.difference > SAME) if said is Outcome.BETTER else (truth.difference < -SAME)
        outcomes["right" if agrees else "wrong"] += 1
    return dict(outcomes)


def found(kind: str, count: int, cache: Path) -> dict[str, list[Finds]]:
    """What every variant finds of every image."""
    import napari_cupre as cupre

    folder = data_folder() / "bbbc038"
    ids = bbbc038_split()[f"shots_{kind}"]
    chosen = np.random.default_rng(0).permutation(ids)[:count]
    variants: dict[str, list[Finds]] = {}
    cache.mkdir(parents=True, exist_ok=True)
    for identifier in chosen:
        image = iio.imread(folder / "images" / f"{identifier}.png")
        truth = iio.imread(folder / "labels" / f"{identifier}.png").astype(np.int32)
        own = np.sqrt(np.median(np.bincount(truth.ravel())[1:]) * 4 / np.pi)
        for name in MODELS:
            for size in SIZES:
                file = cache / f"{identifier}_{name}_{size}.npz"
                if not file.is_file():
                    instances = cupre.predict(
                        cupre.load_model(name), image, diameter=own * size, score=min(CONFIDENCES)
                    )
                    np.savez_compressed(file, labels=instances.labels, scores=instances.scores)
                kept = np.load(file)
                for confidence in CONFIDENCES:
                    low = 1 + np.flatnonzero(kept["scores"] < confidence)
                    labels = np.where(np.isin(kept["labels"], low), 0, kept["labels"])
                    variants.setdefault(f"{name} {size} {confidence}", []).append(
                        Finds.of(match_instances(truth, labels))
                    )
    return variants


def write(path: Path, row: dict[str, object]) -> None:
    is_new = not path.is_file()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--cache", type=Path, default=Path("runs/verdict"))
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
