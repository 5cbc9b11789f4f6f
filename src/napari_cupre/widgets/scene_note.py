"""A line that says what else the file of the image contains, with buttons to open it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.qt.threading import create_worker

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError
from napari_cupre.io.images import read_image
from napari_cupre.io.scenes import list_names
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.origin import origin_of
from napari_cupre.words import counted

MOST_BUTTONS = 2


class SceneNote(QuestionLine):
    """Offers the other images of a file, of which napari's own reader opens one and says no word of the rest.

    Parameters
    ----------
    owner : SessionWidget
        The dock that it is shown in.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__()
        self._owner, self._session = owner, owner.session
        owner.listen(self._session.image_changed, self.refresh)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Ask about the file of the chosen image."""
        image = self._session.image
        path = None if image is None else source_path(image)
        others = () if image is None else origin_of(image).others
        if image is None or path is None or not others:
            self.clear()
            return
        count = counted(len(others), "more image")
        names = [scene.name for scene in others]
        answers: list[tuple[str, str, Callable[[], None]]] = [
            (f"Open {name}", "Open it as a layer", partial(self._open, path, [name]))
            for name in names[:MOST_BUTTONS]
        ]
        if len(names) > 1:
            answers.append(("Open all", "Open each as a layer", partial(self._open, path, names)))
        self.ask(f'"{path.name}" contains {count}: {list_names(others)}.', answers, key=(id(image), path))

    def _open(self, path: Path, names: list[str]) -> None:
        worker = create_worker(_read_all, path, names, _start_thread=False)
        worker.returned.connect(self._add)
        worker.start()

    def _add(self, found: list[CellImage] | str) -> None:
        if isinstance(found, str):
            self._owner.message.show_error(found)
            return
        for image in found:
            axes = image.axes.replace("S", "")
            layer = Image(
                image.data,
                name=image.name,
                rgb=image.is_rgb,
                axis_labels=list(axes),
                **image.values_for(axes),
            )
            self._session.viewer.add_layer(layer)
        self.clear()


def _read_all(path: Path, names: list[str]) -> list[CellImage] | str:
    """In the worker thread; an error becomes a sentence."""
    try:
        found = []
        for name in names:
            image = read_image(path, series=name)
            image.name = f"{path.stem} {name}"
            found.append(image)
        return found
    except CupreError as error:
        return str(error)
