"""The same cells by brush, by outline, by box and by click, in a real window with real mouse events.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/annotate.py [--cells 30] [--train 25]

Counts what a hand does (presses, px of the way with the button down), how long the window is held, how long a
person waits for an outline, and how near the cells come to the truth. The seconds of a hand are those of the
keystroke-level model: 1.1 s to point, 0.2 s to press, 0.017 s for each px that is steered along; no
measurement. With --train a model is trained on each of the annotations for so many steps, once for each of
--seeds, and judged on the cells of the image that were not annotated: means, and the least and the most. One
line for each kind in --out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from script import script_parser
from window import settle, wait_for

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

POINT_S, PRESS_S, STEER_S = 1.1, 0.2, 0.017
WINDOW = (1280, 720)
KINDS = ("brush", "draw", "box", "click")


def main() -> None:
    """Annotate by each kind of tool."""
    parser = script_parser(__doc__)
    parser.add_argument("--sample", default="nuclei_field")
    parser.add_argument("--cells", type=int, default=30)
    parser.add_argument("--model", default="cupre")
    parser.add_argument("--train", type=int, default=0, help="steps of training on each annotation")
    parser.add_argument("--seeds", type=int, default=2, help="trainings on each annotation")
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "annotate.csv")
    options = parser.parse_args()
    rows = []
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(Walk(options, kind, Path(folder)).go())
        print({key: round(v, 3) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


class Walk:
    """One kind of annotation, from an empty image to the last cell.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command.
    kind : str
        One of `KINDS`.
    folder : Path
        For the projects that the window saves.
    """

    def __init__(self, options: argparse.Namespace, kind: str, folder: Path) -> None:
        import os

        os.environ["NAPARI_CUPRE_PROJECTS"] = str(folder)
        self.options, self.kind = options, kind
        self.held: list[float] = []
        self.waited: list[float] = []
        self.presses = 0
        self.steered = 0.0

    def go(self) -> dict[str, Any]:
        """Annotate; what it took."""
        if self.options.train:
            # its LLVM crashes once that of Mesa's software renderer is loaded
            with contextlib.suppress(ImportError):
                importlib.import_module("triton")
        import napari
        from mouse import Mouse

        from napari_cupre.io.samples import load_sample
        from napari_cupre.widgets.session import Session

        sample = load_sample(self.options.sample)
        truth = np.asarray(sample.truth)
        viewer = napari.Viewer()
        viewer.window.resize(*WINDOW)
        layer = viewer.add_image(np.asarray(sample.image.data), rgb=sample.image.is_rgb, name="field")
        viewer.window.add_plugin_dock_widget("napari-cupre", "Annotate")
        settle(2)
        viewer.reset_view()
        settle(1)
        self.session = Session.of(viewer)
        self.session.image, self.session.model = layer, self.options.model
        self.mouse = Mouse(viewer)
        self.mouse._send = self._timed(self.mouse._send)  # type: ignore[method-assign]
        chosen = cells_of(truth, self.options.cells)
        self._take_tool()
        for number in chosen:
            getattr(self, f"_{self.kind}")(truth == number)
        settle(0.5)
        found = self.session.cells_of(layer).cells.labels.copy()
        row = self._row(found, truth, chosen)
        if self.options.train:
            row |= trained(sample, found, truth, chosen, self.options)
        viewer.close()
        settle(0.5)
        return row

    def _row(self, found: np.ndarray, truth: np.ndarray, chosen: list[int]) -> dict[str, Any]:
        count = len(chosen)
        overlaps = [best_iou(found, truth == number) for number in chosen]
        hand = self.presses * (POINT_S + PRESS_S) + self.steered * STEER_S
        return {
            "kind": self.kind,
            "cells": count,
            "made": int(len(np.unique(found)) - 1),
            "presses": self.presses / count,
            "steered_px": self.steered / count,
            "hand_s": hand / count,
            "wait_ms": 1000 * float(np.median(self.waited)) if self.waited else 0.0,
            "wait_ms_p90": 1000 * float(np.percentile(self.waited, 90)) if self.waited else 0.0,
            "gui_ms": 1000 * sum(self.held) / count,
            "gui_ms_worst": 1000 * max(self.held),
            "iou": float(np.mean(overlaps)),
            "above_half": float(np.mean(np.array(overlaps) > 0.5)),
        }

    def _timed(self, send: Callable[..., None]) -> Callable[..., None]:
        """Each event, with how long the window was busy with it."""

        def timed(*given: Any) -> None:
            began = time.perf_counter()
            send(*given)
            self.held.append(time.perf_counter() - began)

        return timed

    # --- the tools --------------------------------------------------------------------------------

    def _take_tool(self) -> None:
        from napari_cupre.widgets.tools import Tool

        session = self.session
        cells = session.make_cells(session.image)
        session.viewer.layers.selection.active = cells.layer
        if self.kind == "brush":
            session.tools.take(Tool.BOX)  # so that the size of the cells is known, as in a real session
            wait_for(lambda: session.sizes.best(session.image) is not None)
            cells.layer.mode = "paint"
        else:
            session.tools.take(Tool(self.kind))
            if session.tools.tool is not None and session.tools.tool.asks:
                wait_for(lambda: session.tools.prompter.is_ready and not session.tools.prompter.status)
        settle(1)

    def _brush(self, mask: np.ndarray) -> None:
        """Cover the cell with the brush, row by row from the rim inwards, as long as it is not full."""
        from scipy import ndimage

        layer = self.session.cells_of(self.session.image).layer
        layer.selected_label = int(layer.data.max()) + 1
        size = layer.brush_size
        inner = ndimage.binary_erosion(mask, iterations=max(1, round(size / 2)))
        if not inner.any():
            inner = ndimage.distance_transform_edt(mask) == ndimage.distance_transform_edt(mask).max()
        rows = np.flatnonzero(inner.any(1))
        path: list[tuple[float, float]] = []
        for turn, row in enumerate(sorted({*rows[:: max(1, round(size * 0.8))], rows[-1]})):
            columns = np.flatnonzero(inner[row])
            ends = [(float(row), float(columns[0])), (float(row), float(columns[-1]))]
            path += ends if turn % 2 == 0 else ends[::-1]
        self._drag(path if len(path) > 1 else path * 2)

    def _draw(self, mask: np.ndarray) -> None:
        """Go around the cell."""
        from skimage.measure import find_contours

        outline = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
        self._drag([tuple(place) for place in outline[:: max(1, len(outline) // 24)]])

    def _box(self, mask: np.ndarray) -> None:
        rows, columns = np.nonzero(mask)
        corners = (rows.min() - 0.5, columns.min() - 0.5), (rows.max() + 0.5, columns.max() + 0.5)
        self._outlined(lambda: self._drag([corners[0], corners[1]], is_steered=False))

    def _click(self, mask: np.ndarray) -> None:
        from scipy import ndimage

        deep = ndimage.distance_transform_edt(mask)
        place = np.unravel_index(int(deep.argmax()), deep.shape)
        self.mouse.move(place)
        settle(0.4)  # the hand comes to rest

        def click() -> None:
            self.mouse.click(place)
            self.presses += 1

        self._outlined(click)

    def _drag(self, path: list[Any], is_steered: bool = True) -> None:
        self.mouse.drag(*path)
        self.presses += 1
        if is_steered:
            zoom = self.session.viewer.camera.zoom
            self.steered += zoom * float(np.hypot(*np.diff(np.array(path), axis=0).T).sum())
        else:
            self.presses += 1  # the second corner has to be aimed at as well
        settle(0.05)

    def _outlined(self, act: Callable[[], None]) -> None:
        tools = self.session.tools
        act()
        began = time.perf_counter()
        wait_for(lambda: not tools.prompter.is_waiting)
        self.waited.append(time.perf_counter() - began)
        self.held.append(tools.gui_seconds[-1])


def cells_of(truth: np.ndarray, count: int) -> list[int]:
    """Cells that are whole and lie spread over the image."""
    from napari_cupre.project.boxes import measured

    height, width = truth.shape
    margin = 60  # what the window may cut off at its sides
    whole = [
        number
        for number, (((top, bottom), (left, right)), area) in measured(truth.astype(np.int32)).items()
        if top > 0 and bottom < height and left > margin and right < width - margin and area > 100
    ]
    return [whole[int(at)] for at in np.linspace(0, len(whole) - 1, min(count, len(whole)))]


def best_iou(found: np.ndarray, mask: np.ndarray) -> float:
    """IoU of a cell with the found one that covers most of it."""
    under = found[mask]
    if not under.any():
        return 0.0
    number = int(np.bincount(under[under > 0]).argmax())
    mine = found == number
    return float((mine & mask).sum() / (mine | mask).sum())


def trained(
    sample: Any, found: np.ndarray, truth: np.ndarray, chosen: list[int], options: argparse.Namespace
) -> dict[str, float]:
    """AP of models that were trained on the annotation, on the cells that were not annotated."""
    import napari_cupre as cupre

    image = np.asarray(sample.image.data)
    start = cupre.load_model(options.model)

    def judged(model: Any) -> Any:
        labels = cupre.predict(model, image).labels
        rest = np.where(np.isin(truth, chosen), 0, truth)
        ours = np.where(np.isin(labels, np.unique(labels[np.isin(truth, chosen)])), 0, labels)
        return cupre.evaluate([rest], [ours])

    reports = [
        judged(cupre.finetune(start, [image], [found], steps=options.train, seed=seed))
        for seed in range(options.seeds)
    ]
    each = [float(report.ap50) for report in reports]
    return {
        "ap50_start": float(judged(start).ap50),
        "ap50": float(np.mean(each)),
        "ap50_least": min(each),
        "ap50_most": max(each),
        "ap": float(np.mean([report.ap for report in reports])),
    }


if __name__ == "__main__":
    main()
