"""One diameter for all images, or each image's own estimate: AP of the start, without any training.

    python benchmarks/diameters.py --kinds fluorescence histology --out benchmarks/results/diameters.csv
    python benchmarks/diameters.py --table --out benchmarks/results/diameters.csv

--tests images are predicted with the diameter estimated in each, with the true one of each, and with that of
each of --images other images, as if these were annotated. `estimate` is what the model estimates in such an
image. Rows that --out holds already are not run again.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from few_shot import drawn, parts, read
from rows import Row, append_row, read_rows, rows_of, simulation_parser

KEY = ("model", "part", "kind", "seed")
FIELDS = [*KEY, "way", "diameter", "estimate", "ap50", "ap"]


def main() -> None:
    options = parse()
    if options.table:
        print(table(read_rows(options.out)))
        return
    import torch

    from napari_cupre.finetuning.scaling import size_guess
    from napari_cupre.model.zoo import open_model

    torch.set_num_threads(options.threads)
    model = open_model(options.model, "cpu")
    guess = size_guess(model)
    for seed in options.seeds:
        for kind in options.kinds:
            case = dict(zip(KEY, (options.model, options.part, kind, seed)))
            if rows_of(options.out, case):
                continue
            pool, stems = parts(kind, options.part, options.tests)
            tests = [read(stem, kind) for stem in stems]
            rows = [
                {"way": "estimated"} | tested(model, tests, [None] * len(tests)),
                {"way": "true"} | tested(model, tests, [median(labels) for _, labels in tests]),
            ]
            for stem in drawn(pool, options.images, seed):
                image, labels = read(stem, kind)
                own = {"way": "one", "diameter": round(median(labels), 1)}
                rows.append(own | {"estimate": round(guess(image) or 0.0, 1)})
                rows[-1] |= tested(model, tests, [median(labels)] * len(tests))
            for row in rows:
                append_row(options.out, case | row, FIELDS)
                print(case | row, flush=True)


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
