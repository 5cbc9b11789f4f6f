"""Put the model of a finished run into the package, under its name and licence.

python benchmarks/bundled/publish.py cupre runs/cupre-2/model.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from napari_cupre.model.checkpoint import read_model, save_model
from napari_cupre.model.zoo import SHIPPED, bundled_path

PARENTS = {
    "cupre": "cupre-1, supervised on the source from ImageNet weights",
    "cells": "cells-3, supervised on the same labelled sets from cupre",
}
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
    config = replace(model.info.config, preset="compact")
    model.network.config = config
    model.info = replace(model.info, name=options.name, config=config, training=training, licence=LICENCE)
    path = save_model(model, bundled_path(options.name))
    print(path, f"{path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
