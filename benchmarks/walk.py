"""One round of the loop in the real window, by mouse and menu, in both themes: nothing may be lost.

Opens an ImageJ time series by File > Open, paints cells, trains, finds cells, corrects the result, finds
again and saves beside the image. Checks at each stage that nothing was lost, and takes a picture of it:

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/walk.py

The pictures go to runs/walk, which git ignores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from script import script_parser
from window import drag, settle, wait_for

WINDOW = (1280, 720)
SAMPLE = "nuclei_large"
FRAMES = 5


def main() -> None:
    parser = walk_parser(__doc__, "walk", minutes=0.1)
    parser.add_argument("--themes", nargs="+", default=["dark", "light"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for theme in options.themes:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NAPARI_CUPRE_MODELS"] = str(Path(folder, "models"))
            Walk(theme, Path(folder, "data"), options.out).go(options.minutes)


def walk_parser(text: str | None, name: str, minutes: float) -> argparse.ArgumentParser:
    """A parser of what each walk asks for: a folder for its pictures, and how long it trains."""
    parser = script_parser(text)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "runs" / name)
    parser.add_argument("--minutes", type=float, default=minutes, help="of training")
    return parser


class Walk:
    """A window and what is done in it.

    Parameters
    ----------
    theme : str
        Of napari.
    folder : pathlib.Path
        Where the image lies.
    out : pathlib.Path
        Takes the pictures.
    """

    def __init__(self, theme: str, folder: Path, out: Path) -> None:
        import napari

        from napari_cupre.widgets.docking import docked
        from napari_cupre.widgets.workbench import STEPS

        self.theme, self.folder, self.out, self.number = theme, folder, out, 0
        self.viewer = napari.Viewer()
        self.viewer.theme = theme
        self.viewer.window.resize(*WINDOW)
        _, opened = self.viewer.window.add_plugin_dock_widget("napari-cupre")
        wait_for(lambda: opened.is_settled)
        self.annotate, self.train, self.predict = (docked(opened.session, kind) for kind, _ in STEPS)
        self.session = opened.session

    def go(self, minutes: float) -> None:
        """The whole round."""
        path, truth = make_series(self.folder)
        raw = hashlib.sha256(path.read_bytes()).hexdigest()
        self.open_by_menu(path)
        check(self.annotate.image.axes.text() == "TYX", "an ImageJ TYX file is a time series")
        self.paint(truth)
        self.learn(minutes)
        cells = self.find()
        corrected = self.correct(cells)
        again = self.find()
        check(again is cells, "the image has one layer of cells")
        for number, pixels in corrected.items():
            check(np.array_equal(cells.cells.labels == number, pixels), "the corrections are there")
        self.save(path, raw)
        self.viewer.close()
        settle(0.5)

    def open_by_menu(self, path: Path) -> None:
        """File > Open File(s), with the file chosen in its dialog."""
        with patch("napari._qt.qt_viewer.QFileDialog.getOpenFileNames", return_value=([str(path)], "")):
            press_menu(self.viewer, "Open File")
        wait_for(lambda: len(self.viewer.layers) == 1)
        self.picture("opened")

    def paint(self, truth: np.ndarray) -> None:
        """Cells of the first frame by the mouse, then a region around the plane."""
        raise_dock(self.annotate)
        self.viewer.dims.set_point(0, 0)
        self.annotate.next_cell.click()
        cells = self.session.make_cells(self.session.image).layer
        areas = np.bincount(truth.ravel())[1:]
        largest = np.argsort(areas)[::-1][:6] + 1
        for label in largest:
            self.annotate.next_cell.click()
            cells.brush_size = int(np.sqrt(areas[label - 1] / np.pi) * 1.4)
            rows, columns = np.nonzero(truth == label)
            row, column = rows.mean(), columns.mean()
            drag(self.viewer, self.session.image, [(0, row - 2, column), (0, row + 2, column + 2)])
        wait_for(lambda: f"<b>{len(largest)}</b> cells" in self.annotate.status.text())
        check(len(np.unique(cells.data[0])) - 1 == len(largest), "each stroke is a cell")
        check(not cells.data[1:].any(), "on the frame that was on show")
        self.annotate.all_marked.click()
        wait_for(lambda: "not annotated" in self.annotate.question.text)
        self.picture("asked")
        self.session.make_cells(self.session.image).undo()
        wait_for(lambda: self.annotate.question.text == "")
        self.picture("annotated")

    def learn(self, minutes: float) -> None:
        """A short training."""
        raise_dock(self.train)
        self.train.minutes.setValue(minutes)
        self.train.button.click()
        wait_for(lambda: self.train.job.status.state.is_over)
        check(not self.train.job.status.error, self.train.job.status.error)
        self.picture("trained")

    def find(self) -> Any:
        """Find cells, and the cells of the image."""
        raise_dock(self.predict)
        self.predict.button.click()
        wait_for(lambda: self.predict.job.status.state.is_over)
        check(not self.predict.job.status.error, self.predict.job.status.error)
        self.picture("found")
        return self.session.make_cells(self.session.image)

    def correct(self, cells: Any) -> dict[int, np.ndarray]:
        """Remove a guess with the fill tool, paint a cell, accept a guess; the pixels of what teaches."""
        layer = cells.layer
        self.viewer.layers.selection.active = layer
        plane = layer.data[0]
        label = int(np.argmax(np.bincount(plane.ravel())[1:]) + 1)
        row, column = np.argwhere(plane == label)[len(np.argwhere(plane == label)) // 2]
        layer.mode, layer.selected_label = "fill", 0
        drag(self.viewer, self.session.image, [(0, row, column)])
        check(not (layer.data[0] == label).any(), "a click removes a cell")
        self.annotate.next_cell.click()
        layer.brush_size = 12
        drag(self.viewer, self.session.image, [(0, row, column), (0, row + 3, column + 3)])
        check(layer.data[0, int(row), int(column)] > 0, "a stroke adds one")
        layer.mode = "pan_zoom"
        guess = next(n for n, cell in cells.cells if cell.state == "guess" and cell.box[0][0] == 0)
        (_, (top, bottom), (left, right)) = cells.cells.rows[guess].box
        inside = np.argwhere(layer.data[0, top:bottom, left:right] == guess) + (top, left)
        drag(self.viewer, self.session.image, [(0, *inside[len(inside) // 2])])
        check(cells.cells.rows[guess].state == "checked", "a click accepts a guess")
        self.picture("corrected")
        return {n: cells.cells.labels == n for n, cell in cells.cells if cell.state.teaches}

    def save(self, path: Path, raw: str) -> None:
        """Save beside the image, twice."""
        for _ in range(2):
            self.predict.saver.save(path.parent)
            wait_for(lambda: self.session.saving.status.state.is_over)
            check(not self.session.saving.status.error, self.session.saving.status.error)
        self.picture("saved")
        check(hashlib.sha256(path.read_bytes()).hexdigest() == raw, "the raw image is untouched")
        names = sorted(file.name for file in path.parent.iterdir())
        check({"series_labels.tif", "series_labels-2.tif"} <= set(names), f"both results are there: {names}")

    def picture(self, name: str) -> None:
        """Save what the window shows."""
        settle(0.7)
        self.number += 1
        self.viewer.window.screenshot(
            str(self.out / f"{self.theme}-{self.number}-{name}.png"), canvas_only=False, flash=False
        )
        print(f"{self.theme}: {name}", flush=True)


def make_series(folder: Path) -> tuple[Path, np.ndarray]:
    """A time series as ImageJ writes it, and the cells of its first frame."""
    import tifffile

    from napari_cupre.io.samples import load_sample

    sample = load_sample(SAMPLE)
    pixels, truth = np.asarray(sample.image.data), np.asarray(sample.truth)
    frames = np.stack([np.roll(pixels, 3 * number, axis=1) for number in range(FRAMES)])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "series.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    return path, truth


def press_menu(viewer: Any, text: str) -> None:
    """Trigger an entry of the File menu as a click on it does."""
    actions = viewer.window.file_menu.actions()
    next(action for action in actions if action.text().replace("&", "").startswith(text)).trigger()


def raise_dock(widget: Any) -> None:
    """Bring a dock to the front, as a click on its tab does."""
    parent = widget
    while parent is not None:
        if hasattr(parent, "raise_") and parent.inherits("QDockWidget"):
            parent.raise_()
        parent = parent.parentWidget()
    settle(0.3)


def check(holds: bool, what: str) -> None:
    """Stop the walk where something was lost."""
    if not holds:
        raise AssertionError(what)


if __name__ == "__main__":
    main()
