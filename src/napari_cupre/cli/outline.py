"""`napari-cupre outline`: outline the cells at given boxes or points, and write them to a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_finding_options,
    add_model_argument,
    check_replaces,
    report,
)
from napari_cupre.errors import InputError
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage, PlaneIndex
    from napari_cupre.io.writers.formats import Format
    from napari_cupre.prediction.instances import Instances
    from napari_cupre.prediction.outliner import Outliner

DETAILS = """
PROMPTS.csv names its columns in the first row, in any order: x0, y0, x1, y1 for boxes, or
y, x for points, in image px; the first pixel goes from 0 to 1. Row i becomes label i.
Points and shapes that napari saved, and ImageJ's BX, BY, Width, Height, are read as well.

The suffix of --out sets the format: .tif (int32 labels), .zip (ImageJ ROIs), .json
(COCO, keeps overlapping masks and scores), .geojson (QuPath) or .csv (measurements).
Only the surroundings of the prompts are read from large files; planes larger than
6000 x 6000 px are written as .tif.
"""


def add_outline(subparsers: Any) -> None:
    """Add `outline`."""
    parser = add_command(
        subparsers,
        "outline",
        _run,
        "outline the cells at given boxes or points",
        DETAILS,
        "napari-cupre outline cupre image.png prompts.csv --out outlines.tif",
    )
    add_model_argument(parser)
    parser.add_argument("image", metavar="IMAGE", type=Path, help="one image")
    parser.add_argument("prompts", metavar="PROMPTS.csv", type=Path, help="boxes or points, one per row")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file for the outlines")
    add_finding_options(
        parser, "cell diameter in px, for points (default: the model's, or estimated from the image)"
    )
    parser.add_argument(
        "--plane",
        type=_plane,
        default={},
        metavar="Z=N",
        help="plane of a stack, counted from 0, e.g. T=3,Z=0",
    )


def _plane(text: str) -> dict[str, int]:
    plane = {}
    for part in text.upper().split(","):
        axis, _, position = part.partition("=")
        if axis.strip() not in ("T", "Z") or not position.strip().isdecimal():
            raise argparse.ArgumentTypeError(f"{text!r} is not a plane such as Z=3 or T=0,Z=3")
        plane[axis.strip()] = int(position)
    return plane


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.io.images import read_image
    from napari_cupre.io.prompt_files import read_prompts

    chosen = _format(args.out)
    _check_inputs(args)
    check_replaces(args, [args.out], [args.image])
    prompts = read_prompts(args.prompts)
    image = read_image(args.image, args.axes, series=_one(args.series), partial=True)
    image, given = _with_channels(args, image)
    for notice in filter(None, [image.guess, given, *image.notices, image.lacks]):
        print(notice, file=sys.stderr)
    _check_size(chosen, image)
    index = _index(image, args.plane)
    outliner = _outliner(args, image, index)
    if prompts.boxes is not None:
        found = outliner.boxes(prompts.boxes)
    else:
        found = outliner.points(prompts.points)
    _write(args.out, chosen, outliner.instances(found), image, index, outliner.classes)
    nothing = [row for row, outline in enumerate(found, start=1) if not outline.mask.any()]
    drawn = len(found) - len(nothing)
    text = f"{counted(drawn, 'outline is', 'outlines are')} in {args.out}."
    if nothing:
        text += f"\nNo cell was found for row {', '.join(map(str, nothing))}: draw a box there."
    figures = {"out": args.out, "outlines": len(found), "empty": nothing}
    report(args, text, figures | {"scores": [round(outline.score, 4) for outline in found]})
    return EXIT_UNUSABLE if image.lacks or not drawn else EXIT_DONE


def _with_channels(args: argparse.Namespace, image: CellImage) -> tuple[CellImage, str]:
    """The image with the channels that the model is given, and what to say about it."""
    from napari_cupre.model.cards import seen_by

    if args.channels is not None:
        return image, ""
    seen = seen_by(args.model)
    _, said = seen.given(image, Path(args.model).stem)
    image = seen.on(image)
    return image, f"{said}; --channels names others." if said else image.unseen()


def _check_inputs(args: argparse.Namespace) -> None:
    """Refuse anything but one image and one file of prompts, and a result that would replace either."""
    from napari_cupre.io.files import is_zarr

    image = Path(args.image)
    if image.is_dir() and not is_zarr(image):
        raise InputError(f'"{image}" is a folder: give one image, because prompts belong to one.')
    if args.prompts.is_dir():
        raise InputError(f'"{args.prompts}" is a folder: give a CSV file with boxes or points.')
    if args.out.exists() and args.prompts.exists() and args.out.samefile(args.prompts):
        raise InputError(f'"{args.out}" contains the prompts: choose another --out.')


def _one(series: str | None) -> str | None:
    """The image that --series names; prompts belong to one image."""
    if series == "all":
        raise InputError(
            "--series all cannot be used here, because prompts belong to one image: name that image."
        )
    return series


def _format(out: Path) -> Format:
    """The format for the suffix of a file name."""
    from napari_cupre.io.writers import FORMATS

    suffix = {".tiff": ".tif"}.get(out.suffix.lower(), out.suffix.lower())
    for each in FORMATS.values():
        if suffix == Path(f"x{each.ending}").suffix:
            return each
    endings = ", ".join(Path(f"x{each.ending}").suffix for each in FORMATS.values())
    raise InputError(f'"{out}" has no suffix of a known format: use one of {endings}.')


def _check_size(chosen: Format, image: CellImage) -> None:
    """Refuse what cannot be written, before anything is computed."""
    from napari_cupre.prediction.drawn import is_large

    if is_large(image.plane_shape) and chosen.name != "tif":
        rows, columns = image.plane_shape
        raise InputError(
            f"A plane of {rows} x {columns} px can only be written as .tif: choose such a name for --out."
        )


def _index(image: CellImage, plane: PlaneIndex) -> PlaneIndex:
    """The chosen plane, or the only one."""
    missing = [axis for axis in image.result_axes[:-2] if axis not in plane and image.sizes[axis] > 1]
    if missing:
        choice = ",".join(f"{axis}=0" for axis in missing)
        raise InputError(
            f'"{image.path}" has several planes (axes {image.axes}): choose one, e.g. --plane {choice}.'
        )
    return {axis: 0 for axis in image.result_axes[:-2]} | plane


def _outliner(args: argparse.Namespace, image: CellImage, index: PlaneIndex) -> Outliner:
    from napari_cupre.prediction.engine_choice import make_finder
    from napari_cupre.prediction.outliner import Outliner
    from napari_cupre.prediction.reader import PlaneReader

    # Only the surroundings of prompts are looked at: that is little work.
    finder = make_finder(args.model, args.device, args.seed, megapixels=0)
    return Outliner(finder, PlaneReader(image, index, args.channels), args.diameter)


def _write(
    out: Path,
    chosen: Format,
    cells: Instances,
    image: CellImage,
    index: PlaneIndex,
    class_names: tuple[str, ...],
) -> None:
    """Write one plane's cells; of a stack the other planes stay empty."""
    import numpy as np

    from napari_cupre.io.ownership import owned_write
    from napari_cupre.io.tiff_labels import write_large_labels
    from napari_cupre.io.writers.output_cells import collect

    with owned_write(out) as temporary:
        if isinstance(cells.labels, np.ndarray):
            found = collect([(index, cells)], image=image, name=out.stem, class_names=class_names)
            chosen.write(found, temporary)
        else:
            write_large_labels(temporary, cells.labels, image)
