"""One diameter for all images, or each image's own estimate: AP of the start, without any training.

    python benchmarks/diameters.py --kinds fluorescence histology --out benchmarks/results/diameters.csv
    python benchmarks/diameters.py --table --out benchmarks/results/diameters.csv

--tests images are predicted with the diameter estimated in each, with the true one of each, and with that of
each of --images other images, as if these were annotated. `estimate` is what the model estimates in such an
image. Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from typing import Any

import numpy as np
from few_shot import drawn, parts, read
from rows import Row, simulate, simulation_parser

KEY = ("model", "part", "kind", "seed")
FIELDS = [*KEY, "way", "diameter", "estimate", "ap50", "ap"]


def main() -> None:
    options = parse()
    cases = (
        dict(zip(KEY, (options.model, options.part, kind, seed)))
        for seed, kind in itertools.product(options.seeds, options.kinds)
    )
    simulate(options, cases, partial(ways, images=options.images, tests=options.tests), FIELDS, table)


def ways(case: Row, images: int, tests: int) -> list[Row]:
    """Test a model with the diameter estimated, with the true one, and with that of one image for all."""
    from napari_cupre.finetuning.scaling import size_guess
    from napari_cupre.model.zoo import open_model

    model, kind = open_model(str(case["model"]), "cpu"), str(case["kind"])
    guess = size_guess(model)
    pool, stems = parts(kind, str(case["part"]), tests)
    pairs = [read(stem, kind) for stem in stems]
    rows = [
        {"way": "estimated"} | tested(model, pairs, [None] * len(pairs)),
        {"way": "true"} | tested(model, pairs, [median(labels) for _, labels in pairs]),
    ]
    for stem in drawn(pool, images, int(case["seed"])):
        image, labels = read(stem, kind)
        own = {"way": "one", "diameter": round(median(labels), 1), "estimate": round(guess(image) or 0.0, 1)}
        rows.append(own | tested(model, pairs, [median(labels)] * len(pairs)))
    return rows


def parse() -> argparse.Namespace:
    parser = simulation_parser(__doc__)
    parser.add_argument("--tests", type=int, default=6, help="images that are tested on")
    parser.add_argument("--images", type=int, default=5, help="images whose diameter is used for all")
    parser.add_argument("--table", action="store_true", help="only print what --out says")
    return parser.parse_args()


def median(labels: np.ndarray) -> float:
    """Median diameter of the cells of an image, px."""
    areas = np.bincount(labels.ravel())[1:]
    return float(np.median(2 * np.sqrt(areas[areas > 0] / np.pi)))


def tested(model: Any, tests: list[tuple[np.ndarray, np.ndarray]], diameters: list[float | None]) -> Row:
    """AP with a diameter for each image."""
    from napari_cupre.evaluation import evaluate
    from napari_cupre.prediction.plane import predict_plane

    found = [predict_plane(model, image, diameter=own).labels for (image, _), own in zip(tests, diameters)]
    report = evaluate([labels for _, labels in tests], found)
    return {"ap50": round(float(report.ap50), 4), "ap": round(float(report.ap), 4)}


def table(rows: list[dict[str, str]]) -> str:
    """AP50 of each kind with each way, and what the rule of a training takes."""
    from napari_cupre.finetuning.scaling import AGREES

    lines = ["| kind | estimated | true | one for all | the rule | estimates that agree |", "|---" * 6 + "|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        mine = [row for row in rows if row["kind"] == kind]
        (auto,) = {float(row["ap50"]) for row in mine if row["way"] == "estimated"}
        true = np.mean([float(row["ap50"]) for row in mine if row["way"] == "true"])
        ones = [row for row in mine if row["way"] == "one"]
        agree = [1 / AGREES <= float(row["estimate"]) / float(row["diameter"]) <= AGREES for row in ones]
        fixed = [float(row["ap50"]) for row in ones]
        ruled = [auto if is_right else own for is_right, own in zip(agree, fixed)]
        lines.append(
            f"| {kind} | {auto:.3f} | {true:.3f} | {np.mean(fixed):.3f} | {np.mean(ruled):.3f} | "
            f"{sum(agree)} of {len(agree)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
