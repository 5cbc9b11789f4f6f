"""Results as rows of a CSV file, and the options that simulations share."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from script import script_parser
from split import LABELLED, TEST_SIZES

Row = dict[str, Any]


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a file; none where there is none yet."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(path: Path, rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Write all rows anew; the file is complete at every moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fields)
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def append_row(path: Path, row: Row, fields: Sequence[str]) -> None:
    """Write one more row."""
    is_new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fields, restval="")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def rows_of(path: Path, case: Row) -> list[dict[str, str]]:
    """The rows of a file that say of one case."""
    return [row for row in read_rows(path) if all(row[key] == str(value) for key, value in case.items())]


def simulate(
    options: argparse.Namespace,
    cases: Iterable[Row],
    rows_for: Callable[[Row], Iterable[Row]],
    fields: Sequence[str],
    table: Callable[[list[dict[str, str]]], str],
) -> None:
    """Add the rows of each case that --out has none of; with --table only print what it says."""
    if options.table:
        print(table(read_rows(options.out)))
        return
    import torch

    torch.set_num_threads(options.threads)
    for case in cases:
        if rows_of(options.out, case):
            continue
        for row in rows_for(case):
            append_row(options.out, case | row, fields)
            print(case | row, flush=True)


def simulation_parser(description: str | None, more_kinds: Iterable[str] = ()) -> argparse.ArgumentParser:
    """A parser of what every simulation asks for: model, kinds, seeds, part, threads and file."""
    parser = script_parser(description)
    parser.add_argument("--model", default="cupre")
    parser.add_argument(
        "--kinds", nargs="+", default=["fluorescence"], choices=[*TEST_SIZES, *LABELLED, *more_kinds]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--part", default="dev", choices=["test", "dev"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser
