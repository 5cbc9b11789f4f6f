r"""Pretrain the starts that `few_shot.py` and `proof.py` compare, all with about the same computing.

    python benchmarks/starts.py --minutes 12                       # one core each, one after the other
    python benchmarks/starts.py --minutes 12 --only cupre moco     # some
    python benchmarks/few_shot.py --models scratch runs/starts/*.safetensors --shots 1 5 20 --seeds 3 ...

`--init FILE --out runs/from_source` continues every one from a network that knows the source, for equally
long: the paper's case, in which CUPre, more training on the source and MoCo begin at the same weights.

    python benchmarks/starts.py --times 3 --init source.safetensors --device cuda --processes 8 \
        --only supervised moco cupre --target histology fly_embryos --out runs/proof

`--times` counts iterations, so that the starts are the same on every machine: that many times what one core
did in ten minutes (`ITERATIONS`); `--minutes` then only ends a run that takes too long. `--target` adds
`target/KIND.safetensors`: CUPre whose unlabelled images are those of the kind itself that may be trained on.

A start that is there is not made again, one that was interrupted is continued. The unlabelled images are
those of ../shared/data without every image of BBBC038 that is tested on (`split.py`); no cell label is used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from few_shot import parts
from script import script_parser
from split import LABELLED, TEST_SIZES, bbbc038_split, data_folder

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
ITERATIONS = {"supervised": 325, "moco": 949, "amt2": 245}
"""What each objective did in ten minutes of one core (docs/accuracy.md, "The order of the starts")."""

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
    options = parse()
    names = [*options.only, *(f"target/{kind}" for kind in options.target)]
    missing = [name for name in names if not (options.out / f"{name}.safetensors").is_file()]
    with ThreadPoolExecutor(options.processes) as pool:
        results = [pool.submit(make, name, options) for name in missing]
    errors = [error for result in results if (error := result.exception())]
    if errors:
        sys.exit("\n".join(map(str, errors)))


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--minutes", type=float, help="budget, or with --times the most (default: 12)")
    parser.add_argument("--times", type=float, help="budget in iterations: times ITERATIONS")
    parser.add_argument("--only", nargs="*", choices=STARTS, default=list(STARTS))
    parser.add_argument("--target", nargs="*", choices=[*TEST_SIZES, *LABELLED], default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/starts"))
    parser.add_argument("--init", type=Path, help="a model trained on the source, from which all continue")
    parser.add_argument("--source", type=Path, help="COCO JSON of the photographs instead of coco_mini's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="starts at a time")
    parser.add_argument("--workers", type=int, default=0, help="loader processes of each stream")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    options = parser.parse_args()
    if options.minutes is None and options.times is None:
        options.minutes = 12.0
    return options


def make(name: str, options: argparse.Namespace) -> None:
    """One finished start."""
    pretrain(name, options.out / name, options)
    shutil.copyfile(options.out / name / "model.safetensors", options.out / f"{name}.safetensors")


def pretrain(name: str, run: Path, options: argparse.Namespace) -> None:
    """One start, by the command that users have."""
    settings: dict[str, Any] = dict(SETTINGS)
    share, more = 1.0, []
    if options.init is not None:
        settings |= GENTLER
        more = ["--init", str(options.init)]
    elif name in AFTER:
        first, share = run.with_name(f"{name}_first"), 0.5
        command(first, AFTER[name], budget(AFTER[name], options, share), settings, options, [])
        settings |= GENTLER
        more = ["--init", str(first / "model.safetensors")]
    settings |= dict(change.split("=", 1) for change in options.set)
    command(run, name, budget(name, options, share), settings, options, more)


def budget(name: str, options: argparse.Namespace, share: float) -> list[str]:
    """Options for a share of the budget of a start."""
    arguments = []
    if options.times is not None:
        iterations = round(share * options.times * ITERATIONS[recipe(name)[0]])
        arguments += ["--iterations", str(iterations)]
    if options.minutes is not None:
        arguments += ["--minutes", str(share * options.minutes)]
    return arguments


def command(
    run: Path,
    name: str,
    limits: Sequence[str],
    settings: dict[str, Any],
    options: argparse.Namespace,
    more: Sequence[str],
) -> None:
    """Begin a run, or go on with one that was interrupted."""
    run.parent.mkdir(parents=True, exist_ok=True)
    if (run / "state.safetensors").is_file():
        arguments = ["--resume", *limits]
    else:
        arguments = [*limits, *data_of(name, run, options.source), *more]
        for setting, value in settings.items():
            arguments += ["--set", f"{setting}={value}"]
    program = [sys.executable, "-m", "napari_cupre.cli.pretrain", "--out", str(run), *arguments]
    machine = ["--device", options.device, "--workers", str(options.workers)]
    subprocess.run([*program, *machine], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def recipe(name: str) -> tuple[str, dict[str, float]]:
    """The objective and the weights of the sources; of a target's start those of CUPre."""
    return STARTS["cupre" if name.startswith("target/") else name]


def data_of(name: str, run: Path, source: Path | None) -> list[str]:
    """Options for the images of a start."""
    objective, weights = recipe(name)
    data = data_folder()
    arguments = ["--objective", objective]
    if weights.get("source"):
        coco = data / "coco_mini"
        arguments += ["--source", str(source or coco / "instances.json")]
        arguments += ["--source-images", str(coco / "images"), "--source-weight", str(weights["source"])]
    if weights.get("synthetic"):
        arguments += ["--synthetic", str(weights["synthetic"])]
    if objective != "supervised":
        folders, kept_back = target_images(run.name) if name.startswith("target/") else general_images()
        excluded = run.with_name(f"{run.name}_kept_back.txt")
        excluded.write_text("\n".join(kept_back))
        arguments += ["--unlabelled", *map(str, folders), "--exclude", str(excluded)]
    return arguments


def general_images() -> tuple[list[Path], list[str]]:
    """Folders of unlabelled cells of many kinds, and the stems in them that are kept back."""
    split = bbbc038_split(seed=0)
    kept_back = split["unused"] + [i for part, ids in split.items() if part.startswith("test") for i in ids]
    return [data_folder() / "unlabelled", data_folder() / "bbbc038" / "images"], kept_back


def target_images(kind: str) -> tuple[list[Path], list[str]]:
    """The folder of a kind, and the stems in it that are not of its part to train on."""
    folder = data_folder() / (f"labelled/{kind}" if kind in LABELLED else "bbbc038") / "images"
    pool = set(parts(kind, "test", 0)[0])
    return [folder], sorted(path.stem for path in folder.iterdir() if path.stem not in pool)


if __name__ == "__main__":
    main()
