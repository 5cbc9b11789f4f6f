"""Make the finished model of a pretraining run the one that ships.

    python tools/bundle_model.py runs/bundled --stage "supervised, 680 steps" --metrics figures.json

Only the description changes: name, licence, earlier stages of the training, figures on held-out images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from napari_cupre.model.checkpoint import read_model, save_model
from napari_cupre.model.zoo import BUNDLED, bundled_path

LICENCE = (
    "BSD-3-Clause for what the authors may license; trained among others on COCO photographs, of which 432 "
    "of 645 are licensed for non-commercial use (docs/model-card.md)"
)
LARGEST = 32_000_000
"""Bytes that the wheel has room for."""


def main() -> None:
    """Write the file of a model that ships."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--stage", action="append", default=[], help="what came before this run; repeatable")
    parser.add_argument("--metrics", type=Path, help="JSON of figures on held-out images")
    options = parser.parse_args()
    model = read_model(options.run / "model.safetensors", "cpu")
    training = {key: value for key, value in model.info.training.items() if key != "init"}
    metrics = json.loads(options.metrics.read_text()) if options.metrics else {}
    model.info = replace(
        model.info,
        name=BUNDLED,
        licence=LICENCE,
        training={"earlier_stages": options.stage, **training},
        metrics=metrics,
    )
    path = save_model(model, bundled_path())
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.1f} MB")
    if size > LARGEST:
        raise SystemExit(f"The model is larger than the {LARGEST / 1e6:.0f} MB that the wheel has room for.")


if __name__ == "__main__":
    main()
