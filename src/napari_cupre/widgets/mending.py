"""What the buttons under a question do to an annotation; each is one step of undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.widgets.asking import Answer
from napari_cupre.widgets.checks import HOLE, SPLIT, UNMARKED, Finding, blobs, holes
from napari_cupre.widgets.layers import METADATA_KEY, from_layer, layer_axes, result_placement, to_layer
from napari_cupre.widgets.session import Session

LIKELY = "likely cells"


class Mender:
    """Answers to the findings of one viewer, and those that were waved through.

    Parameters
    ----------
    session : Session
        Of the viewer.
    attempt : callable
        Runs an action and shows its error.
    changed : callable
        Called after an answer that paints nothing.
    """

    def __init__(
        self, session: Session, attempt: Callable[[Callable[[], object]], object], changed: Callable[[], None]
    ) -> None:
        self._session, self._attempt, self._changed = session, attempt, changed
        self._waved: set[tuple[int, str, tuple[int, ...], int]] = set()

    def open_questions(self, image: Image, findings: Sequence[Finding]) -> list[Finding]:
        """Findings without those that the user has waved through."""
        found = []
        for finding in findings:
            left = tuple(x for x in finding.labels if self._mark(image, finding, x) not in self._waved)
            if left and finding.kind == UNMARKED:
                found.append(finding)
            elif left:
                found.append(Finding(finding.kind, finding.place, left))
        return found

    def answers(self, image: Image, finding: Finding) -> list[Answer]:
        """The buttons of a question."""

        def act(action: Callable[[Image, Finding], None]) -> Callable[[], object]:
            return lambda: self._attempt(lambda: action(image, finding))

        keep = ("Keep", "It is correct as it is", act(self._wave))
        if finding.kind == SPLIT:
            return [("Split", "Make each part a cell with its own label", act(self._split)), keep]
        if finding.kind == HOLE:
            return [("Fill", "Fill the holes with the label of their cell", act(self._fill)), keep]
        return [
            ("Show", "Show them on the image, in a layer that training ignores", act(self._show)),
            ("Add", "Accept all as cells", act(self._add)),
            ("No cells", "Treat them as background", act(self._refuse)),
        ]

    # --- answers --------------------------------------------------------------------------------------

    def _wave(self, image: Image, finding: Finding) -> None:
        self._waved |= {self._mark(image, finding, label) for label in finding.labels}
        self._changed()

    def _split(self, image: Image, finding: Finding) -> None:
        labels = self._plane(image, finding)
        number = fresh_numbers(self._cells(image), sum(len(blobs(labels, x)) for x in finding.labels))
        layer = self._cells(image)
        with layer.block_history():
            for value in finding.labels:
                for part in blobs(labels, value)[1:]:
                    self._paint(image, finding, part, number)
                    number += 1

    def _fill(self, image: Image, finding: Finding) -> None:
        found = holes(self._plane(image, finding))
        with self._cells(image).block_history():
            for value in finding.labels:
                if value in found:
                    self._paint(image, finding, found[value], value)

    def _show(self, image: Image, finding: Finding) -> None:
        cell = self._session.cell_image(image)
        data = np.zeros(cell.result_shape, np.int32)
        if finding.cells is not None:
            data[finding.place] = finding.cells
        name = f"{image.name} {LIKELY}"
        layers = self._session.viewer.layers
        old = next((x for x in layers if isinstance(x, Labels) and x.name == name), None)
        if old is not None and old.ndim == len(layer_axes(cell)):
            old.data, old.visible = to_layer(data, cell), True
            return
        active = layers.selection.active
        layer = Labels(to_layer(data, cell), name=name, opacity=0.5, **result_placement(image, cell))
        layer.editable = False
        self._session.viewer.add_layer(layer)
        layers.selection.active = active

    def _add(self, image: Image, finding: Finding) -> None:
        layer = self._cells(image)
        if finding.cells is None:
            return
        first = fresh_numbers(layer, len(finding.labels))
        with layer.block_history():
            for number, label in enumerate(finding.labels):
                self._paint(image, finding, np.argwhere(finding.cells == label), first + number)
        self._put_away(image)

    def _refuse(self, image: Image, finding: Finding) -> None:
        annotation = self._session.annotation(image)
        found = annotation.guesses(self._session.cell_image(image))
        for number, label in finding.guesses:
            if number < len(found):
                kept = found[number][0].metadata[METADATA_KEY]
                kept["refused"] = {*kept.get("refused", ()), (finding.place, label)}
            else:
                annotation.refused.add((*finding.place, -1))
        self._put_away(image)
        self._changed()

    # --- helpers --------------------------------------------------------------------------------------

    def _put_away(self, image: Image) -> None:
        for layer in self._session.viewer.layers:
            if layer.name == f"{image.name} {LIKELY}":
                layer.visible = False

    def _cells(self, image: Image) -> Labels:
        layer = self._session.annotation(image).cells
        if layer is None:
            raise InputError(f'"{image.name}" has no layer of cells: press "New annotation layers".')
        return layer

    def _plane(self, image: Image, finding: Finding) -> np.ndarray:
        labels = from_layer(self._cells(image).data, self._session.cell_image(image))
        if labels is None:
            raise InputError(
                f'The cells of "{image.name}" do not match it: choose another layer or add a new one.'
            )
        return np.asarray(labels[finding.place])

    def _paint(self, image: Image, finding: Finding, pixels: np.ndarray, value: int) -> None:
        layer = self._cells(image)
        layer.data_setitem(
            layer_indices(layer, self._session.cell_image(image), finding.place, pixels), value
        )

    @staticmethod
    def _mark(image: Image, finding: Finding, label: int) -> tuple[int, str, tuple[int, ...], int]:
        return id(image), finding.kind, finding.place, label


def layer_indices(
    layer: Labels, image: CellImage, place: tuple[int, ...], pixels: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Rows and columns (n, 2) of a plane as indices of a layer's data."""
    axes = layer_axes(image)
    if len(axes) != layer.ndim or layer.data.shape == image.result_shape:
        axes = image.result_axes
    places: tuple[Any, ...] = (*place, pixels[:, 0], pixels[:, 1])
    known: dict[str, Any] = dict(zip(image.result_axes, places)) | {"C": 0}
    return tuple(np.broadcast_to(known[axis], len(pixels)) for axis in axes)


def fresh_numbers(layer: Labels, count: int = 1) -> int:
    """The first of some consecutive unused labels of a layer; widens a layer that is too narrow.

    Raises
    ------
    InputError
        If napari cannot paint in the layer.
    """
    check_paintable(layer)
    data = np.asarray(layer.data)
    top = int(data.max(initial=0))
    if top + count <= np.iinfo(data.dtype).max:
        return max(top, 0) + 1
    if np.iinfo(data.dtype).max < np.iinfo(np.int32).max:
        layer.data = data.astype(np.int32)
        return top + 1
    used = np.unique(data[data > 0])
    gaps = np.flatnonzero(np.diff(np.concatenate([[0], used])) > count)
    if not len(gaps):
        raise InputError(f'"{layer.name}" has no label left for a new cell: add a new layer.')
    return int(np.concatenate([[0], used])[gaps[0]]) + 1


def check_paintable(layer: Labels) -> None:
    """Raise an error where a stroke would change nothing.

    Raises
    ------
    InputError
        For a pyramid, and for data that are read-only.
    """
    if layer.multiscale:
        raise InputError(
            f'"{layer.name}" is a pyramid, and napari cannot paint in it: clear "Cells in", then press '
            '"New annotation layers".'
        )
    flags = getattr(layer.data, "flags", None)
    if flags is not None and not flags.writeable:
        layer.data = np.array(layer.data)
