"""A line that says what else the image's file contains, with buttons to open it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.qt.threading import create_worker

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError
from napari_cupre.io.scenes import Scene, list_names
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.controls import SessionWidget
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.origin import origin_of
from napari_cupre.widgets.titled import titled
from napari_cupre.words import counted

MOST_BUTTONS = 2


Answers = list[tuple[str, str, Callable[[], None]]]


class SceneNote(QuestionLine):
    """A note on what napari's reader hides: other images of a file, missing files, ink shown as light.

    It offers to open these images as the file describes them.

    Parameters
    ----------
    owner : SessionWidget
        The dock that shows the note.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__()
        self._owner, self._session = owner, owner.session
        owner.listen(self._session.image_changed, self.refresh)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Update the note for the file of the chosen image."""
        image = self._session.image
        path = None if image is None else source_path(image)
        if image is None or path is None:
            self.clear()
            return
        origin = origin_of(image)
        sentences = [origin.lacks] if origin.lacks else []
        answers: Answers = []
        if origin.is_other:
            sentences.append(self._unlike(image, path, origin.others[0]))
            answers = [("Open it", "Open it as the file describes it", self._opener(path, origin.others))]
        elif origin.others:
            sentence, answers = self._more(path, origin.others)
            sentences.append(sentence)
        elif origin.colours:
            sentences.append(f'"{path.name}" stores {origin.colours}, which napari shows as light.')
            opener = partial(self._open, path, [origin.shown])
            answers = [("Open its colours", "Open it as a layer in its own colours", opener)]
        if sentences:
            self.ask(" ".join(sentences), answers, key=(id(image), path))
        else:
            self.clear()

    def _unlike(self, image: Any, path: Path, scene: Scene) -> str:
        data = image.data[0] if image.multiscale else image.data
        shown, told = (" × ".join(map(str, shape)) for shape in (data.shape, scene.shape))
        return f'napari shows {shown} of "{path.name}"; by its metadata it is {told} ({scene.axes}).'

    def _opener(self, path: Path, scenes: tuple[Scene, ...]) -> Callable[[], None]:
        return partial(self._open, path, [scene.name for scene in scenes])

    def _more(self, path: Path, others: tuple[Scene, ...]) -> tuple[str, Answers]:
        count = counted(len(others), "more image")
        names = [scene.name for scene in others]
        answers: Answers = [
            (f"Open {name}", "Open it as a layer", partial(self._open, path, [name]))
            for name in names[:MOST_BUTTONS]
        ]
        if len(names) > 1:
            answers.append(("Open all", "Open each as a layer", partial(self._open, path, names)))
        return f'"{path.name}" contains {count}: {list_names(others)}.', answers

    def _open(self, path: Path, names: list[str]) -> None:
        worker = create_worker(titled(_read_all, "Opening images"), path, names, _start_thread=False)
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
    """Read the images in the worker thread; an error becomes a sentence."""
    from napari_cupre.io.images import read_image

    try:
        found = []
        for name in names:
            image = read_image(path, series=name, partial=True)
            image.name = f"{path.stem} {name}"
            found.append(image)
        return found
    except CupreError as error:
        return str(error)
