"""How long a synthetic field takes to draw, per look, on one core.

    OMP_NUM_THREADS=1 python benchmarks/synthetic_speed.py [--size 256] [--fields 100] [--json FILE]

Goal (issue 3): under 15 ms for a field of 256 px, in the mix of looks that pretraining reads.
Processor time is measured, summed over all threads.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from script import script_parser

from napari_cupre.synthetic import LOOKS, SyntheticFields


def milliseconds(fields: SyntheticFields, count: int) -> tuple[float, float]:
    """Mean processor time of a field in ms, and the mean number of its cells."""
    fields[0]
    times, cells = [], []
    for index in range(count):
        start = time.process_time()
        field = fields[index]
        times.append(1e3 * (time.process_time() - start))
        cells.append(int(field.labels.max()))
    return float(np.mean(times)), float(np.mean(cells))


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of a field in px")
    parser.add_argument("--fields", type=int, default=100, help="fields per look")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()

    figures = {}
    print(f"{'look':20s} {'ms/field':>9s} {'cells':>6s}")
    for look in [*LOOKS, "mixed"]:
        weights = None if look == "mixed" else {look: 1.0}
        spent, cells = milliseconds(SyntheticFields(options.size, 0, weights), options.fields)
        figures[look] = {"ms": round(spent, 2), "cells": round(cells, 1)}
        print(f"{look:20s} {spent:9.1f} {cells:6.0f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
