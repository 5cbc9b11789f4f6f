"""A short recording of the real window for the README: click, larger reading, box, draw, split.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/recording.py [--out docs/images/annotate.gif]

A mouse pointer is painted into the frames, since a window's picture has none.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from annotate import ROOT, best_iou, cells_of
from script import script_parser
from window import settle, wait_for

WINDOW = (1000, 600)
WIDTH, HEIGHT = 800, 480
FRAME_MS = 120
COLOURS = 256
BRIGHT = 60
"""A pixel whose channels differ by more than this is coloured."""


def main() -> None:
    """Make the recording."""
    parser = script_parser(__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "annotate.gif")
    parser.add_argument("--sample", default="nuclei_field")
    parser.add_argument("--model", default="cupre")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CUPRE_PROJECTS"] = folder
        frames = Scene(options).play()
    save(frames, options.out)
    print(f"{options.out}: {len(frames)} frames, {options.out.stat().st_size / 1e6:.2f} MB")


class Scene:
    """The window and the hand.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        import napari
        from mouse import Mouse

        from napari_cupre.io.samples import load_sample
        from napari_cupre.widgets.session import Session

        sample = load_sample(options.sample)
        self.truth = np.asarray(sample.truth)
        self.viewer = viewer = napari.Viewer()
        viewer.window.resize(*WINDOW)
        layer = viewer.add_image(np.asarray(sample.image.data), rgb=sample.image.is_rgb, name=options.sample)
        if not sample.image.is_rgb:
            layer.contrast_limits = np.percentile(layer.data, (0.1, 99.5))
        viewer.window.add_plugin_dock_widget("napari-cupre", "Annotate")
        for dock in ("dockLayerControls", "dockLayerList"):  # room for the image
            getattr(viewer.window._qt_viewer, dock).hide()
        settle(2)
        viewer.reset_view()
        viewer.camera.zoom *= 1.9
        self.session = Session.of(viewer)
        self.session.image, self.session.model = layer, options.model
        self.mouse = Mouse(viewer)
        self.frames: list[np.ndarray] = []
        self.at = (0.0, 0.0)

    def play(self) -> list[np.ndarray]:
        """The whole scene."""
        from napari_cupre.widgets.tools import Tool

        tools = self.session.tools
        tools.take(Tool.CLICK)
        wait_for(lambda: tools.prompter.is_ready and not tools.prompter.status)
        cells = self._cells(9)
        self.at = self._middle(cells[0])
        self._shot(3)
        for number in cells[:5]:
            self._click(self._middle(number))
        self._click(self._middle(cells[4]), moves=0)
        tools.take(Tool.BOX)
        self._shot(2)
        for number in cells[5:8]:
            rows, columns = np.nonzero(self.truth == number)
            self._drag([(rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)], steps=5)
        tools.take(Tool.DRAW)
        self._shot(2)
        self._drag(self._outline(cells[8]), steps=1)
        tools.take(Tool.SPLIT)
        rows, columns = np.nonzero(self.truth == cells[8])
        middle = rows.mean()
        self._drag([(middle, columns.min() - 6), (middle, columns.max() + 6)], steps=6)
        self.session.cells_of(self.session.image).undo()
        tools.put_down()
        self._shot(10)
        made = self.session.cells_of(self.session.image).cells.labels
        print("IoU:", [round(best_iou(made, self.truth == number), 2) for number in cells])
        self.viewer.close()
        return self.frames

    def _cells(self, count: int) -> list[int]:
        """Cells on show, near each other, in the order in which a hand would go."""
        size = self.mouse.canvas.size()
        shown = [
            number
            for number in cells_of(self.truth, 200)
            if 40 < self.mouse.on_canvas(self._middle(number)).x() < size.width() - 40
            and 40 < self.mouse.on_canvas(self._middle(number)).y() < size.height() - 40
        ]
        start = np.array(self._middle(shown[len(shown) // 3]))
        shown.sort(key=lambda number: float(np.hypot(*(np.array(self._middle(number)) - start))))
        return sorted(shown[:count], key=lambda number: self._middle(number)[1])

    def _middle(self, number: int) -> tuple[float, float]:
        rows, columns = np.nonzero(self.truth == number)
        return float(rows.mean()), float(columns.mean())

    def _outline(self, number: int) -> list[Any]:
        from skimage.measure import find_contours

        outline = max(find_contours(np.pad(self.truth == number, 1).astype(float), 0.5), key=len) - 1
        return list(outline[:: max(1, len(outline) // 14)])

    def _click(self, place: Any, moves: int = 4) -> None:
        self._go(place, moves)
        settle(0.4)
        self.mouse.click(place)
        self._shot(1, is_pressed=True)
        wait_for(lambda: not self.session.tools.prompter.is_waiting)
        self._shot(3)

    def _drag(self, path: list[Any], steps: int) -> None:
        self._go(path[0], 4)
        self.mouse.press(path[0])
        for start, end in itertools.pairwise(path):
            for step in range(1, steps + 1):
                self.at = tuple(np.asarray(start) + (np.asarray(end) - start) * step / steps)
                self.mouse.pull(self.at)
                self._shot(1, is_pressed=True)
        self.mouse.release(path[-1])
        wait_for(lambda: not self.session.tools.prompter.is_waiting)
        self._shot(3)

    def _go(self, place: Any, moves: int) -> None:
        start = np.asarray(self.at)
        for step in range(1, moves + 1):
            self.at = tuple(start + (np.asarray(place) - start) * step / moves)
            self.mouse.move(self.at)
            self._shot(1)
        self.at = tuple(place)

    def _shot(self, count: int, is_pressed: bool = False) -> None:
        """Take frames of the window, with a pointer in them."""
        from PIL import Image, ImageDraw

        settle(0.06)
        picture = Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)[..., :3])
        canvas, window = self.mouse.canvas, self.mouse.canvas.window()
        corner = canvas.mapTo(window, canvas.rect().topLeft())
        point = self.mouse.on_canvas(self.at)
        x, y = corner.x() + point.x(), corner.y() + point.y()
        draw = ImageDraw.Draw(picture)
        if is_pressed:
            draw.ellipse((x - 9, y - 9, x + 9, y + 9), outline=(255, 210, 60), width=2)
        arrow = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12)]
        draw.polygon([(x + a, y + b) for a, b in arrow], fill=(255, 255, 255), outline=(0, 0, 0))
        frame = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
        self.frames += [frame] * count


def save(frames: list[np.ndarray], path: Path) -> None:
    """Write a small GIF: few colours for all frames, equal frames as one."""
    from PIL import Image

    kept: list[tuple[np.ndarray, int]] = []
    for frame in frames:
        if kept and np.array_equal(kept[-1][0], frame):
            kept[-1] = (frame, kept[-1][1] + FRAME_MS)
        else:
            kept.append((frame, FRAME_MS))
    some = np.concatenate([frame for frame, _ in kept[:: max(1, len(kept) // 8)]])
    bright = some[np.ptp(some.astype(int), axis=-1) > BRIGHT]
    if len(bright):  # small things in colour would get none among so much grey
        rows = some.shape[0] // 5
        some = np.concatenate([some, np.resize(bright, (rows, *some.shape[1:]))])
    sheet = Image.fromarray(some)
    palette = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in kept
    ]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=[duration for _, duration in kept],
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
