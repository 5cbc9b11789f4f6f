"""`napari-cupre predict`: find the cells of any number of images and write them to files."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    add_command,
    add_finding_options,
    add_model_argument,
    positive_count,
    report,
    share,
)
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.prediction.onefile import FileJob

FORMATS = "tif, roi (ImageJ), coco, geojson (QuPath), csv"
DETAILS = f"""
Writes <stem>.tif (int32 labels, 0 = background) for every image, or the formats in
--format: {FORMATS};
coco writes one predictions.json, which keeps scores and overlapping masks.
Planes larger than 6000 x 6000 px are written as <stem>.zarr, tile by tile, with a table
<stem>_cells.csv instead.

Files that a person made or corrected are never replaced: the command stops before it
computes and names the file; --overwrite replaces it. Repeating the command skips the
files that are done, and Ctrl-C keeps them. A file that cannot be read is named and left
out; the exit code is then 2.

A file with several images (scenes, series, fields of a plate) gives one
<stem>_<name>.tif for each; --series selects one. The files of an OME-TIFF set are one image.
Label files beside their images (a_mask.png) are left out.
"""

STOPPED = "Stopped. Finished files are kept; repeat the command to continue. Those in work are done again."


def add_predict(subparsers: Any) -> None:
    """Add `predict`."""
    parser = add_command(
        subparsers,
        "predict",
        _run,
        "find every cell in images",
        DETAILS,
        "napari-cupre predict cupre images/ --out results/ --format tif,roi,csv",
    )
    add_model_argument(parser)
    parser.add_argument("images", metavar="IMAGES", nargs="+", help="folders, globs or files")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--format", default="tif", metavar="LIST", help=f"{FORMATS} (default: tif)")
    add_finding_options(
        parser, "cell diameter in px (default: the model's, unless the image clearly shows another)"
    )
    parser.add_argument(
        "--score",
        type=share,
        metavar="S",
        help="minimum certainty, 0 to 1 (default: 0.45; 0.45 to 0.7 if the cell size is estimated)",
    )
    parser.add_argument(
        "--tile", type=positive_count, metavar="PX", help="side of a tile in network px (default: 1024)"
    )
    parser.add_argument(
        "--augment",
        action="store_true",
        help="search each image and its mirror image, and average the results: up to twice the time, fewer "
        "mistakes where the model is unsure",
    )
    parser.add_argument("--link-z", action="store_true", help="link the planes of a stack into 3-D cells")
    parser.add_argument("--link-t", action="store_true", help="keep the same label for a cell over time")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=positive_count,
        default=1,
        metavar="N",
        help="processes on this computer (default: 1)",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="address of a running dask cluster with access to the same files",
    )


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.cli.listen import follow, make_listener
    from napari_cupre.cli.projects import channels_of, with_projects
    from napari_cupre.events import Finished
    from napari_cupre.io.inputs import find_inputs
    from napari_cupre.prediction.file_runs import predict_files

    missing: list[tuple[str, str]] = []
    inputs = find_inputs(with_projects(args.images, lambda *each: missing.append(each)), args.series)
    paths = inputs.paths
    for notice in [*inputs.notices, *(reason for _, reason in missing)]:
        print(notice, file=sys.stderr)
    job = replace(_job(args), channels=channels_of(args.images, args.channels))
    events = predict_files(job, paths, workers=args.workers, scheduler=args.scheduler)
    try:
        last = follow(events, make_listener())
    except KeyboardInterrupt:
        events.close()
        print(STOPPED, file=sys.stderr)
        return EXIT_INTERRUPTED
    result = dict(last.result) if isinstance(last, Finished) else {}
    result["failed"] = [*result["failed"], *missing]
    failed = [f"  {reason}" for _, reason in result["failed"]]
    lines = [f"The results are in {args.out}."] if result["done"] or result["skipped"] else []
    partial = [f"  {path}" for path in result["partial"]]
    files = counted(len(paths) + len(missing), "image")
    lines += [f"{len(partial)} of {files} only in part:", *partial] if partial else []
    lines += [f"{len(failed)} of {files} failed:", *failed] if failed else []
    report(args, "\n".join(lines), {"out": args.out, **result})
    return EXIT_UNUSABLE if result["failed"] or result["partial"] else EXIT_DONE


def _job(args: argparse.Namespace) -> FileJob:
    from napari_cupre.io.writers import choose_formats
    from napari_cupre.model.zoo import find_model
    from napari_cupre.prediction.onefile import FileJob
    from napari_cupre.prediction.predict_options import PredictOptions

    entry = find_model(args.model)
    options = PredictOptions(
        diameter=args.diameter,
        score=args.score,
        tile=args.tile,
        augment=args.augment,
        channels=args.channels,
        link_z=args.link_z,
        link_t=args.link_t,
    )
    return FileJob(
        # other processes and machines may have another working directory
        model=entry.name if entry.path is None else str(entry.path.absolute()),
        out=str(args.out.absolute()),
        formats=tuple(each.name for each in choose_formats(args.format)),
        options=options,
        axes=args.axes,
        device=args.device,
        seed=args.seed,
        overwrite=args.overwrite,
    )
