"""`napari-cupre import`: annotations of other programs as label images."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_reading_options,
    report,
)
from napari_cupre.errors import InputError

if TYPE_CHECKING:
    from napari_cupre.io.importers.frames import Shapes

DETAILS = """
ANNOTATIONS is one of
  - ImageJ/Fiji ROIs (.roi or .zip), GeoJSON (QuPath's, zipped too), COCO JSON (LIVECell's, too),
  - Cellpose's _seg.npy (nothing in it is executed) and _cp_outlines.txt,
  - a folder of those or of label images (StarDist's layout, too),
  - BBBC038's folders with a mask file per cell.
It becomes DIR/<stem>.tif, int32, 0 = background, as 'finetune' and 'evaluate' take it.
ROIs and GeoJSON do not say how large their image is: --images or --shape does. One
annotation and one image belong together whatever their names, several by their stems
(a_rois.zip, a.geojson or a_masks.png with a.tif). Labels get the image's pixel size.
Images that a COCO JSON lists without annotation are left out, since nobody may have
looked at them yet; --keep-empty says that they hold no cell.

Exit code 2 also if a file of a folder, or a region that may have been meant as a cell,
had to be left out; it says which and why. Nothing that differs is written over.
"""


def add_commands(subparsers: Any) -> None:
    """Add `import`."""
    parser = add_command(
        subparsers,
        "import",
        _run,
        "turn annotations of other programs into label images",
        DETAILS,
        "napari-cupre import rois.zip --images image.tif --out labels/",
    )
    parser.add_argument("annotations", metavar="ANNOTATIONS", type=Path, help="file or folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the label images")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--images", metavar="IMAGES", help="the images, by folder, glob or file")
    size.add_argument(
        "--shape", type=_shape, metavar="ROWSxCOLUMNS", help="size of every image, e.g. 1024x1344"
    )
    parser.add_argument(
        "--keep-empty", action="store_true", help="images without annotation in a COCO JSON hold no cell"
    )
    add_reading_options(parser)


def _shape(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1024x1344")
    return int(match[1]), int(match[2])


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.io.importers import import_to_folder

    left_out: list[str] = []
    partial: list[str] = []

    def leave_out(reason: str) -> None:
        print(f"left out: {reason}", file=sys.stderr)
        left_out.append(reason)

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr)

    def tell_partial(sentence: str) -> None:
        say(sentence)
        partial.append(sentence)

    steps = import_to_folder(
        args.annotations,
        args.out,
        _shapes(args),
        keep_empty=args.keep_empty,
        on_skip=leave_out,
        on_partial=tell_partial,
        on_note=say,
    )
    written = list(steps)
    count = f"{len(written)} label image{'' if len(written) == 1 else 's'}"
    report(
        args,
        f"{count} written to {args.out}.",
        {"written": written, "left_out": left_out, "partial": partial},
    )
    return EXIT_UNUSABLE if left_out or partial else EXIT_DONE


def _shapes(args: argparse.Namespace) -> Shapes:
    """The sizes of the images, as far as they were given."""
    if args.images is None:
        if args.axes is not None or args.series is not None:
            raise InputError("--axes and --series tell how to read images, so give --images as well.")
        return args.shape
    from napari_cupre.io.images import read_image
    from napari_cupre.io.importers import ImageShapes
    from napari_cupre.io.inputs import find_inputs

    paths = find_inputs(args.images, args.series).paths
    return ImageShapes(paths, functools.partial(read_image, axes=args.axes))
