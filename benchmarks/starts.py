"""Pretrain the starts that `few_shot.py` compares, each for the same time on one core, from random weights.

    python benchmarks/starts.py --minutes 12                       # all, one after the other
    python benchmarks/starts.py --minutes 12 --only cupre moco     # some
    python benchmarks/few_shot.py --models scratch runs/starts/*.safetensors --shots 1 5 20 --seeds 3 ...

`--init FILE --out runs/from_source` continues every one from a network that knows the source, for equally
long: the paper's case, in which CUPre, more training on the source and MoCo begin at the same weights.

A start that is there is not made again, one that was interrupted is continued. The unlabelled images are
those of ../shared/data without every image of BBBC038 that is tested on (`split.py`); no cell label is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from script import script_parser
from split import bbbc038_split, data_folder

COCO = {"source": 1.0, "synthetic": 0.0}
MIXED = {"source": 0.2, "synthetic": 0.8}
STARTS: dict[str, tuple[str, dict[str, float]]] = {
    "cupre": ("amt2", MIXED),
    "supervised": ("supervised", MIXED),
    "moco": ("moco", {}),
    "cupre_after": ("amt2", MIXED),
    "cupre_coco": ("amt2", COCO),
    "supervised_coco": ("supervised", COCO),
}
# A run of minutes needs a shorter warm-up and memory than the defaults, which are for hours.
SETTINGS = {
    "warmup": 40,
    "contrastive_warmup": 40,
    "average": 0.98,
    "contrastive_batch": 8,
    "bn_splits": 2,
    "contrastive_lr": 0.0003,
    "validate_every": 0,
    "checkpoint_minutes": 2,
    "seed": 0,
}


# As in the paper, AMT2 starts from a network that was trained on the source: half of the minutes each.
AFTER = {"cupre_after": "supervised"}
GENTLER = {
    "warmup": 10,
    "contrastive_warmup": 20,
    "contrastive_lr": 0.0001,
    "lr": 0.0008,
    "backbone_lr": 0.0004,
}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--only", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--out", type=Path, default=Path("runs/starts"))
    parser.add_argument("--init", type=Path, help="a model trained on the source, from which all continue")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    options = parser.parse_args()
    for name in options.only:
        finished = options.out / f"{name}.safetensors"
        if not finished.is_file():
            pretrain(name, options.out / name, options.minutes, options.init, options.set)
            shutil.copyfile(options.out / name / "model.safetensors", finished)


def pretrain(name: str, run: Path, minutes: float, init: Path | None, changes: list[str]) -> None:
    """One start, by the command that users have."""
    settings: dict[str, Any] = dict(SETTINGS)
    more: list[str] = []
    if init is not None:
        settings |= GENTLER
        more = ["--init", str(init)]
    elif name in AFTER:
        first, minutes = run.with_name(f"{name}_first"), minutes / 2
        command(first, AFTER[name], minutes, settings, [])
        settings |= GENTLER
        more = ["--init", str(first / "model.safetensors")]
    settings |= dict(change.split("=", 1) for change in changes)
    command(run, name, minutes, settings, more)


def command(run: Path, name: str, minutes: float, settings: dict[str, Any], more: list[str]) -> None:
    """Begin a run, or go on with one that was interrupted."""
    run.parent.mkdir(parents=True, exist_ok=True)
    if (run / "state.safetensors").is_file():
        arguments = ["--resume", "--minutes", str(minutes)]
    else:
        arguments = ["--minutes", str(minutes), *data_of(name, run.parent), *more]
        for setting, value in settings.items():
            arguments += ["--set", f"{setting}={value}"]
    program = [sys.executable, "-m", "napari_cupre.cli.pretrain", "--out", str(run), *arguments]
    subprocess.run([*program, "--workers", "0"], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def data_of(name: str, folder: Path) -> list[str]:
    objective, weights = STARTS[name]
    data = data_folder()
    arguments = ["--objective", objective]
    if weights.get("source"):
        coco = data / "coco_mini"
        arguments += ["--source", str(coco / "instances.json"), "--source-images", str(coco / "images")]
        arguments += ["--source-weight", str(weights["source"])]
    if weights.get("synthetic"):
        arguments += ["--synthetic", str(weights["synthetic"])]
    if objective != "supervised":
        split = bbbc038_split(seed=0)
        kept_back = split["unused"] + [
            i for part, ids in split.items() if part.startswith("test") for i in ids
        ]
        excluded = folder / "kept_back.txt"
        excluded.write_text("\n".join(kept_back))
        arguments += ["--unlabelled", str(data / "unlabelled"), str(data / "bbbc038" / "images")]
        arguments += ["--exclude", str(excluded)]
    return arguments


if __name__ == "__main__":
    main()
