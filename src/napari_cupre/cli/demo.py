"""`napari-cupre demo`: annotate, train and predict on a sample image that ships with the package."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    add_command,
    add_overwrite,
    check_replaces,
    plain,
    positive_number,
    report,
)

if TYPE_CHECKING:
    import numpy as np

    from napari_cupre.evaluation.report import Report
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.io.samples import SampleImage
    from napari_cupre.model.checkpoint import Model

SAMPLE = "nuclei_clusters"
MINUTES = 0.6
MODEL = "demo.safetensors"
WRITTEN = (MODEL, "before.png", "after.png", "labels.tif", "report.json")
DETAILS = """
Trains the bundled model on the few annotated cells of a sample image, finds every cell,
and compares the result with the outlines that experts drew. Cells that were used for
training are not scored. Opens napari afterwards if there is a display.

Writes before.png, after.png, labels.tif, report.json and the model to --out.
"""


def add_demo(subparsers: Any) -> None:
    """Add `demo`."""
    parser = add_command(
        subparsers,
        "demo",
        _run,
        "annotate, train and predict on a sample image, in about a minute",
        DETAILS,
        "napari-cupre demo --out demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder for the results (default: demo)"
    )
    add_overwrite(parser)
    parser.add_argument("--headless", action="store_true", help="do not open a window")
    parser.add_argument(
        "--minutes",
        type=positive_number,
        default=MINUTES,
        metavar="M",
        help=f"training time (default: {MINUTES})",
    )


@dataclass
class _Judged:
    """What the model finds in the sample image, before or after training."""

    labels: np.ndarray
    report: Report
    seconds: float


def _run(args: argparse.Namespace) -> int:
    from napari_cupre.cli.interrupt import stopping
    from napari_cupre.cli.listen import follow, make_listener
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.io.ownership import note_written
    from napari_cupre.io.samples import load_sample

    check_replaces(args, [args.out / name for name in WRITTEN])
    sample = load_sample(SAMPLE)
    start, words = _starting_model(args)
    print(f"{sample.info.title}: starting from {words}.", file=sys.stderr)
    before = _look(start, sample)
    # Train on every annotated cell: the experts' outlines of the others serve as test data.
    settings = FinetuneSettings(minutes=args.minutes, held_out=0, seed=args.seed, device=args.device)
    run = FinetuneRun(start, [sample.shot()], settings, args.out / MODEL)
    with stopping(run.stop) as interruption:
        follow(run.events(), make_listener())
    if run.result is None:
        raise RuntimeError("the training ended without a result")
    note_written(args.out / MODEL)
    after = _look(run.result, sample)
    figures = _figures(sample, words, run, before, after)
    _write(args.out, sample, before, after, figures)
    report(args, _summary(args.out, before, after), figures)
    if interruption.asked:
        return EXIT_INTERRUPTED
    if not args.headless and _has_window():
        _show(sample, before, after)
    return EXIT_DONE


def _starting_model(args: argparse.Namespace) -> tuple[Model, str]:
    """The bundled model, or random weights if the package was built without it."""
    from napari_cupre.model.zoo import BUNDLED, SCRATCH, bundled_path, open_model

    if bundled_path().is_file():
        return open_model(BUNDLED, args.device, args.seed), "the bundled model"
    return open_model(
        SCRATCH, args.device, args.seed
    ), "random weights, because this package contains no bundled model"


def _look(model: Model, sample: SampleImage) -> _Judged:
    """Predict the sample and score the cells that nobody annotated."""
    import numpy as np

    from napari_cupre.evaluation.report import evaluate
    from napari_cupre.prediction.plane import predict_plane

    began = time.perf_counter()
    found = predict_plane(model, sample.image.normalised()).labels
    seconds = time.perf_counter() - began
    truth, shot = sample.truth, sample.shot()
    if truth is None:
        raise RuntimeError("the demo needs a sample in which every cell is outlined")
    taught = np.unique(truth[sample.annotations > 0])
    unseen = np.where(np.isin(truth, taught), 0, truth)
    judged = evaluate([unseen], [found], known=[~shot.known], names=[sample.info.name])
    return _Judged(found, judged, seconds)


def _figures(
    sample: SampleImage, words: str, run: FinetuneRun, before: _Judged, after: _Judged
) -> dict[str, Any]:
    """The content of report.json."""
    import torch

    names = ("ap50", "ap", "f1")
    return {
        "sample": sample.info.source,
        "start": words,
        "annotated_cells": len(set(sample.annotations.flat) - {0}),
        "judged_on": {
            "cells": after.report.pooled.truth_count,
            "which": "the cells of the image that were not annotated",
        },
        "before": {name: before.report.mean(name) for name in names},
        "after": {name: after.report.mean(name) for name in names},
        "steps": run.step,
        "seconds": {"training": round(run.elapsed, 1), "prediction": round(after.seconds, 2)},
        "machine": {
            "device": str(run.start.device),
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def _write(out: Path, sample: SampleImage, before: _Judged, after: _Judged, figures: dict[str, Any]) -> None:
    import json

    from napari_cupre.io.overlay import draw_cells, write_panels
    from napari_cupre.io.ownership import owned_write
    from napari_cupre.io.writers import write

    image = sample.image.normalised()
    marked = draw_cells(image, sample.annotations, sample.regions)
    write_panels(
        out / "before.png",
        [
            ("The annotation: a few cells", marked),
            (_caption("Before training", before), _drawn(image, before)),
        ],
    )
    write_panels(
        out / "after.png",
        [("The image", draw_cells(image)), (_caption("After training", after), _drawn(image, after))],
    )
    write(after.labels, out / "labels", "tif", image=sample.image)
    with owned_write(out / "report.json") as temporary:
        temporary.write_text(json.dumps(plain(figures), indent=1), encoding="utf-8")


def _drawn(image: np.ndarray, outcome: _Judged) -> np.ndarray:
    from napari_cupre.io.overlay import draw_cells

    return draw_cells(image, outcome.labels)


def _caption(when: str, outcome: _Judged) -> str:
    return f"{when}: {outcome.labels.max()} cells, AP@.5 {outcome.report.ap50:.2f}"


def _summary(out: Path, before: _Judged, after: _Judged) -> str:
    return (
        f"AP@.5 on the cells that were not annotated: {before.report.ap50:.2f} before, "
        f"{after.report.ap50:.2f} after training.\n"
        f"Look at {out / 'before.png'} and {out / 'after.png'}."
    )


def _has_window() -> bool:
    """Whether napari is installed and there is a display to open it on."""
    if find_spec("napari") is None:
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _show(sample: SampleImage, before: _Judged, after: _Judged) -> None:
    import napari

    viewer = napari.Viewer(title="napari-cupre: before and after training on a few cells")
    viewer.add_image(sample.image.data, rgb=sample.image.is_rgb, name=sample.info.title)
    viewer.add_labels(before.labels, name="before training", visible=False)
    viewer.add_labels(after.labels, name="after training")
    viewer.add_labels(sample.annotations, name="annotated cells", visible=False)
    for widget in ("Annotate", "Train", "Predict"):
        viewer.window.add_plugin_dock_widget("napari-cupre", widget, tabify=True)
    napari.run()
