"""Outlines from boxes and clicks on held-out images of five kinds: mean IoU with the truth, ms per prompt.

    python benchmarks/prompts.py --models cupre nuclei --images 4            # minutes
    python benchmarks/prompts.py --models cupre --out benchmarks/results/prompts.csv

For each cell: its exact box; the same with each side off by 10 % of its length, in or out; one click,
anywhere in the cell that is at least half as deep as its deepest place. Clicks are given no diameter. Nuclei
are those of the test parts of `split.py`; of the other sets every second image, which no setting was chosen
on. Rows that `--out` holds already are not run again. The times are processor time, so that what else the
machine does changes nothing; `features` is what the first prompt of an image waits for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measure import machine
from rows import read_rows, write_rows
from scipy.ndimage import distance_transform_edt
from script import script_parser
from split import bbbc038_split, data_folder

KINDS = {
    "fluorescence": ("bbbc038",),
    "histology": ("bbbc038",),
    "phase contrast": ("phase_contrast_t98g",),
    "EM": ("em_neurites", "sem_powder", "tem_nanoparticles"),
    "photographs": ("ore_and_pellets", "mushrooms"),
}
FIELDS = [
    "model",
    "kind",
    "cells",
    "exact",
    "loose",
    "click",
    "click_half",
    "box_ms",
    "click_ms",
    "features_ms",
]
OFF = 0.1


def main() -> None:
    options = parse()
    import torch

    from napari_cupre.model.zoo import open_model

    torch.set_num_threads(1)
    print(machine())
    rows = [] if options.out is None else read_rows(options.out)
    for name in options.models:
        model = None
        for kind in options.kinds:
            case = {"model": Path(name).stem, "kind": kind}
            if any(all(row[key] == value for key, value in case.items()) for row in rows):
                continue
            model = model or open_model(name, "cpu")
            row = case | measured(model, list(held_out(kind, options.images)), options.cells)
            rows.append({key: str(value) for key, value in row.items()})
            print(rows[-1], flush=True)
            if options.out is not None:
                write_rows(options.out, rows, FIELDS)
    print(table(rows))


def parse() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["cupre"], help="names or files")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--images", type=int, default=10, help="of each kind")
    parser.add_argument("--cells", type=int, default=20, help="at most, of each image")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def held_out(kind: str, count: int) -> Iterator[tuple[Path, Path]]:
    """Images and their labels; of a kind of several sets alike many of each."""
    root = data_folder()
    if KINDS[kind] == ("bbbc038",):
        chosen = np.random.default_rng(0).permutation(bbbc038_split()[f"test_{kind}"])[:count]
        for name in chosen:
            yield root / "bbbc038" / "images" / f"{name}.png", root / "bbbc038" / "labels" / f"{name}.png"
        return
    for name in KINDS[kind]:
        folder = root / "labelled" / name
        for path in sorted((folder / "images").iterdir())[1::2][: -(-count // len(KINDS[kind]))]:
            yield path, folder / "labels" / f"{path.stem}.png"


def measured(model, files: list[tuple[Path, Path]], most: int) -> dict[str, object]:
    """Mean IoU and times over the cells of some images."""
    from napari_cupre.api import _reader
    from napari_cupre.io.images import read_image, read_labels
    from napari_cupre.prediction.detector import Detector
    from napari_cupre.prediction.outliner import Outliner

    detector, rng = Detector(model), np.random.default_rng(0)
    found: dict[str, list[float]] = {"exact": [], "loose": [], "click": []}
    spent = {"box": 0.0, "click": 0.0, "features": 0.0}
    for path, label_path in files:
        labels = np.asarray(read_labels(label_path))
        boxes, points, numbers = prompts(labels, rng, most)
        if not len(numbers):
            continue
        image = read_image(path)
        outliner = Outliner(detector, _reader(image.plane(next(image.plane_indices())), model))
        _, seconds = timed(lambda outliner=outliner, first=points[:1]: outliner.points(first))
        spent["features"] += seconds
        asked: list[tuple[str, Callable, np.ndarray]] = [
            ("exact", outliner.boxes, boxes),
            ("loose", outliner.boxes, drawn(boxes, labels.shape, rng)),
            ("click", outliner.points, points),
        ]
        for what, ask, given in asked:
            ask(given)  # features once
            outlines, seconds = timed(lambda ask=ask, given=given: ask(given))
            spent["click" if what == "click" else "box"] += seconds
            found[what] += [overlap(each, labels, n) for each, n in zip(outlines, numbers)]
    cells = len(found["exact"])
    return {
        "cells": cells,
        **{what: f"{np.mean(values):.3f}" for what, values in found.items()},
        "click_half": f"{np.mean(np.array(found['click']) > 0.5):.2f}",
        "box_ms": f"{500 * spent['box'] / cells:.1f}",
        "click_ms": f"{1000 * spent['click'] / cells:.1f}",
        "features_ms": f"{1000 * spent['features'] / len(files):.0f}",
    }


def timed(work: Callable) -> tuple[list, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def prompts(
    labels: np.ndarray, rng: np.random.Generator, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact boxes, clicks and numbers of up to `most` cells of at least 4 px a side."""
    from napari_cupre.model.targets import label_boxes

    numbers, boxes = label_boxes(labels)
    large = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) >= 4).all(axis=1))
    chosen = rng.permutation(large)[:most]
    clicks = []
    for number, (x0, y0, x1, y1) in zip(numbers[chosen], boxes[chosen]):
        depth = distance_transform_edt(np.pad(labels[y0:y1, x0:x1] == number, 1))
        rows, columns = np.nonzero(depth >= 0.5 * depth.max())
        place = rng.integers(len(rows))
        clicks.append((rows[place] + y0 - 0.5, columns[place] + x0 - 0.5))
    return boxes[chosen].astype(float), np.array(clicks).reshape(-1, 2), numbers[chosen]


def drawn(boxes: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Boxes each side of which is off by `OFF` of its length, and cut to the image."""
    lengths = np.tile(boxes[:, 2:] - boxes[:, :2], (1, 2))
    return np.clip(boxes + rng.choice([-OFF, OFF], boxes.shape) * lengths, 0, [shape[1], shape[0]] * 2)


def overlap(outline, labels: np.ndarray, number: int) -> float:
    """IoU of an outline with a cell."""
    x0, y0, x1, y1 = outline.box
    shared = int((outline.mask & (labels[y0:y1, x0:x1] == number)).sum())
    return shared / (int((labels == number).sum()) + outline.area - shared)


def table(rows: list[dict[str, str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(FIELDS) + " |", "|" + "---|" * len(FIELDS)]
    return "\n".join(lines + ["| " + " | ".join(row[key] for key in FIELDS) + " |" for row in rows])


if __name__ == "__main__":
    main()
