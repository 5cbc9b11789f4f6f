"""`napari-cupre diversity`: how varied a set of unlabelled images is, before it is pretrained on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_UNUSABLE,
    add_command,
    add_overwrite,
    check_replaces,
    report,
)

if TYPE_CHECKING:
    from napari_cupre.evaluation.features import Features
    from napari_cupre.evaluation.looks import Addition, Diversity

GROUPS = 10
"""Of near-duplicates so many groups are named."""

DETAILS = """
Looks at every image (also in subfolders) with the backbone of a model and says, per folder: images, looks
(the effective number of different images), the share of all clusters that the folder
covers, and how many looks only it brings. Near-duplicates count once.

--new says what further images would add. --out writes a page with typical images of each
cluster, the near-duplicates, and the new images that are unlike the others.

Exit code 2 also if images could not be read; they are named.
"""


def add_commands(subparsers: Any) -> None:
    """Add `diversity`."""
    parser = add_command(
        subparsers,
        "diversity",
        _run,
        "how varied unlabelled images are: near-duplicates, clusters, coverage",
        DETAILS,
        "napari-cupre diversity plates/ slides/ --new smears/ --out diversity.html",
    )
    parser.add_argument(
        "images", metavar="IMAGES", nargs="+", help="folders with their subfolders, globs or files"
    )
    parser.add_argument("--new", metavar="IMAGES", nargs="+", help="say what these would add")
    parser.add_argument("--model", default="cupre", help="the model that looks (default: cupre)")
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="page to write")
    add_overwrite(parser)


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.evaluation.looks import measure_addition, measure_diversity
    from napari_cupre.io.files import list_images

    old = list_images(args.images, subfolders=True)
    candidates = list_images(args.new, subfolders=True) if args.new else []
    known = set(old)
    new = [path for path in candidates if path not in known]
    if args.out is not None:
        check_replaces(args, [args.out], old + new)
    features = _look(args, old + new)
    is_old = [number for number, path in enumerate(features.paths) if path in known]
    found = measure_diversity(features.part(is_old) if new else features, seed=args.seed)
    lines = [
        found.table(),
        f"{found.duplicate_count} of {len(is_old)} images are near-duplicates of another.",
        *_duplicates_in_words(found),
    ]
    news: tuple[Features, Addition] | tuple[()] = ()
    figures = found.as_dict()
    if new:
        is_new = sorted(set(range(len(features))) - set(is_old))
        addition = measure_addition(features.vectors[is_old], features.vectors[is_new])
        news = features.part(is_new), addition
        lines.append(
            f"{int(addition.novel.sum())} of {len(is_new)} new images are unlike the others; "
            f"looks {addition.looks_before:.1f} -> {addition.looks_after:.1f}."
        )
        figures["new"] = {
            "images": len(is_new),
            "novel": int(addition.novel.sum()),
            "novel_images": [str(news[0].paths[n]) for n in addition.novel.nonzero()[0]],
            "looks_before": addition.looks_before,
            "looks_after": addition.looks_after,
        }
    if args.out is not None:
        from napari_cupre.evaluation.diversity_page import write_diversity_page

        write_diversity_page(found, args.out, *news)
        lines.append(f"The pictures are in {args.out}.")
    figures["skipped"] = [str(path) for path, _ in features.skipped]
    report(args, "\n".join(lines), figures)
    return EXIT_UNUSABLE if features.skipped else EXIT_DONE


def _duplicates_in_words(found: Diversity) -> list[str]:
    """The largest groups of near-duplicates by name; the JSON line has all."""
    groups = found.duplicate_groups()
    lines = []
    for group in groups[:GROUPS]:
        names = [found.features.paths[number].name for number in group[:4]]
        lines.append(f"  {len(group)} alike: {', '.join(names)}{', ...' if len(group) > 4 else ''}")
    return lines + ([f"  and {len(groups) - GROUPS} groups more"] if len(groups) > GROUPS else [])


def _look(args: argparse.Namespace, paths: list[Path]) -> Features:
    """The features of all images, with a progress bar."""
    from napari_cupre.cli.listen import make_listener
    from napari_cupre.evaluation.features import read_features
    from napari_cupre.model.zoo import open_model

    steps = read_features(paths, open_model(args.model, args.device, args.seed), seed=args.seed)
    with make_listener() as listener:
        while True:
            try:
                listener(next(steps))
            except StopIteration as end:
                features: Features = end.value
                break
        for _, reason in features.skipped:
            listener.say(f"left out: {reason}")
    return features
