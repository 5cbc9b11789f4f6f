"""Pictures of the docks for the README and the docs, taken from the real window.

Opens the workbench and a sample by napari's own doors, finds cells, trains, finds again, and takes a picture
at each stage. Under a virtual screen:

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/screenshots.py --minutes 1
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = (1280, 720)
COLOURS = 200


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CUPRE_MODELS"] = f"{folder}/models"
        os.environ["NAPARI_CUPRE_PROJECTS"] = f"{folder}/projects"
        take_pictures(options)


def take_pictures(options: argparse.Namespace) -> None:
    """Walk through the docks."""
    import napari

    from napari_cupre.widgets.docking import docked
    from napari_cupre.widgets.workbench import STEPS

    viewer = napari.Viewer()
    viewer.theme = options.theme
    viewer.window.resize(*SIZE)
    _, workbench = viewer.window.add_plugin_dock_widget("napari-cupre")
    viewer.open_sample("napari-cupre", options.sample)
    wait(lambda: workbench.is_settled)
    annotate, train, predict = (docked(workbench.session, kind) for kind, _ in STEPS)

    annotate.find_row.button.click()
    finish(workbench.session.prediction)
    take(viewer, options.out / "annotate.png")

    workbench.show_dock(type(train))
    train.minutes.setValue(options.minutes)
    take(viewer, options.out / "train.png")
    train.button.click()
    finish(workbench.session.training)
    take(viewer, options.out / "trained.png")

    workbench.show_dock(type(predict))
    predict.button.click()
    finish(workbench.session.prediction)
    take(viewer, options.out / "predict.png")
    viewer.close()


def finish(job: Any) -> None:
    """Wait until a job has begun and ended."""
    wait(lambda: job.status.is_active)
    wait(lambda: job.status.state.is_over)


def wait(condition: Callable[[], bool], limit: float = 900.0) -> None:
    """Let the window work until something is true."""
    from qtpy.QtTest import QTest

    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("The window did not get there in time.")
        QTest.qWait(50)


def take(viewer: Any, path: Path) -> None:
    """Take a picture of the whole window once it is saved and painted."""
    from PIL import Image
    from qtpy.QtTest import QTest

    QTest.qWait(4000)
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    Image.fromarray(pixels[..., :3]).quantize(COLOURS).save(path, optimize=True)
    print(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training")
    parser.add_argument("--sample", default="nuclei_field", help="name of a shipped sample image")
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
