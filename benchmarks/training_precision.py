"""Few-shot trainings on a processor in float32 and in bfloat16: accuracy and seconds, in pairs of one seed.

Run: python benchmarks/training_precision.py [--steps 45] [--tests 12] [--out training_precision.csv]

Only processors with matrix units for bfloat16 (AMX) gain time. Trainings use float32 on all processors; here
some are made to use bfloat16. The images are not of the test part. Rows in `--out` are not run again.
"""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import torch
from few_shot import scored
from rows import Row, read_rows, write_rows
from script import script_parser

from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.finetune_settings import FinetuneSettings

CASES = [
    *itertools.product(("cupre", "nuclei"), ("fluorescence", "histology")),
    *itertools.product(("cupre",), ("fly_embryos", "phase_contrast_t98g")),
]
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
FIELDS = ["precision", "start", "kind", "seed", "steps", "seconds", "cells", "ap50", "ap", "f1"]


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--steps", type=int, default=45)
    parser.add_argument("--tests", type=int, default=12, help="unseen images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = [] if options.out is None else [*read_rows(options.out)]
    for seed, (start, kind), precision in itertools.product(range(options.seeds), CASES, PRECISIONS):
        case = {"precision": precision, "start": start, "kind": kind, "seed": seed}
        if any(all(str(row[key]) == str(value) for key, value in case.items()) for row in rows):
            continue
        # The engine chooses by the processor; here its choice is set aside.
        chosen = PRECISIONS[precision]
        FinetuneRun.dtype = property(lambda run, dtype=chosen: dtype, lambda run, dtype: None)
        settings = FinetuneSettings(steps=options.steps, minutes=None, seed=seed, device="cpu")
        rows.append(case | scored(start, kind, 5, settings, part="dev", tests=options.tests))
        print(rows[-1], flush=True)
        if options.out is not None:
            write_rows(options.out, rows, FIELDS)
    for field in ("seconds", "ap50", "ap"):
        first, second = (
            {(r["start"], r["kind"], str(r["seed"])): float(r[field]) for r in rows if r["precision"] == name}
            for name in PRECISIONS
        )
        change = [second[key] - first[key] for key in first]
        half = 1.96 * statistics.stdev(change) / len(change) ** 0.5
        print(f"{field}: bfloat16 - float32 {statistics.mean(change):+.4f} ± {half:.4f}, {len(change)} pairs")


if __name__ == "__main__":
    main()
