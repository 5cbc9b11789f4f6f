"""How long gestures hold the window: strokes, keys, the slider, found cells, the next image of a project.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/stroke.py [--side 2048 4096] [--profile FOLDER]

Each gesture is followed until the window has drawn it and is quiet again. Printed are, in ms of processor
time of the window's thread, so that a busy machine counts less: all of it (median), and the longest time in
which the window heard nothing (median, worst). Without a graphics card this thread draws the image as well.
"""

from __future__ import annotations

import cProfile
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from script import script_parser
from window import settle, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

SCALE, TURNS, IMAGES = 64, 8, 8
"""A cell in a square of so many px; so many turns of each gesture; images of the project."""

NEW = 2
"""The first images get layers of their own, beside those of the one that is opened with the project."""

QUIET_S = 0.4


def main() -> None:
    """Do each gesture some times, and print what it takes."""
    parser = script_parser(__doc__)
    parser.add_argument("--side", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--profile", type=Path, help="write where the time went, a file for each gesture")
    options = parser.parse_args()
    for side in options.side:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NAPARI_CUPRE_PROJECTS"] = str(Path(folder) / "projects")
            Gestures(side, options.profile).measure(Path(folder))


class Gestures:
    """All gestures in a window of 1280 x 720.

    Parameters
    ----------
    side : int
        Of the images.
    profile : Path or None
        Where profiles go.
    """

    def __init__(self, side: int, profile: Path | None) -> None:
        import napari
        from mouse import Mouse

        from napari_cupre.widgets.session import Session

        self.side, self.profile = side, profile
        self.labels = discs(side)
        self.viewer = napari.Viewer()
        self.viewer.window.resize(1280, 720)
        self.engine = Finder(self.labels)
        self.session = Session.of(self.viewer, self.engine)
        _, opened = self.viewer.window.add_plugin_dock_widget("napari-cupre")
        settle(2)
        assert opened.session is self.session
        self.mouse = Mouse(self.viewer)
        print(f"{side} px, {self.labels.max()} cells: all, longest (median and worst), ms")

    def measure(self, folder: Path) -> None:
        """All of them, one after the other."""
        self.engine.folder = folder
        self.session.keeper.open(project_of(folder, self.side, self.labels))
        wait_for(lambda: self.session.image is not None and not self.session.queue.is_busy)
        settle(2)
        self.finding()
        self.strokes()
        self.keys()
        self.images()
        self.viewer.close()
        settle(0.5)

    def finding(self) -> None:
        from napari_cupre.widgets.annotate_widget import AnnotateWidget
        from napari_cupre.widgets.docking import docked
        from napari_cupre.widgets.workbench import STEPS

        dock = docked(self.session, STEPS[0][0])
        assert isinstance(dock, AnnotateWidget)
        job = self.session.prediction

        def find() -> None:
            dock.find_row.find_cells()
            wait_for(lambda: not job.status.is_active)

        self.tell("find", [self.held(find, "find") for _ in range(3)])
        slider = dock.find_row.slider
        rng = np.random.default_rng(1)
        moves = [int(at) for at in rng.integers(20, 90, TURNS)]
        self.tell("certainty", [self.held(lambda at=at: slider.setValue(at), "certainty") for at in moves])
        slider.setValue(0)
        settle(1)

    def strokes(self) -> None:
        from napari_cupre.widgets.looking import camera_of

        viewer, session, mouse, side = self.viewer, self.session, self.mouse, self.side
        cells = session.make_cells(session.image)
        camera = camera_of(viewer)
        camera.center, camera.zoom = (0, side / 2, side / 2), 1
        viewer.layers.selection.active = cells.layer
        cells.layer.mode, cells.layer.brush_size = "paint", 20
        settle(1)
        taken: dict[str, list[Any]] = {"press": [], "move": [], "release": []}
        for turn in range(TURNS):
            y, x = side / 2 - 200 + 30 * turn, side / 2 - 300 + 40 * turn
            mouse.move((y, x))
            taken["press"].append(self.held(lambda at=(y, x): mouse.press(at), "press", quiet=0.02))
            for d in (20, 40, 60):
                at = (y + d / 2, x + d)
                taken["move"].append(self.held(lambda at=at: mouse.drag_to(at), "move", quiet=0.02))
            end = (y + 30, x + 60)
            taken["release"].append(self.held(lambda at=end: mouse.release(at), "release"))
        for name, values in taken.items():
            self.tell(f"brush: {name}", values)
        cells.layer.mode = "pan_zoom"
        settle(1)

    def keys(self) -> None:
        from qtpy.QtCore import Qt

        mouse, cells = self.mouse, self.session.cells_of(self.session.image)
        control, key = Qt.KeyboardModifier.ControlModifier, Qt.Key
        for name, press in (
            ("undo", lambda: mouse.key(key.Key_Z, control)),
            ("redo", lambda: mouse.key(key.Key_Z, control | Qt.KeyboardModifier.ShiftModifier)),
            ("next guess", lambda: mouse.key(key.Key_Tab)),
            ("accept it", lambda: mouse.key(key.Key_A)),
            ("outline", lambda: self.session.tools.prompter.answered.emit(self.outline())),
            ("all in view", lambda: mouse.key(key.Key_A, Qt.KeyboardModifier.ShiftModifier)),
        ):
            self.tell(name, [self.held(press, name) for _ in range(1 if name == "all in view" else TURNS)])
            if name == "accept it":
                self.viewer.layers.selection.active = cells.layer

    def outline(self) -> Any:
        """What the network says to a box, somewhere on the ground."""
        from napari_cupre.widgets.prompts import Answer, Plane, Prompt

        session, cells = self.session, self.session.cells_of(self.session.image)
        plane = Plane(session.image, session.cell_image(session.image), {}, session.model, 0)
        mask = np.ones((9, 9), bool)
        ground = np.argwhere(cells.cells.labels[: self.side // 2 : 7, ::7] == 0)
        at = 7 * ground[np.random.default_rng().integers(len(ground))]
        return Answer(Prompt(1, plane, box=(0, 0, 9, 9)), (mask,), ((int(at[0]), int(at[1])),), (0.9,))

    def images(self) -> None:
        from qtpy.QtCore import Qt

        session, taken = self.session, []
        for _ in range(IMAGES - 2):
            items = session.queue.items()
            coming = items[session.queue.position(items) + 1]
            wait_for(lambda stem=coming.stem: stem in session.queue._read)
            settle(1)

            def go(coming: Any = coming) -> None:
                self.mouse.key(Qt.Key.Key_Period)
                if session.image.name != coming.name:
                    raise AssertionError(f"{session.image.name} is on show instead of {coming.name}")

            taken.append(self.held(go, "next image", quiet=0.05))
            settle(1)
        self.tell("next, new layers", taken[:NEW])
        self.tell("next image", taken[NEW:])
        back = [self.held(lambda: self.mouse.key(Qt.Key.Key_Comma), "back", quiet=0.05) for _ in range(2)]
        self.tell("back to a layer", back)

    # --- the clock --------------------------------------------------------------------------------

    def held(self, action: Callable[[], Any], name: str, quiet: float = QUIET_S) -> tuple[float, float]:
        """Processor time of the window's thread until it is quiet: all, and at a stretch; in ms."""
        from qtpy.QtCore import QTimer

        profile = cProfile.Profile(time.thread_time) if self.profile is not None else None
        ticks = [time.thread_time()]
        timer = QTimer()
        timer.timeout.connect(lambda: ticks.append(time.thread_time()))
        timer.start(0)
        if profile is not None:
            profile.enable()
        began = time.thread_time()
        action()
        ticks.append(time.thread_time())
        settle(quiet)
        ticks.append(time.thread_time())
        if profile is not None and self.profile is not None:
            profile.disable()
            self.profile.mkdir(exist_ok=True)
            profile.dump_stats(self.profile / f"{self.side} {name}.prof")
        timer.stop()
        steps = 1000 * np.diff(ticks)
        idle = float(np.median(steps))
        return 1000 * (ticks[-1] - began) - idle * len(steps), float(steps.max())

    @staticmethod
    def tell(name: str, taken: list[tuple[float, float]]) -> None:
        """Print a line."""
        all_, longest = np.array(taken).T
        print(f"{name:16} {np.median(all_):7.1f}  {np.median(longest):7.1f} {longest.max():7.1f}", flush=True)


class Finder:
    """Stands in for the process that predicts: it finds the discs, tile by tile.

    Parameters
    ----------
    labels : numpy.ndarray
        What is to be found.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.folder = Path()

    def start(self) -> None:
        """Nothing needs to be started."""

    def stop(self) -> None:
        """It does not take long."""

    def send(self, request: Any) -> None:
        """Nobody is told."""

    def close(self, wait: float = 0.0) -> None:
        """Nothing is left."""

    def events(self, request: Any) -> Iterator[Any]:
        """What a prediction of one plane says."""
        from napari_cupre.events import Finished, Progress, TileDone
        from napari_cupre.service.protocol import PlaneDone

        labels, rng = self.labels, np.random.default_rng(0)
        now, core = np.zeros_like(labels), 1024
        starts = [(y, x) for y in range(0, labels.shape[0], core) for x in range(0, labels.shape[1], core)]
        for number, (y, x) in enumerate(starts):
            inside = labels[y : y + core, x : x + core]
            now[y : y + core, x : x + core] = inside
            yield TileDone({}, y, x, inside.copy())
            yield Progress(number + 1, len(starts), "")
            time.sleep(0.2)
        ids = np.arange(1, labels.max() + 1, dtype=np.int32)
        count = len(ids)
        yield PlaneDone(
            index={},
            labels=now.copy(),
            ids=ids,
            boxes=np.zeros((count, 4), np.float32),
            scores=rng.uniform(0.2, 1, count).astype(np.float32),
            classes=np.ones(count, np.int64),
            masks=np.zeros((count, 28, 28), np.float16),
            diameter=50.0,
        )
        yield Finished(f"{count} cells", {"cells": count})


def project_of(folder: Path, side: int, labels: np.ndarray) -> Path:
    """A project of images with cells in all but the first."""
    from annotating import guesses_of

    from napari_cupre.project.project import Project
    from napari_cupre.project.queue import add_files

    plate = folder / "plate"
    plate.mkdir()
    for number in range(1, IMAGES + 1):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 80, (side, side), dtype=np.uint8) + np.uint8(90) * (labels > 0)
        tifffile.imwrite(plate / f"well_{number}.tif", pixels)
    scores = np.random.default_rng(0).uniform(0.2, 1, labels.max())
    with Project.create(folder / "work") as project:
        add_files(project, plate)
        for number in range(2, IMAGES + 1):
            project.hold(f"well_{number}", guesses_of(labels, scores))
            project.save()
        os.utime(project.folder / "cells" / "well_2.csv", (2e9, 2e9))  # the one that was worked on last
        return project.folder


def discs(side: int) -> np.ndarray:
    """A label image of discs in rows."""
    labels, radius = np.zeros((side, side), np.int32), SCALE // 3
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    centres = range(SCALE // 2, side - SCALE // 4, SCALE)
    for number, (y, x) in enumerate(((y, x) for y in centres for x in centres), start=1):
        labels[y - radius : y + radius + 1, x - radius : x + radius + 1][disc] = number
    return labels


if __name__ == "__main__":
    main()
