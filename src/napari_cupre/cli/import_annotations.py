"""`napari-cupre import`: convert annotations of other programs to label images."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_keep_empty,
    add_reading_options,
    report,
)
from napari_cupre.errors import InputError
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.data.image import CellImage
    from napari_cupre.io.importers.frames import Shapes

DETAILS = """
ANNOTATIONS is one of
  - ImageJ/Fiji ROIs (.roi or .zip), GeoJSON (QuPath, also zipped), COCO JSON (also LIVECell's),
  - JSON of LabelMe (a file per image) or of the VGG Image Annotator (VIA),
  - Cellpose's _seg.npy (nothing in it is executed) and _cp_outlines.txt,
  - a folder of those or of label images (also in StarDist's layout),
  - BBBC038's folders with a mask file per cell.
The result is DIR/<stem>.tif, int32, 0 = background, ready for 'finetune' and 'evaluate'.
ROIs, GeoJSON and VIA do not contain the size of their image: give --images or --shape. One
annotation and one image are paired whatever their names, several by their stems
(a_rois.zip, a.geojson or a_masks.png with a.tif). Labels get the image's pixel size.
Images that a JSON lists without annotation are left out, because they may not be
annotated yet; --keep-empty treats them as empty.

The exit code is 2 if a file of a folder, or a shape that may have been meant as a cell,
was left out; each is named with the reason. A file with other content is never replaced.
"""


def add_import(subparsers: Any) -> None:
    """Add `import`."""
    parser = add_command(
        subparsers,
        "import",
        _run,
        "convert annotations of other programs to label images",
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
    add_keep_empty(parser)
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
    count = counted(len(written), "label image")
    report(
        args,
        f"{count} written to {args.out}.",
        {"written": written, "left_out": left_out, "partial": partial},
    )
    return EXIT_UNUSABLE if left_out or partial else EXIT_DONE


def _shapes(args: argparse.Namespace) -> Shapes:
    """The sizes of the images, if they were given."""
    if args.images is None:
        if args.axes is not None or args.series is not None:
            raise InputError("--axes and --series describe the images, so give --images as well.")
        return args.shape
    from napari_cupre.io.images import read_image
    from napari_cupre.io.importers import ImageShapes
    from napari_cupre.io.inputs import find_inputs

    inputs = find_inputs(args.images, args.series)
    for notice in inputs.notices:
        print(notice, file=sys.stderr)

    def read(path: Path) -> CellImage:
        image = read_image(path, args.axes)
        for notice in filter(None, [image.guess, *image.notices]):
            print(notice, file=sys.stderr)
        return image

    return ImageShapes(inputs.paths, read)
