"""A model moved the way that another one went: `MODEL + (TO - FROM)`, weight by weight.

    python benchmarks/bundled/moved.py cells cupre runs/cupre-2b/model.safetensors runs/start.safetensors

What the parent learned since, its child gets without being trained anew (Ilharco et al., "Editing models
with task arithmetic", 2023). `--share 0.5` goes half of the way; with MODEL equal to FROM that is the
mean of FROM and TO.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from napari_cupre.model.checkpoint import save_model
from napari_cupre.model.zoo import open_model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("origin", metavar="FROM")
    parser.add_argument("to", metavar="TO")
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    options = parser.parse_args()
    model, origin, to = (open_model(name, "cpu") for name in (options.model, options.origin, options.to))
    before, after = origin.network.state_dict(), to.network.state_dict()
    tensors = {}
    for key, own in model.network.state_dict().items():
        tensors[key] = own
        if own.is_floating_point():
            tensors[key] = own + options.share * (after[key] - before[key])
        if key.endswith("running_var"):  # a variance stays one
            tensors[key] = torch.maximum(tensors[key], 0.1 * own)
    model.network.load_state_dict(tensors)
    # The mean of two models is the newer one's, trained as it was.
    model.info = to.info if options.model == options.origin else model.info
    print(save_model(model, options.out))


if __name__ == "__main__":
    main()
