"""Put the model of a finished run into the package, under its name and licence.

python benchmarks/bundled/publish.py cupre runs/cupre-2/model.safetensors
"""

from __future__ import annotations

import argparse
import csv
import statistics
from dataclasses import replace
from pathlib import Path

from napari_cupre.model.checkpoint import read_model, save_model
from napari_cupre.model.zoo import SHIPPED, bundled_path

PARENTS = {
    "cupre": "cupre-8, AMT2 from cupre-2, AMT2 from cupre-1, supervised on the source from ImageNet weights",
    "cells": "cells-7, supervised on the same labelled sets from cells-4",
    "nuclei": "nuclei-6, supervised on the same images from nuclei-5",
}
RESULTS = Path(__file__).parents[1] / "results" / "shipped.csv"
LICENCE = "BSD-3-Clause; the backbone began at ImageNet weights under Apache-2.0; see weights/LICENSE.txt"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=SHIPPED)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    model = read_model(options.model, "cpu")
    # Where the run lay says nothing to others.
    training = dict(model.info.training)
    training["source"] = [Path(source).name.replace("_but_dev", "") for source in training["source"]]
    training["parent"] = PARENTS[options.name]
    by_kind = measured(options.name)
    metrics = {"held_out_ap50": statistics.fmean(by_kind.values()), "held_out_ap50_by_source": by_kind}
    config = replace(model.info.config, preset="compact")
    model.network.config = config
    model.info = replace(
        model.info,
        name=options.name,
        config=config,
        training=training,
        metrics=model.info.metrics or metrics,
        licence=LICENCE,
    )
    path = save_model(model, bundled_path(options.name))
    print(path, f"{path.stat().st_size / 1e6:.1f} MB")


def measured(name: str) -> dict[str, float]:
    """AP50 without annotation on the images of each kind's test part, as `few_shot.py` wrote it."""
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == name and row["shots"] == "0"]
    return {row["kind"]: float(row["ap50"]) for row in rows}


if __name__ == "__main__":
    main()
