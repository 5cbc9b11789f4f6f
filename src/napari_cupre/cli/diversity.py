"""`napari-cupre diversity`: how varied a set of unlabelled images is, before it is pretrained on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_overwrite,
    add_series,
    check_replaces,
    report,
)

if TYPE_CHECKING:
    from napari_cupre.evaluation.image_features import ImageFeatures
    from napari_cupre.evaluation.looks import Addition, Diversity

GROUPS = 10
"""Groups of near-duplicates to name at most."""

DETAILS = """
Compares all images (subfolders included) by the features of a model's backbone and
lists for each folder: the number of images, the looks (the effective number of
different images), the share of all clusters that the folder covers, and the looks that
no other folder has. Near-duplicates count once.

A file with several images counts as that many; --series selects one. Only the
first plane of a stack is compared.

--new reports what more images would add. --out writes a page with typical images of
each cluster, the near-duplicates, and the new images that are unlike the others.

The exit code is 2 if images could not be read; each is named.
"""


def add_diversity(subparsers: Any) -> None:
    """Add `diversity`."""
    parser = add_command(
        subparsers,
        "diversity",
        _run,
        "measure how varied unlabelled images are: near-duplicates, clusters, coverage",
        DETAILS,
        "napari-cupre diversity plates/ slides/ --new smears/ --out diversity.html",
    )
    parser.add_argument(
        "images", metavar="IMAGES", nargs="+", help="folders (searched with subfolders), globs or files"
    )
    parser.add_argument("--new", metavar="IMAGES", nargs="+", help="report what these images would add")
    parser.add_argument(
        "--model", default="cupre", help="model whose backbone compares the images (default: cupre)"
    )
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="write this page with pictures")
    add_series(parser)
    add_overwrite(parser)


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.evaluation.looks import measure_diversity

    old, new = _list_inputs(args)
    features = _read_features(args, old + new)
    known = set(old)
    old_rows = [row for row, path in enumerate(features.paths) if path in known]
    found = measure_diversity(features.part(old_rows), seed=args.seed)
    added = _measure_new(features, old_rows) if new else None
    figures = found.as_dict() | {"skipped": [str(path) for path, _ in features.skipped]}
    lines = _describe(found)
    if added is not None:
        figures["new"] = _addition_figures(*added)
        lines.append(_describe_addition(*added))
    if args.out is not None:
        from napari_cupre.evaluation.diversity_page import write_diversity_page

        write_diversity_page(found, args.out, *(added or ()))
        lines.append(f"The pictures are in {args.out}.")
    report(args, "\n".join(lines), figures)
    return EXIT_UNUSABLE if features.skipped else EXIT_DONE


def _list_inputs(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """The images, and those of --new that are not among them; refuses an unusable --out."""
    from napari_cupre.io.files import real_file
    from napari_cupre.io.inputs import find_inputs

    listed = [find_inputs(paths, args.series, subfolders=True) for paths in (args.images, args.new) if paths]
    for notice in dict.fromkeys(notice for inputs in listed for notice in inputs.notices):
        print(notice, file=sys.stderr)
    old = listed[0].paths
    candidates = listed[1].paths if args.new else []
    known = set(old)
    new = [path for path in candidates if path not in known]
    if args.out is not None:
        check_replaces(args, [args.out], map(real_file, old + new))
    return old, new


def _read_features(args: argparse.Namespace, paths: list[Path]) -> ImageFeatures:
    """The features of all images, with a progress bar."""
    from napari_cupre.cli.listen import drain, make_listener
    from napari_cupre.evaluation.image_features import extract_features
    from napari_cupre.model.zoo import open_model

    steps = extract_features(paths, open_model(args.model, args.device, args.seed), seed=args.seed)
    with make_listener() as listener:
        features = drain(steps, listener)
        for sentence in (*features.notices, *(f"left out: {reason}" for _, reason in features.skipped)):
            listener.say(sentence)
    return features


def _measure_new(features: ImageFeatures, old_rows: list[int]) -> tuple[ImageFeatures, Addition]:
    """The new images' features, and what these images would add to the old ones."""
    from napari_cupre.evaluation.looks import measure_addition

    new_rows = sorted(set(range(len(features))) - set(old_rows))
    return features.part(new_rows), measure_addition(features.vectors[old_rows], features.vectors[new_rows])


def _addition_figures(new: ImageFeatures, addition: Addition) -> dict[str, Any]:
    """What new images would add, for the JSON line."""
    return {
        "images": len(new),
        "novel": int(addition.novel.sum()),
        "novel_images": [str(new.paths[row]) for row in addition.novel.nonzero()[0]],
        "looks_before": addition.looks_before,
        "looks_after": addition.looks_after,
    }


def _describe(found: Diversity) -> list[str]:
    """The table and the largest groups of near-duplicates by name; the JSON line has all groups."""
    from napari_cupre.io.files import image_name

    groups = found.duplicate_groups()
    lines = [
        found.table(),
        f"{found.duplicate_count} of {len(found.features)} images are near-duplicates of another.",
    ]
    for group in groups[:GROUPS]:
        names = [image_name(found.features.paths[number]) for number in group[:4]]
        lines.append(f"  {len(group)} alike: {', '.join(names)}{', ...' if len(group) > 4 else ''}")
    return lines + ([f"  and {len(groups) - GROUPS} more groups"] if len(groups) > GROUPS else [])


def _describe_addition(new: ImageFeatures, addition: Addition) -> str:
    """One sentence on what new images would add."""
    return (
        f"{addition.novel.sum()} of {len(new)} new images are unlike the others; "
        f"looks {addition.looks_before:.1f} -> {addition.looks_after:.1f}."
    )
