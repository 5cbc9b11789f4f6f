"""How good the proposal of a start is, against the AP50 of each shipped model in that image.

    python benchmarks/start_from.py --part dev --images 6 --out start_from.csv
    python benchmarks/start_from.py --kinds fluorescence em_neurites --marked 10

A row for each image: AP50 of each model, and what is proposed without annotation, and with `--marked` cells
drawn and the upper half of the image said to be complete. What is lost is the AP50 of the best model less
that of the proposed one. Rows that `--out` holds already are not measured again.

`--part dev` takes images that may be used to choose settings; `cells` and `nuclei` learned from most of them,
though not from neurites. The test part is for published figures.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from few_shot import parts, read
from script import script_parser
from split import LABELLED, TEST_SIZES

MODELS = ("cells", "nuclei", "cupre")
FIELDS = ["kind", "image", *MODELS, "proposed", "proposed_marked", "seconds"]


def main() -> None:
    options = parse()
    from napari_cupre.prediction.engine_choice import make_finder

    finders = {name: make_finder(name, "cpu", megapixels=0) for name in MODELS}
    rows = read_rows(options.out)
    done = {(row["kind"], row["image"]) for row in rows}
    images = [(kind, stem) for kind in options.kinds for stem in parts(kind, options.part, options.images)[1]]
    for kind, stem in images:
        if (kind, stem) not in done:
            rows.append(measured(finders, kind, stem, options.marked))
            write_rows(options.out, rows)
            print(rows[-1], flush=True)
    print(table(rows))


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument(
        "--kinds", nargs="+", default=[*TEST_SIZES, *LABELLED], choices=[*TEST_SIZES, *LABELLED]
    )
    parser.add_argument("--part", default="dev", choices=["test", "dev"])
    parser.add_argument("--images", type=int, default=6, help="of each kind")
    parser.add_argument("--marked", type=int, default=10, help="annotated cells of the second proposal")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measured(finders, kind: str, stem: str, marked: int) -> dict[str, str]:
    """What is proposed in one image, and the truth about it in the part that the models searched."""
    from napari_cupre.evaluation.matching import match_instances
    from napari_cupre.evaluation.start_choice import advise_start
    from napari_cupre.prediction.trying import try_models

    image, labels = read(stem, kind)
    began = time.process_time()
    found = {each.model: each for each in try_models(finders, image)}
    seconds = time.process_time() - began
    first = next(iter(found.values()))
    truth = labels[first.window.slices][:: first.step, :: first.step]
    row = {"kind": kind, "image": stem, "seconds": f"{seconds:.2f}"}
    for name, each in found.items():
        right, false, missed = match_instances(truth, each.labels).counts(0.5)
        row[name] = f"{right / max(1, right + false + missed):.3f}"
    cells = np.unique(truth[truth > 0])
    chosen = np.random.default_rng(0).permutation(cells)[:marked]
    complete = np.zeros(truth.shape, bool)
    complete[: len(truth) // 2] = True
    inside = np.unique(truth[complete & (truth > 0)])
    drawn = np.where(np.isin(truth, np.union1d(chosen, inside)), truth, 0)
    row["proposed"] = advise_start(found).best
    row["proposed_marked"] = advise_start(found, drawn, complete).best
    return row


def read_rows(path: Path | None) -> list[dict[str, str]]:
    if path is None or not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(path: Path | None, rows: list[dict[str, str]]) -> None:
    if path is None:
        return
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, str]]) -> str:
    """Of each way to choose: how often it is the best model, or within .02 of it, and what is lost."""
    lines = [
        "| start | best | within .02 | lost, mean | mean over kinds | most |",
        "|---|---|---|---|---|---|",
    ]
    for way in (*MODELS, "proposed", "proposed_marked"):
        lost, kinds = [], defaultdict(list)
        for row in rows:
            # where nothing is proposed the dock keeps the first of the list
            name = way if way in MODELS else row[way] or "cupre"
            lost.append(max(float(row[each]) for each in MODELS) - float(row[name]))
            kinds[row["kind"]].append(lost[-1])
        values = np.array(lost)
        figures = (
            np.mean(values == 0),
            np.mean(values <= 0.02),
            values.mean(),
            np.mean([np.mean(each) for each in kinds.values()]),
            values.max(),
        )
        lines.append(f"| {way} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    seconds = [float(row["seconds"]) for row in rows]
    return "\n".join([*lines, f"{len(rows)} images; CPU seconds of a trial: median {np.median(seconds):.1f}"])


if __name__ == "__main__":
    main()
