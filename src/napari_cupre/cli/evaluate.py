"""`napari-cupre evaluate`: score predicted label images, and compare two sets of them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_overwrite,
    add_reading_options,
    check_replaces,
    report,
)
from napari_cupre.errors import InputError
from napari_cupre.words import counted

if TYPE_CHECKING:
    import numpy as np

    from napari_cupre.evaluation.report import Report

DETAILS = """
LABELS and PREDICTIONS are folders, globs or files of label images, paired by the stems
of their names. LABELS may be a project (NAME.cupre); its unknown pixels do not count.
AP is TP / (TP + FP + FN), averaged over the IoU thresholds .5:.05:.95 and over the
images; F1 is at IoU .5.

--coco computes COCO's average precision instead, of scored and overlapping masks:
PREDICTIONS is then the predictions.json that 'predict --format coco' writes (or its
folder), and LABELS may be a COCO JSON.

The exit code is 2 if an image has no prediction or a file cannot be read; each is named.
"""


REPORTS = ("report.json", "report.csv", "report.html")


def add_evaluate(subparsers: Any) -> None:
    """Add `evaluate`."""
    parser = add_command(
        subparsers,
        "evaluate",
        _run,
        "score predictions against the truth: AP, F1, panoptic quality, COCO AP",
        DETAILS,
        "napari-cupre evaluate labels/ results/ --against other_results/",
    )
    parser.add_argument("labels", metavar="LABELS", help="the true label images")
    parser.add_argument("predictions", metavar="PREDICTIONS", help="the label images to score")
    parser.add_argument(
        "--against", metavar="PREDICTIONS_B", help="a second set; reports which of the two is better"
    )
    parser.add_argument("--coco", action="store_true", help="COCO AP of scored, overlapping masks")
    parser.add_argument(
        "--livecell",
        action="store_true",
        help="COCO AP with LIVECell's settings: up to 2000 cells, size limits 18² and 31² px, one class",
    )
    parser.add_argument("--images", help="the images, to show the worst cells in the report of --out")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for report.json, report.csv and, with --images, report.html",
    )
    add_overwrite(parser)
    add_reading_options(parser)


def _run(args: argparse.Namespace) -> int:
    if args.coco or args.livecell:
        return _coco(args)
    from napari_cupre.evaluation.report import evaluate

    if args.out is not None:
        check_replaces(args, [args.out / name for name in REPORTS])
    pairs = _Pairs(args.labels, args.predictions, args)
    scored = evaluate(pairs.truth, pairs.predicted, known=pairs.known, names=pairs.names)
    text, figures = scored.table(), scored.as_dict()
    left_out = pairs.left_out
    if args.against is not None:
        from napari_cupre.evaluation.comparison import compare

        other = _Pairs(args.labels, args.against, args)
        rival = evaluate(other.truth, other.predicted, known=other.known, names=other.names)
        names = distinct_names(args.predictions, args.against)
        comparisons = [compare(scored, rival, figure=f, names=names, seed=args.seed) for f in ("ap", "ap50")]
        text = "\n\n".join(
            [f"{names[0]}\n{text}", f"{names[1]}\n{rival.table()}", *(c.verdict for c in comparisons)]
        )
        figures |= {"against": rival.as_dict(), "comparison": [c.as_dict() for c in comparisons]}
        left_out = left_out + other.left_out
    if args.out is not None:
        _write(args, scored, pairs)
    report(args, text, {**figures, "left_out": left_out})
    return EXIT_UNUSABLE if left_out else EXIT_DONE


def distinct_names(first: str, second: str) -> tuple[str, str]:
    """Name two sets in a table by the shortest ends of their paths that differ."""
    parts = [Path(os.path.abspath(path)).parts for path in (first, second)]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]).lstrip("/") for each in parts]
        if names[0] != names[1]:
            return names[0], names[1]
    return f"{names[0]} (1)", f"{names[1]} (2)"


class _Pairs:
    """Label images and their predictions, and what had to be left out."""

    def __init__(self, labels: str, predictions: str, args: argparse.Namespace) -> None:
        from napari_cupre.io.annotated import label_scenes, warn_of_scattered
        from napari_cupre.io.images import image_stem, list_images, read_labels
        from napari_cupre.io.importers.suspects import check_label_image
        from napari_cupre.io.pairing import pair_notice
        from napari_cupre.project.place import is_project

        self.names: list[str] = []
        self.truth: list[np.ndarray] = []
        self.predicted: list[np.ndarray] = []
        self.left_out: list[str] = []
        self.known: list[np.ndarray | None] = []
        if is_project(labels):
            self._take_project(labels, predictions)
            return
        files = label_scenes(list_images(labels), args.series)
        predicted = label_scenes(list_images(predictions), args.series)
        pairs = _pair(files, predicted, predictions)
        scored = {path for pair in pairs for path in pair} | set(files)
        if alone := [path.name for path in predicted if path not in scored]:
            count = counted(len(alone), "prediction belongs", "predictions belong")
            print(
                f"{count} to none of the labels and will not be scored, such as {alone[0]}.", file=sys.stderr
            )
        if notice := pair_notice(pairs):
            print(notice, file=sys.stderr)
        paired = {label for label, _ in pairs}
        for path in files:
            if path not in paired:
                self._leave_out(path, f'"{path}" has no prediction in {predictions}.')
        for label, prediction in pairs:
            try:
                truth, found = read_labels(label, args.axes), read_labels(prediction)
                for path, values in ((label, truth), (prediction, found)):
                    check_label_image(values, path.name)
                    warn_of_scattered(path, values)
            except InputError as error:
                self._leave_out(label, str(error))
                continue
            self.names.append(image_stem(label))
            self.truth.append(truth)
            self.predicted.append(found)
            self.known.append(None)

    def _take_project(self, project: str, predictions: str) -> None:
        """The annotated images of a project; unknown pixels do not count."""
        from napari_cupre.cli.projects import truth_of_project
        from napari_cupre.io.images import image_stem, list_images, read_labels

        found = {image_stem(path): path for path in list_images(predictions)}
        for stem, (truth, known) in truth_of_project(project).items():
            if stem not in found:
                self._leave_out(Path(stem), f'"{stem}" of the project has no prediction in {predictions}.')
                continue
            self.names.append(stem)
            self.truth.append(truth)
            self.predicted.append(read_labels(found[stem]))
            self.known.append(known)

    def _leave_out(self, path: Path, reason: str) -> None:
        print(f"left out: {reason}", file=sys.stderr)
        self.left_out.append(str(path))


def _pair(files: list[Path], predicted: list[Path], called: str) -> list[tuple[Path, Path]]:
    from napari_cupre.io.images import pair_by_stem

    try:
        return pair_by_stem(files, predicted)
    except InputError:
        if set(predicted) <= set(files):
            raise InputError(
                f'"{called}" is both the truth and the prediction: give what a model predicted.'
            ) from None
        raise


def _write(args: argparse.Namespace, scored: Report, pairs: _Pairs) -> None:
    from napari_cupre.evaluation.report_files import write_report_csv, write_report_json

    write_report_json(scored, args.out / "report.json")
    write_report_csv(scored, args.out / "report.csv")
    if args.images is None:
        return
    from napari_cupre.evaluation.page import write_page
    from napari_cupre.io.images import image_stem, read_image
    from napari_cupre.io.inputs import find_inputs

    found = {image_stem(path): path for path in find_inputs(args.images, args.series).paths}
    missing = [name for name in pairs.names if name not in found]
    if missing:
        raise InputError(
            f"{args.images} has no image of {missing[0]!r}; --images needs one for each label file."
        )
    planes = [read_image(found[name]).plane() for name in pairs.names]
    page = args.out / "report.html"
    write_page(scored, planes, pairs.truth, pairs.predicted, page, known=pairs.known)


def _coco(args: argparse.Namespace) -> int:
    from napari_cupre.evaluation.coco_ap import LIVECELL, CocoSettings, coco_evaluate
    from napari_cupre.evaluation.coco_documents import unmatched_images

    if args.against is not None or args.out is not None:
        raise InputError(
            "--against and --out cannot be combined with --coco or --livecell; leave out one or the other."
        )
    settings = LIVECELL if args.livecell else CocoSettings()
    truth, predictions = _coco_inputs(args)
    unlisted, left_out = unmatched_images(truth, predictions)
    masks = coco_evaluate(truth, predictions, kind="segm", settings=settings)
    boxes = coco_evaluate(truth, predictions, kind="bbox", settings=settings)
    for names, what in (
        (unlisted, f"of the predicted images are not in {args.labels} and are ignored"),
        (left_out, f"of the images in {args.labels} have no prediction; their cells count as missed"),
    ):
        if names:
            print(f"{len(names)} {what}, such as {names[0]!r}.", file=sys.stderr)
    text = f"masks\n{masks.table()}\n\nboxes\n{boxes.table()}"
    figures = {"masks": masks.as_dict(), "boxes": boxes.as_dict(), "left_out": left_out}
    report(args, text, figures)
    return EXIT_UNUSABLE if left_out else EXIT_DONE


def _coco_inputs(args: argparse.Namespace) -> tuple[Any, Any]:
    """Truth and predictions in a form that `coco_evaluate` accepts; each JSON is read once."""
    from napari_cupre.evaluation.coco_documents import read_coco_json, truth_document

    path = _predictions_json(args.predictions)
    is_document = Path(args.labels).suffix.lower() == ".json"
    if path is None and is_document:
        raise InputError(
            f"{args.predictions} contains no predictions.json; 'predict --format coco' writes it."
        )
    if path is None:
        pairs = _Pairs(args.labels, args.predictions, args)
        return pairs.truth, pairs.predicted
    if is_document:
        return truth_document(args.labels), read_coco_json(path)
    from napari_cupre.io.images import list_images, read_labels

    files = list_images(args.labels)
    document = truth_document([read_labels(path) for path in files])
    for image, file in zip(document["images"], files):
        image["file_name"] = file.name  # predictions find their image by its stem
    return document, read_coco_json(path)


def _predictions_json(given: str) -> Path | None:
    """The COCO JSON that PREDICTIONS names, as a file or as the folder it was written to."""
    path = Path(given)
    inside = path / "predictions.json"
    if path.is_dir():
        return inside if inside.is_file() else None
    return path if path.suffix.lower() == ".json" else None
