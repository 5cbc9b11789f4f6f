"""`napari-cupre suggest`: which images to annotate next."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_diameter,
    add_series,
    positive_count,
    report,
)

if TYPE_CHECKING:
    from napari_cupre.evaluation.places import Candidate
    from napari_cupre.evaluation.suggestions import Suggestions

DETAILS = """
Runs the model on every image and lists those most worth annotating, best first, each with the
reason: images in which it is uncertain (doubtful cells, or other cells in the mirror image) and
which differ from each other and from the images annotated so far.

IMAGES may name a project: what is annotated in it is left out, and its best round is the model
unless --model names another. --labelled names the folder of the annotated images or of their label
files, or a project: images of IMAGES with the same stem are left out, and what looks like them is
not suggested.

A file with several images counts as that many; --series selects one. Planes of more than 1536 px a
side are rated field by field, 24 fields at most. Only the first plane of a stack is used. The exit
code is 2 if images could not be read; each is named.
"""


def add_suggest(subparsers: Any) -> None:
    """Add `suggest`."""
    parser = add_command(
        subparsers,
        "suggest",
        _run,
        "suggest which images to annotate next",
        DETAILS,
        "napari-cupre suggest work.cupre -k 5",
    )
    parser.add_argument("images", metavar="IMAGES", nargs="+", help="folders, globs or files")
    parser.add_argument(
        "--model",
        help="model that you want to train, by name or path (default: the project's best round, else cupre)",
    )
    parser.add_argument("--labelled", metavar="DIR", help="the annotated images or label files")
    parser.add_argument(
        "-k",
        type=positive_count,
        default=5,
        metavar="N",
        dest="count",
        help="number of suggestions (default: 5)",
    )
    add_diameter(parser, "cell diameter in px (default: the model's, or estimated from each image)")
    add_series(parser)


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.cli.projects import channels_of
    from napari_cupre.project.place import is_project

    projects = [path for path in args.images if is_project(path)]
    files = [path for path in args.images if path not in projects]
    candidates = _of_projects(projects, files, args.model)
    model = args.model or candidates.model
    channels = channels_of([*args.images, *filter(None, [args.labelled])])
    found = _look(args, model, candidates.all + _of_files(files, args.series, args.labelled, channels))
    for sentence in (*found.notices, *(f"left out: {reason}" for _, reason in found.skipped)):
        print(sentence, file=sys.stderr)
    report(args, found.table(), found.as_dict())
    return EXIT_UNUSABLE if found.skipped else EXIT_DONE


@dataclass
class _InProjects:
    """Images of projects, and the model that the projects suggest."""

    all: list[Candidate]
    model: str = "cupre"


def _of_projects(folders: list[str], files: list[str], model: str | None) -> _InProjects:
    """The images of projects; of a single one, without other files, the best round as well."""
    from napari_cupre.cli.projects import project_with_images
    from napari_cupre.evaluation.places import of_project
    from napari_cupre.project.rounds import start_from

    found = _InProjects([])
    for folder in folders:
        project = project_with_images(folder)
        found.all += of_project(project)
        if len(folders) == 1 and not files and model is None:
            found.model = start_from(project)[1]
    return found


def _of_files(
    given: list[str], series: str | None, labelled: str | None, channels: tuple[int, ...] | None
) -> list[Candidate]:
    """Image files as candidates, and those that are annotated already."""
    from napari_cupre.evaluation.places import of_files
    from napari_cupre.io.inputs import find_inputs

    if not given:
        return of_files(*split_labelled([], labelled), channels)
    inputs = find_inputs(given, series)
    for notice in inputs.notices:
        print(notice, file=sys.stderr)
    return of_files(*split_labelled(inputs.paths, labelled), channels)


def split_labelled(images: list[Path], folder: str | None) -> tuple[list[Path], list[Path]]:
    """Split images into those that are not annotated yet and those that are.

    Parameters
    ----------
    folder : str or None
        Annotated images, label files ("a.tif" or "a_mask.tif" for the image "a"), or both; or a project.
    """
    from napari_cupre.cli.projects import annotated_files
    from napari_cupre.io.files import image_stem, list_images
    from napari_cupre.io.importers.folders import label_stem
    from napari_cupre.io.inputs import expand
    from napari_cupre.io.pairing import label_core, without_labels
    from napari_cupre.project.place import is_project

    if folder is None:
        return images, []
    if is_project(folder):
        done = {path.resolve() for path in annotated_files(folder)}
        return (
            [path for path in images if path.resolve() not in done],
            [path for path in images if path.resolve() in done],
        )
    beside, marked = without_labels(list_images(folder))
    if marked:  # a folder of images, some of them with labels
        cores = {label_core(path) for path in marked}
        beside = [path for path in beside if image_stem(path) in cores or label_core(path) is not None]
    files = expand([*beside, *marked]).paths
    stems = {label_core(path) or label_stem(path) for path in files} | {image_stem(path) for path in files}
    labelled = [path for path in images if image_stem(path) in stems]
    shown = {image_stem(path) for path in labelled}
    # Images that are only in the folder; a file named like a label file is not one.
    elsewhere = [path for path in files if label_stem(path) == image_stem(path) not in shown]
    return [path for path in images if image_stem(path) not in stems], labelled + elsewhere


def _look(args: argparse.Namespace, name: str, candidates: list[Candidate]) -> Suggestions:
    """Rate all images with the model, with a progress bar."""
    from napari_cupre.cli.listen import drain, make_listener
    from napari_cupre.evaluation.suggestions import LEAST_SCORE, suggest
    from napari_cupre.model.zoo import open_model
    from napari_cupre.prediction.detector import Detector
    from napari_cupre.prediction.plane import predict_plane

    model = open_model(name, args.device, args.seed)
    detector = Detector(model)
    run = suggest(
        candidates,
        model,
        lambda plane: predict_plane(detector, plane, diameter=args.diameter, score=LEAST_SCORE),
        count=args.count,
        seed=args.seed,
    )
    with make_listener() as listener:
        return drain(run, listener)
