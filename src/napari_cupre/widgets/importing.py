"""Import annotations of other programs into the layers of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.data.labels import refuse_grey_values
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, RunState, StateChanged
from napari_cupre.io.files import image_stem, natural_key
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.project import Project
from napari_cupre.project.tables import read_cells
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.taking_over import exchanged
from napari_cupre.words import counted, some_of

FILE_FILTER = "Annotations (*.tif *.tiff *.png *.zip *.roi *.geojson *.json *.npy *.txt);;All files (*)"

MOST_TOLD = 4
"""Maximum number of sentences about annotations that were left out."""

MOST_NOTED = 2
"""Maximum number of sentences about annotations that were read."""


@dataclass(frozen=True)
class Destination:
    """An image that annotation may belong to: in a layer, or only in the project.

    Attributes
    ----------
    names : tuple[str, ...]
        What it is called, with or without the ending of its file; the name that a person sees first.
    read : Callable[[], CellImage]
        Opens it, in the worker thread.
    layer : Image or None
        Its layer.
    stem : str or None
        Its name in the project.
    """

    names: tuple[str, ...]
    read: Callable[[], CellImage]
    layer: Image | None = None
    stem: str | None = None


@dataclass(frozen=True)
class Imported(Event):
    """Labels read for an image: int32, with the image's `result_shape`.

    `stored` has the cells for an image that no layer shows; `project` is where they belong.
    """

    target: Destination
    labels: np.ndarray
    project: Project | None = None
    stored: Cells | None = None


def targets_of(session: Session) -> list[Destination]:
    """Return the images of the window and of the project; the chosen one first."""
    project, found = session.keeper.project, []
    entries = {} if project is None else {entry.stem: entry for entry in project.images}
    for item in session.queue.items():
        if item.layer is not None:
            layer = item.layer
            file = source_path(layer)
            names = [item.name, layer.name, *([] if file is None else [file.name])]
            read: Callable[[], CellImage] = partial(_of_file, session, layer, file)
        elif project is not None and (entry := entries.get(item.stem or "")) is not None:
            whole = not entry.plane and entry.field is None and entry.series is None
            names = [entry.stem, *([entry.path.rpartition("/")[2]] if whole else [])]
            read = partial(project.pixels, entry)
        else:
            continue
        found.append(Destination(tuple(dict.fromkeys(names)), read, item.layer, item.stem))
    return sorted(found, key=lambda target: target.layer is not session.image)


def _of_file(session: Session, layer: Image, file: Path | None) -> CellImage:
    """Return the image of a layer with the file it came from, which says how a photograph is turned."""
    return replace(session.cell_image(layer), path=file)


def read_annotations(
    paths: Sequence[Path], targets: Sequence[Destination], project: Project | None
) -> Iterator[Event | None]:
    """Read annotations from files or folders; a generator for `Job.start`.

    A single annotation is that of the first image, whatever its name. Several are matched by name.

    Parameters
    ----------
    paths : Sequence[Path]
        Files or folders.
    targets : Sequence[Destination]
        The images; the chosen one first.
    project : Project or None
        Of the images without a layer.

    Raises
    ------
    InputError
        If nothing there belongs to an image, the sizes differ, no outline is a cell, or it is a picture.
    """
    from napari_cupre.io.importers import Frame, read_for_image, read_for_images, sheets_of
    from napari_cupre.io.importers.sheet import Listeners

    said: list[str] = []
    left_out: list[str] = []
    sheets = [] if len(paths) == 1 and paths[0].is_dir() else sheets_of(paths, left_out.append)
    if len(paths) == 1 and len(sheets) < 2:
        image = targets[0].read()
        labels = read_for_image(paths[0], Frame.of(image), targets[0].names[0], said.append, said.append)
        taken: Iterable[tuple[int, str, np.ndarray]] = [(0, paths[0].name, labels)]
    else:
        names = [
            tuple(dict.fromkeys(each for name in target.names for each in (name, image_stem(name))))
            for target in targets
        ]
        listeners = Listeners(said.append, said.append)
        taken = read_for_images(
            sheets, names, lambda number: Frame.of(targets[number].read()), left_out.append, listeners
        )
    matched: list[str] = []
    for number, name, labels in taken:
        try:
            event = _imported(targets[number], name, labels, project)
        except InputError as error:
            if len(paths) == len(sheets) == 1:
                raise
            left_out.append(str(error))
            continue
        cells = len(np.unique(labels[labels > 0]))
        matched.append(f"{counted(cells, 'cell')} read from {name}")
        if len(sheets) > 1 or len(paths) > 1:
            matched[-1] = f"{targets[number].names[0]} ({counted(cells, 'cell')})"
        yield event
    if not matched:
        why = _first([*left_out, *said], MOST_TOLD, "more was left out", "more were left out")
        raise InputError(f"No annotation belongs to an image here. {why}".strip())
    yield Finished(_account(matched, left_out, said, len(sheets) > 1 or len(paths) > 1))
    yield StateChanged(RunState.DONE)


def _account(matched: list[str], left_out: list[str], said: list[str], is_many: bool) -> str:
    """Say which images got cells, and what was left out."""
    if not is_many:
        return " ".join([f"{matched[0]}.", *said])
    listed = some_of(sorted(matched, key=lambda each: natural_key(Path(each))))
    parts = [f"Read the cells of {counted(len(matched), 'image')}: {listed}."]
    if left_out:
        parts.append(f"Left out: {_first(left_out, MOST_TOLD, 'more was left out', 'more were left out')}")
    if said:
        parts.append(_first(said, MOST_NOTED, "more file has such a note", "more files have such notes"))
    return " ".join(parts)


def _first(sentences: list[str], most: int, one: str, many: str) -> str:
    """The first few sentences, and how many more there are: a person may import hundreds of files."""
    rest = len(sentences) - most
    more = [f"{counted(rest, one, many)}."] if rest > 0 else []
    return " ".join([*sentences[:most], *more])


def _imported(target: Destination, name: str, labels: np.ndarray, project: Project | None) -> Imported:
    """Return the event for labels that were read.

    Raises
    ------
    InputError
        They are a picture or do not fit, or the project has cells of a person's for an image without a layer.
    """
    shape = target.read().result_shape
    if labels.size != int(np.prod(shape)):
        raise InputError(f'"{name}" has {labels.shape} px, but "{target.names[0]}" has {shape}.')
    labels = labels.reshape(shape).astype(np.int32, copy=False)
    for plane in labels.reshape(-1, *shape[-2:]):
        refuse_grey_values(plane, name)
    if target.layer is not None or project is None or target.stem is None:
        return Imported(target, labels)
    cells = _cells_of(project, target.stem)
    if cells.count(State.CHECKED, State.EDITED):
        raise InputError(f'"{target.stem}" has checked or edited cells: show it, then import "{name}".')
    cells.apply(exchanged(cells, labels, verb="Import cells"))
    return Imported(target, labels, project, cells)


def _cells_of(project: Project, stem: str) -> Cells:
    """Return a copy of the cells that the project has for an image."""
    loaded, entry = project.loaded(stem), project.image(stem)
    if loaded is not None:
        return loaded.copy()
    stored, _ = read_cells(project.folder, stem, entry.regions)
    return Cells(np.zeros(entry.shape, np.int32), {}, entry.regions) if stored is None else stored


def take_up(session: Session, event: Imported) -> None:
    """Put imported cells into the layers of their image, or into the project if it has none."""
    target, project = event.target, event.project
    if target.layer is not None:
        if target.layer in session.images():
            take_over(session, target.layer, event.labels)
        return
    if project is None or target.stem is None or session.keeper.project is not project:
        return  # another project was opened in the meantime
    shown = session.keeper.image_of(target.stem)
    if shown is not None:
        take_over(session, shown, event.labels)
        return
    now = project.loaded(target.stem)
    if now is not None and now.count(State.CHECKED, State.EDITED):
        session.keeper.tell(f'"{target.stem}" has checked or edited cells by now: import them again.')
        return
    if now is None and event.stored is not None:
        project.hold(target.stem, event.stored)
        project.let_go(target.stem)
    elif now is not None:
        now.apply(exchanged(now, event.labels, verb="Import cells"))
    session.keeper.touch()
    session.queue.look_at(target.stem)


def take_over(session: Session, image: Image, labels: np.ndarray) -> Labels:
    """Make imported labels the cells of an image, as a person's; keep earlier cells in another layer.

    Returns
    -------
    Labels
        The layer with the imported cells, now the chosen one.
    """
    cells = session.cells_of(image)
    if cells is None or len(cells.cells):
        reading = session.cell_image(image)
        layer = session.annotation(image).new_cells(reading, labels.astype(np.int32))
        if cells is not None:
            layer.name = f"{image.name} cells (imported)"
        session.viewer.add_layer(layer)
        session.choose_cells(image, layer)
        return layer
    cells.do(lambda now: exchanged(now, labels, verb="Import cells"))
    return cells.layer
