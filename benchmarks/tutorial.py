"""The tutorial as a recorded walk: twelve images, from an empty napari to a finished table.

Everything is pressed where a person presses it: menus, buttons, keys and the mouse on the canvas. The images
are parts of the package's own samples, so that the pictures may go into the docs. Writes a picture of each
step and `times.csv` with what each took:

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/tutorial.py --out docs/images/tutorial

On a machine that does other things as well, `--urgent` lets the engine not stand back behind them.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from walk import check, raise_dock, walk_parser
from window import drag, on_canvas, settle, wait_for

WINDOW = (1280, 720)
COLOURS = 200
PARTS = (("nuclei_field", 2, 3), ("nuclei_large", 2, 2), ("nuclei_clusters", 1, 2))
"""Samples, and into how many rows and columns each is cut: twelve images."""

ANNOTATED = 2
"""So many images are checked by the person."""

RIGHT = 0.6
"""Least IoU with a true cell; two cells found as one have about half with the larger."""


def main() -> None:
    parser = walk_parser(__doc__, "tutorial", minutes=2.0)
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    parser.add_argument("--urgent", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CUPRE_MODELS"] = f"{folder}/models"
        os.environ["NAPARI_CUPRE_PROJECTS"] = f"{folder}/projects"
        Tutorial(options, Path(folder)).go()


class Tutorial:
    """A window and what is done in it.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command.
    folder : pathlib.Path
        Takes the images, the project and the table.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.truth = make_images(folder / "plate")
        self.times: list[tuple[str, float]] = []
        self.number = 0

    def go(self) -> None:
        """The whole walk."""
        self.step("open napari and the workbench", self.open_workbench, "start")
        self.step("add a folder of twelve images", self.add_folder, "folder")
        for number in range(1, ANNOTATED + 1):
            self.step(f"find cells in image {number}", self.find_here, "guesses" if number == 1 else "")
            self.step(f"check them in image {number}", self.check_cells, "checked" if number == 1 else "")
            self.step("go to the next image", self.next_image)
        self.step(f"train for {self.options.minutes:g} min", self.learn, "trained")
        self.step("find the cells of all images", self.find_everywhere, "found")
        self.step("measure all images and save the tables", self.measure, "results")
        self.step("compare the round with its start", self.compare, "compared")
        self.write_times()
        self.viewer.close()
        settle(0.5)

    # --- the steps ------------------------------------------------------------------------------------

    def open_workbench(self) -> None:
        """Plugins > Workbench in an empty napari."""
        import napari

        from napari_cupre.service.client import EngineProcess
        from napari_cupre.widgets.docking import docked
        from napari_cupre.widgets.session import Session
        from napari_cupre.widgets.workbench import STEPS, WorkbenchWidget

        self.viewer = napari.Viewer()
        self.viewer.theme = self.options.theme
        self.viewer.window.resize(*WINDOW)
        self.session = Session.of(self.viewer, EngineProcess(is_urgent=self.options.urgent))
        menu = self.viewer.window.plugins_menu
        (action,) = (each for each in actions_of(menu) if each.text().startswith("Workbench ("))
        action.trigger()
        wait_for(lambda: (strip := docked(self.session, WorkbenchWidget)) is not None and strip.is_settled)
        self.strip = docked(self.session, WorkbenchWidget)
        found: list[Any] = [docked(self.session, kind) for kind, _ in STEPS]
        self.annotate, self.train, self.predict = found

    def add_folder(self) -> None:
        """`+` > Folder of images, with the folder chosen in its dialog."""
        row = self.annotate.queue_row
        with patch(
            "napari_cupre.widgets.queue_row.QFileDialog.getExistingDirectory",
            return_value=str(self.folder / "plate"),
        ):
            pick(row.more.menu(), "Folder of images")
        wait_for(lambda: len(self.session.queue.items()) == 12 and self.is_shown())

    def find_here(self) -> None:
        """Find cells in Annotate."""
        raise_dock(self.annotate)
        self.annotate.find_row.button.click()
        self.finish(self.session.prediction)

    def check_cells(self) -> None:
        """Shift-A accepts all, Ctrl-click removes what is wrong, Draw adds what is missing."""
        from qtpy.QtCore import Qt

        cells = self.session.cells_of(self.session.image)
        self.viewer.layers.selection.active = cells.layer
        self.press(Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
        wait_for(lambda: cells.cells.count("guess") == len(self.hidden(cells)))
        truth = self.truth[self.session.image.name]
        for number in wrong_in(cells.labels_on_show(), truth):
            place = inside(cells.cells, number)
            self.click(place, Qt.KeyboardModifier.ControlModifier)
        check(not wrong_in(cells.labels_on_show(), truth), "what was wrong is gone")
        self.draw_missing(cells, truth)
        self.annotate.all_marked.click()
        settle(1.5)

    def draw_missing(self, cells: Any, truth: np.ndarray) -> None:
        """With the Draw tool around each cell that is not there yet."""
        from qtpy.QtCore import Qt

        missing = wrong_in(truth, cells.labels_on_show())
        before = len(cells.cells)
        if missing:
            self.press(Qt.Key.Key_D)
        for number in missing:
            drag(self.viewer, self.session.image, outline_of(truth, number), pause=0.02)
        if missing:
            self.press(Qt.Key.Key_D)
        drawn = len(cells.cells) - before
        print(f"           {drawn} of {len(missing)} missing cells drawn", flush=True)

    def next_image(self) -> None:
        """The key for the next image."""
        from qtpy.QtCore import Qt

        before = self.session.image
        self.press(Qt.Key.Key_Period)
        wait_for(lambda: self.session.image is not before and self.is_shown())

    def learn(self) -> None:
        """Train."""
        self.strip.show_dock(type(self.train))
        self.train.minutes.setValue(self.options.minutes)
        self.train.button.click()
        self.finish(self.session.training)

    def find_everywhere(self) -> None:
        """Predict, all 12 images."""
        self.strip.show_dock(type(self.predict))
        self.predict.all_images.click()
        self.predict.button.click()
        self.finish(self.session.prediction)
        wait_for(lambda: not self.predict._errands.is_busy and not self.session.keeper.is_dirty)

    def measure(self) -> None:
        """More > Results: measure, look at an image, save."""
        from napari_cupre.widgets.results_widget import ResultsWidget

        results = self.open_deeper(ResultsWidget)
        results.button.click()
        self.finish(self.session.measuring)
        check(results.table.rowCount() == 13, "twelve images and all together")
        results.table.selectRow(1)  # below all images together
        wait_for(self.is_shown)
        table = self.folder / "results.csv"
        with patch(
            "napari_cupre.widgets.results_widget.QFileDialog.getSaveFileName", return_value=(str(table), "")
        ):
            results.save_button.click()
        wait_for(lambda: "Saved" in results.notice.text)
        check(table.is_file(), "the table is written")

    def compare(self) -> None:
        """More > Compare: the round with the model it started from, on the checked images."""
        from napari_cupre.widgets.compare_widget import CompareWidget

        compare = self.open_deeper(CompareWidget)
        compare.first.choose("cupre")
        compare.second.choose(self.session.model)
        compare.button.click()
        self.finish(self.session.comparison)
        compare.table.selectRow(1)
        wait_for(lambda: not compare._errands.is_busy and self.is_shown())
        print(compare.verdict.text, compare.basis.text, flush=True)

    # --- the hand -------------------------------------------------------------------------------------

    def open_deeper(self, kind: Any) -> Any:
        """An entry of More in the strip."""
        from napari_cupre.widgets.docking import docked

        pick(self.strip.more.menu(), kind.title)
        wait_for(lambda: docked(self.session, kind) is not None)
        settle(0.5)
        return docked(self.session, kind)

    def press(self, key: Any, modifier: Any = None) -> None:
        """A key on the canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        native = self.viewer.window._qt_viewer.canvas.native
        native.setFocus()
        QTest.keyClick(native, key, modifier or Qt.KeyboardModifier.NoModifier)
        settle(0.2)

    def click(self, place: tuple[float, float], modifier: Any) -> None:
        """A click on the canvas at a pixel of the image."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        native, at = (
            self.viewer.window._qt_viewer.canvas.native,
            on_canvas(self.viewer, self.session.image, place),
        )
        QTest.mouseMove(native, at)
        settle(0.1)
        QTest.mouseClick(native, Qt.MouseButton.LeftButton, modifier, at)
        settle(0.2)

    def is_shown(self) -> bool:
        """Whether the image on show is complete."""
        return self.session.image is not None and not self.session.queue.is_busy

    @staticmethod
    def hidden(cells: Any) -> list[int]:
        """Guesses that the slider hides."""
        from napari_cupre.project.gestures import hidden

        return hidden(cells.cells, cells.certainty)

    @staticmethod
    def finish(job: Any) -> None:
        """Wait until a job has begun and ended well."""
        wait_for(lambda: job.status.is_active)
        wait_for(lambda: job.status.state.is_over)
        check(not job.status.error, job.status.error)

    # --- what is kept ---------------------------------------------------------------------------------

    def step(self, name: str, action: Callable[[], None], picture: str = "") -> None:
        """Do a step, take its time, then a picture if it has a name."""
        began = time.monotonic()
        action()
        self.times.append((name, time.monotonic() - began))
        print(f"{self.times[-1][1]:7.1f} s  {name}", flush=True)
        if picture:
            self.picture(picture)

    def picture(self, name: str) -> None:
        """What the window shows, in few colours."""
        from PIL import Image

        settle(2.5)
        self.number += 1
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        path = self.options.out / f"{self.number}-{name}.png"
        Image.fromarray(pixels[..., :3]).quantize(COLOURS).save(path, optimize=True)

    def write_times(self) -> None:
        """The seconds of each step as CSV, and all together."""
        total = sum(seconds for _, seconds in self.times)
        with (self.options.out / "times.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["step", "seconds"])
            writer.writerows((name, f"{seconds:.1f}") for name, seconds in self.times)
        print(f"{total:7.1f} s  in all", flush=True)


def make_images(folder: Path) -> dict[str, np.ndarray]:
    """Twelve image files from the samples; the true cells of each by its stem."""
    import tifffile

    from napari_cupre.io.samples import load_sample

    folder.mkdir(parents=True)
    truth: dict[str, np.ndarray] = {}
    for name, rows, columns in PARTS:
        sample = load_sample(name)
        pixels, labels = np.asarray(sample.image.data), np.asarray(sample.truth)
        height, width = labels.shape[0] // rows, labels.shape[1] // columns
        for place in range(rows * columns):
            top, left = place // columns * height, place % columns * width
            part = slice(top, top + height), slice(left, left + width)
            stem = f"well_{len(truth) + 1:02d}"
            tifffile.imwrite(folder / f"{stem}.tif", pixels[part])
            truth[stem] = labels[part]
    return truth


def wrong_in(labels: np.ndarray, truth: np.ndarray) -> list[int]:
    """Cells that a person would remove: they overlap no true cell well enough."""
    from napari_cupre.evaluation.matching import match_instances

    match = match_instances(truth, labels)
    return [int(number) for number in match.predicted_ids[match.predicted_iou < RIGHT]]


def outline_of(labels: np.ndarray, number: int) -> list[tuple[float, float]]:
    """Points around a cell, as a hand draws them."""
    from skimage.measure import find_contours

    mask = np.pad(labels == number, 1)
    longest = max(find_contours(mask.astype(float), 0.5), key=len) - 1
    inner = np.clip(longest, 0, np.array(labels.shape) - 1)
    chosen = np.linspace(0, len(inner) - 1, min(40, len(inner))).round().astype(int)
    return [(float(row), float(column)) for row, column in inner[chosen]]


def inside(cells: Any, number: int) -> tuple[float, float]:
    """A pixel in the middle of a cell."""
    (top, _), (left, _) = cells.row(number).box
    _, mask = cells.pixels(number)
    pixels = np.argwhere(mask)
    row, column = pixels[len(pixels) // 2]
    return float(top + row), float(left + column)


def actions_of(menu: Any) -> list[Any]:
    """The actions of a menu and of the menus in it."""
    menu.aboutToShow.emit()
    found: list[Any] = []
    for action in menu.actions():
        found += actions_of(action.menu()) if action.menu() is not None else [action]
    return found


def pick(menu: Any, text: str) -> None:
    """Trigger an entry of a menu as a click on it does."""
    next(action for action in menu.actions() if action.text().startswith(text)).trigger()


if __name__ == "__main__":
    main()
