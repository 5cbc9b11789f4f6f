"""`napari-cupre cache`: results that the window keeps, because computing them takes long."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from napari_cupre.cli.options import EXIT_DONE, add_command, report


def add_cache(subparsers: Any) -> None:
    """Add `cache` and its actions."""
    parser = subparsers.add_parser("cache", help="list and delete what the window found in large images")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    add_command(
        actions,
        "list",
        _list,
        "list the results of images larger than memory, with their size",
        "The window keeps them, so that the cells are there at once when you find them again.",
        "napari-cupre cache list",
    )
    clear = add_command(
        actions,
        "clear",
        _clear,
        "delete results of large images, least recently used first",
        "Results that a window shows or writes are kept. Projects, annotations, models and saved results\n"
        "are not touched.",
        "napari-cupre cache clear --keep-gb 5",
    )
    clear.add_argument(
        "--keep-gb",
        type=_gigabytes,
        default=0.0,
        metavar="GB",
        help="stop at this size (default: delete all)",
    )


def _gigabytes(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in GB, such as 5 or 0.5")
    return amount


def _list(args: argparse.Namespace) -> int:
    from napari_cupre.service.slides import kept_slides, slides_folder

    kept = kept_slides()
    lines = [
        f"{each.size / 1e6:9.1f} MB  {datetime.fromtimestamp(each.used):%Y-%m-%d %H:%M}  {each.path.name}"
        for each in kept
    ]
    total = sum(each.size for each in kept)
    lines.append(f"{total / 1e6:9.1f} MB in {slides_folder()}")
    slides = [{"path": each.path, "bytes": each.size, "used": each.used} for each in kept]
    report(args, "\n".join(lines), {"slides": slides, "bytes": total})
    return EXIT_DONE


def _clear(args: argparse.Namespace) -> int:
    from napari_cupre.service.slides import clear_slides, kept_slides

    freed = clear_slides(int(1e9 * args.keep_gb))
    left = sum(each.size for each in kept_slides())
    said = f"{freed / 1e6:.1f} MB freed, {left / 1e6:.1f} MB left."
    report(args, said, {"freed": freed, "bytes": left})
    return EXIT_DONE
