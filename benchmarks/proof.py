r"""The proof: start x kind of image x annotated images x seed, with equal steps, and paired differences.

    python benchmarks/proof.py --starts scratch supervised=runs/starts/supervised.safetensors \
        moco=runs/starts/moco.safetensors cupre=runs/starts/cupre.safetensors \
        cupre_target=runs/starts/target --kinds fluorescence histology fly_embryos \
        --seeds 5 --steps 100 --device cuda --processes 16 --out proof.csv
    python benchmarks/proof.py --report --out proof.csv        # tables in Markdown

A start is `scratch` or NAME=FILE; NAME=FOLDER has a file for each kind, FOLDER/KIND.safetensors (`starts.py`
makes them). Every case fine-tunes with the engine that users have, for the same number of steps, on the same
annotated images for every start, and is tested on images of the test part (`split.py`). Rows that `--out`
holds already are not run again, so the same command goes on where it was stopped; seeds are the outermost
loop, so that an early end leaves a balanced table. Where a kind has fewer images than `--shots`, the case is
left out.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from few_shot import parts, scored
from proof_report import report
from rows import Row, read_rows, write_rows
from script import script_parser
from split import LABELLED, TEST_SIZES

KINDS = ["fluorescence", "histology", "phase_contrast_t98g", "fly_embryos", "tem_nanoparticles", "sem_powder"]
CASE = ["start", "kind", "shots", "seed", "budget", "tests"]
FIELDS = [*CASE, "device", "steps", "seconds", "cells", "ap50", "ap", "f1", "wall"]


def main() -> None:
    options = parse()
    rows: list[Row] = [*read_rows(options.out)]
    if options.report:
        print(report(rows))
        return
    done = {tuple(str(row[key]) for key in CASE) for row in rows}
    every = [case for case in cases(options) if tuple(str(case[key]) for key in CASE) not in done]
    print(f"{len(every)} cases to run, {len(rows)} rows are there", flush=True)
    failed = run_all(every, rows, options)
    print(report(rows))
    if failed:
        sys.exit(f"{failed} of {len(every)} cases failed: run the same command again.")


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument(
        "--starts", nargs="+", type=start_of, default=[("scratch", "scratch")], metavar="NAME=FILE"
    )
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=[*TEST_SIZES, *LABELLED])
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 1, 5, 20], help="annotated images")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="of fine-tuning, in every case")
    parser.add_argument("--tests", type=int, default=20, help="unseen images of each kind at most")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="cases at a time, one thread each")
    parser.add_argument("--report", action="store_true", help="only print the tables of --out")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def start_of(text: str) -> tuple[str, str]:
    """The name and the file or folder of a start."""
    name, _, path = text.partition("=")
    if path and not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path} does not exist")
    if not path and name != "scratch":
        raise argparse.ArgumentTypeError(f"{text!r} is neither scratch nor NAME=FILE")
    return name, path or name


def cases(options: argparse.Namespace) -> Iterator[Row]:
    """What to run, in order; "model" is the file to start from."""
    for seed, shots, kind in itertools.product(range(options.seeds), options.shots, options.kinds):
        if shots > len(parts(kind, "test", options.tests)[0]) or (shots == 0 and seed > 0):
            continue  # without training there is nothing random
        for name, path in options.starts:
            model = f"{path}/{kind}.safetensors" if Path(path).is_dir() else path
            if (shots == 0 and name == "scratch") or (model != "scratch" and not Path(model).is_file()):
                continue  # random weights find nothing
            budget = options.steps if shots else 0
            case = {"start": name, "kind": kind, "shots": shots, "seed": seed, "budget": budget}
            yield case | {"tests": options.tests, "device": options.device, "model": model}


def run_all(every: Sequence[Row], rows: list[Row], options: argparse.Namespace) -> int:
    """Run cases in several processes, write each result at once, and return how many failed."""
    os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    failed, began = 0, time.monotonic()
    # A forked process cannot use CUDA.
    with ProcessPoolExecutor(options.processes, get_context("spawn"), initializer=prepare) as pool:
        running = {pool.submit(run, case): case for case in every}
        for number, future in enumerate(as_completed(running), 1):
            case = {key: running[future][key] for key in CASE}
            if (error := future.exception()) is not None:
                failed += 1
                print(f"{case} failed: {type(error).__name__}: {error}", flush=True)
                continue
            rows.append(future.result())
            write_rows(options.out, rows, FIELDS)
            minutes = (time.monotonic() - began) / 60
            print(f"{number}/{len(every)}, {minutes:.1f} min: {rows[-1]}", flush=True)
    return failed


def prepare() -> None:
    """Import what every case needs, once in each process."""
    import torch

    import napari_cupre.finetuning.finetune_run  # noqa: F401

    torch.set_num_threads(1)


def run(case: Row) -> Row:
    """Fine-tune and test one case; its row."""
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings

    began = time.monotonic()
    settings = FinetuneSettings(
        minutes=None, steps=case["budget"] or 1, seed=case["seed"], device=case["device"]
    )
    found = scored(case["model"], case["kind"], case["shots"], settings, tests=case["tests"])
    row = {key: value for key, value in case.items() if key != "model"}
    return row | found | {"wall": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    main()
