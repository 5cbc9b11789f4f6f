"""One Labels layer and the cells of one image: the same pixels, with states, features and undo in step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.project.boxes import Box, clipped, slices
from napari_cupre.project.cells import By, Cells, Change, Region, State
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.gestures import hidden
from napari_cupre.project.history import History
from napari_cupre.project.strokes import painted, stroke_of
from napari_cupre.widgets.features import features_of
from napari_cupre.widgets.layers import layer_axes, to_layer
from napari_cupre.widgets.regions_layer import RegionsLayer
from napari_cupre.widgets.repaint import REACH, Repainter, held_back
from napari_cupre.widgets.state_colours import StateColormap
from napari_cupre.widgets.taking_over import cells_in, exchanged, fitting_labels, painted_pixels

Gesture = Callable[[Cells], Change]


@dataclass(frozen=True)
class StoredCells:
    """Cells to show in a layer.

    Attributes
    ----------
    cells : Cells
        The cells of one image.
    entry : ProjectImage or None
        What the project that they are from knows about the image.
    colours : StateColormap or None
        How they look, if that was worked out already.
    """

    cells: Cells
    entry: ProjectImage | None = None
    colours: StateColormap | None = None


class CellsLayer:
    """The cells of an image as a person sees and changes them.

    `layer.data` is a view of `cells.labels`. Whatever changes them goes through `do`, or is taken up from
    the layer: strokes of napari's brush, eraser, bucket and polygon, and labels that another tool exchanges.

    Parameters
    ----------
    image : napari.layers.Image
        The image that the cells are in.
    reading : CellImage
        How its axes are read.
    layer : napari.layers.Labels
        Holds the labels; its data become int32 if they are not.
    stored : StoredCells or None, optional
        What to show; by default what the layer contains, in the states that its features tell. Cells without
        features are a person's, unless the layer is a result of ours.

    Attributes
    ----------
    cells : Cells
        Over `reading.result_axes`: T and Z in front, Y and X.
    history : History
        What can be taken back.

    Raises
    ------
    InputError
        The layer does not fit the image, is a pyramid, or looks like a picture.
    """

    changed = Signal(object)
    """A `Change` was made, undone or redone; the layer shows it already."""

    selected = Signal()
    """The layer's chosen label is another one, as after a click on a row of napari's table of features."""

    def __init__(
        self, image: Image, reading: CellImage, layer: Labels, stored: StoredCells | None = None
    ) -> None:
        self.image, self.reading, self.layer = image, reading, layer
        self.history = History()
        stored = stored or StoredCells(cells_in(layer, reading))
        self.cells = stored.cells
        self.entry = stored.entry or ProjectImage(image.name, "", "", self.cells.shape)
        self.regions: RegionsLayer | None = None
        self._current = 0
        self._classes: dict[int, str] = {}
        self.searched: set[tuple[int, ...]] = set()
        """Planes in which a model looked for cells."""
        self.estimated: set[Region] = set()
        """Regions in which likely cells were looked for by their brightness."""
        self._colours = stored.colours or StateColormap.like(layer.colormap)
        self._repainter = Repainter(layer)
        self._show_all()
        for name in ("undo", "redo"):  # what napari's Ctrl-Z calls
            setattr(layer, name, getattr(self, name))
        self._is_interrupting = False
        self._open_stroke: Change | None = None
        self._strokes: list[tuple[tuple[np.ndarray, ...], Any]] = []
        self._followed = (
            (layer.events.paint, self._stroke_ended),
            (layer.events.labels_update, self._take_up),
            (layer.events.data, self._data_exchanged),
            (layer.events.colormap, self._colours_exchanged),
            (layer.events.selected_label, self._selected),
        )
        for event, callback in self._followed:
            event.connect(callback)

    # --- what is done -----------------------------------------------------------------------------

    def do(self, change: Change | Gesture, onto: Change | None = None) -> Change:
        """Make a change, as one step of undo.

        Parameters
        ----------
        change : Change or Callable[[Cells], Change]
            A change of the cells as they are, or a gesture that makes one: the gesture sees them after a
            stroke that has not ended is taken up.
        onto : Change or None, optional
            A step that this one goes on with, see `History.do`.

        Returns
        -------
        Change
            The step; false if nothing was done.

        Raises
        ------
        InputError
            The change was made for other cells; nothing is changed then.
        """
        self.settle()
        return self.made(change(self.cells) if callable(change) else change, onto)

    def made(self, change: Change, onto: Change | None = None) -> Change:
        """Make a change without checking whether a stroke has ended; for code that takes up strokes."""
        step = self.history.do(self.cells, change, onto)
        self._show_change(change)
        return step

    def undo(self) -> Change | None:
        """Undo the last gesture, whoever made it; None if there is none."""
        self.settle()
        return self._show_change(self.history.undo(self.cells))

    def redo(self) -> Change | None:
        """Redo the gesture that was undone last; None if there is none."""
        self.settle()
        return self._show_change(self.history.redo(self.cells))

    def show(self, stored: StoredCells, reading: CellImage | None = None) -> None:
        """Show other cells, such as those that a project has; what was done is forgotten.

        Parameters
        ----------
        stored : StoredCells
            Cells of the same image, or of another one of the same size.
        reading : CellImage or None, optional
            How the axes of the other image are read; None if it is the same.

        Raises
        ------
        InputError
            They have another size.
        """
        cells = stored.cells
        if cells.shape != self.cells.shape:
            raise InputError(f'The cells {cells.shape} do not fit "{self.image.name}" {self.cells.shape}.')
        self.settle()
        self.cells, self.entry, self.reading = cells, stored.entry or self.entry, reading or self.reading
        self._colours = stored.colours or self._colours
        self.history.clear()
        self._classes, self._current = {}, 0
        self.searched = set()
        self.estimated = set(cells.regions)  # what was asked about them was asked before
        self._show_all()
        if self.regions is not None:
            self.regions.show()
        self.changed.emit(Change("Show other cells"))

    def follow_regions(self, shapes: Shapes | None) -> None:
        """Take the regions from a Shapes layer, and show them there; None leaves them as they are."""
        if self.regions is not None:
            if self.regions.shapes is shapes:
                return
            self.regions.release()
            self.regions = None
        if shapes is not None:
            self.regions = RegionsLayer(self, shapes)

    def release(self) -> None:
        """Leave the layer to napari again."""
        self.settle()
        self.follow_regions(None)
        self._repainter.close()
        for event, callback in self._followed:
            event.disconnect(callback)
        for name in ("undo", "redo"):
            vars(self.layer).pop(name, None)

    @property
    def certainty(self) -> float:
        """Guesses with a lower score are hidden; they stay in the layer's data."""
        return self.entry.certainty

    @certainty.setter
    def certainty(self, value: float) -> None:
        before = set(hidden(self.cells, self.entry.certainty))
        self.entry.certainty = float(value)
        turned = before ^ set(hidden(self.cells, self.entry.certainty))
        self._show_states(turned)
        self.changed.emit(Change("Hide uncertain guesses"))

    @property
    def current(self) -> int:
        """The guess that a person looks at, 0 for none; it is marked on the canvas."""
        return self._current

    @current.setter
    def current(self, number: int) -> None:
        before, self._current = self._current, number
        self._colours.mark(number)
        self._show_states({before, number})
        if number:
            self.layer.selected_label = number

    def name_classes(self, classes: Mapping[int, str]) -> None:
        """Set the class of cells, if the model knows several."""
        if classes or self._classes:
            self._classes = dict(classes)
            self._show_features()

    def check_regions(self) -> None:
        """Refuse shapes that are not regions.

        Raises
        ------
        InputError
            One of them encloses nothing.
        """
        if self.regions is not None and self.regions.fault:
            raise InputError(self.regions.fault)

    def labels_on_show(self) -> np.ndarray:
        """The label image without the guesses that are hidden, int32; the cells' own memory if none is."""
        unseen = hidden(self.cells, self.certainty)
        return (
            np.where(np.isin(self.cells.labels, unseen), 0, self.cells.labels)
            if unseen
            else self.cells.labels
        )

    # --- where things are -------------------------------------------------------------------------

    def at(self, world: Sequence[float]) -> int:
        """Number of the cell on show at a position in the world, such as `event.position`; 0 for none."""
        return self.visible(self.cells.at(self.position(world)))

    def visible(self, number: int) -> int:
        """The number of a cell, or 0 if it is a guess that is hidden."""
        cell = self.cells.rows.get(number)
        is_hidden = cell is not None and cell.state is State.GUESS and cell.score < self.certainty
        return 0 if is_hidden else number

    def annotated_planes(self) -> list[tuple[int, ...]]:
        """Planes with a cell that a person vouched for, along the axes in front of Y and X."""
        found = set()
        for _, cell in self.cells:
            if cell.state.teaches:
                found |= set(product(*(range(start, stop) for start, stop in cell.box[:-2])))
        return sorted(found)

    def position(self, world: Sequence[float]) -> tuple[float, ...]:
        """A position in the world over the axes of the cells, in pixels."""
        place = dict(zip(self.axes, np.asarray(self.layer.world_to_data(world), float)))
        return tuple(float(place[axis]) for axis in self.reading.result_axes)

    def world(self, position: Sequence[float]) -> tuple[float, ...]:
        """Where a position over the axes of the cells lies in the world."""
        place = dict(zip(self.reading.result_axes, position)) | {"C": 0.0}
        return tuple(float(x) for x in self.layer.data_to_world([place[axis] for axis in self.axes]))

    @property
    def is_bound(self) -> bool:
        """Whether the layer shows these cells, not labels of another size that another tool put there."""
        return np.shares_memory(self.layer.data, self.cells.labels)

    @property
    def axes(self) -> str:
        """The axes of the layer: those of the cells, with the image's order and a channel of length 1."""
        axes = layer_axes(self.reading)
        return axes if self.layer.ndim == len(axes) else self.reading.result_axes

    # --- what comes from the layer ----------------------------------------------------------------

    def settle(self) -> None:
        """Take up what is drawn by now: a stroke whose button is still down, regions."""
        commit = getattr(self.layer, "_commit_staged_history", None)
        if commit is not None and self.layer._staged_history:
            self._is_interrupting = True
            commit()
            self._is_interrupting = False
        self._take_up()
        if self.regions is not None:
            self.regions.take_up()

    def reconcile(self) -> None:
        """Read the rows from the pixels again, after a script set pixels silently.

        What was done before cannot be taken back then. Looks at every pixel: not for each gesture.
        """
        self.settle()
        known = sum(cell.area for cell in self.cells.rows.values())
        if int(np.count_nonzero(self.cells.labels)) == known:
            return
        now = Cells.of(self.cells.labels, State.EDITED, by=By.now()).rows
        rows = self.cells.rows
        changed = {n for n in {*now, *rows} if n not in now or n not in rows or now[n].area != rows[n].area}
        change = Change("Set pixels", rows={n: (rows.get(n), now.get(n)) for n in changed})
        self.history.clear()
        self.cells.apply(change)
        self._show_change(change)

    def _stroke_ended(self, event: Any) -> None:
        steps = [(self._over_result_axes(where), old) for where, old in painted_pixels(event.value)]
        self._strokes += [(where, old) for where, old in steps if where[0].size]
        self._forget_napari_history()
        # napari tells of a stroke of the mouse when it is over, of one by a script before it sets the pixels
        if all((self.cells.labels[where] != old).any() for where, old in self._strokes):
            self._take_up()
        else:
            QTimer.singleShot(0, self._take_up)

    def _take_up(self, event: Any = None) -> None:
        """Turn the strokes that are painted by now into a change."""
        strokes, self._strokes = self._strokes, []
        if strokes:
            box, before = stroke_of(self.cells.labels, strokes)
            change = painted(self.cells, box, before)
            step = self.history.do(self.cells, change, self._open_stroke)
            # the rest of a stroke that was taken up before its end belongs to the same step
            self._open_stroke = step if self._is_interrupting else None
            self._show_change(change, box)
            self._follow_brush(change)

    def _follow_brush(self, change: Change) -> None:
        """Go on with the cell that a stroke began, where it got another number than the brush has."""
        fresh = [n for n, (before, after) in (change.rows or {}).items() if before is None and after]
        if fresh and self.layer.selected_label not in (0, *fresh):
            self.layer.selected_label = fresh[-1]

    def _over_result_axes(self, where: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        place = dict(zip(self.axes, where))
        return tuple(place[axis] for axis in self.reading.result_axes)

    def _data_exchanged(self, event: Any = None) -> None:
        """Another tool put other labels into the layer."""
        if self.is_bound:
            return
        try:
            labels = fitting_labels(self.layer, self.reading)
        except InputError:  # whoever asks for the cells of this image gets the reason
            return
        change = exchanged(self.cells, labels)
        self._show_data()
        self._show_change(self.history.do(self.cells, change))

    def _selected(self, event: Any = None) -> None:
        self.selected.emit()

    def _colours_exchanged(self, event: Any = None) -> None:
        """A person shuffled the colours, or a script set others; the states stay told apart."""
        if self.layer.colormap is not self._colours:
            self._colours = StateColormap.like(self.layer.colormap)
            self._colours.show(self.cells.rows, self.certainty)
            self.layer.colormap = self._colours

    # --- what is shown ----------------------------------------------------------------------------

    def _show_change(self, change: Change | None, box: Box | None = None) -> Change | None:
        """Show a change and tell others of it."""
        if not change:
            if box is not None:
                self._repainter.show(self._layer_slices(box))
            return change
        touched = set(change.touched)
        other = self._colours.show({n: self.cells.rows.get(n) for n in touched}, self.certainty)
        boxes = [patch.box for patch in change.patches] + ([box] if box else [])
        for number in other:
            boxes += [row.box for row in (change.rows or {})[number] if row is not None]
        self._repainter.show(*(self._layer_slices(each) for each in boxes))
        if touched:
            self._show_features()
        if change.regions:
            self.estimated &= set(self.cells.regions)
            if self.regions is not None and self.regions.differ():
                self.regions.show()
        self.changed.emit(change)
        return change

    def _show_states(self, numbers: Iterable[int]) -> None:
        rows = {n: self.cells.rows[n] for n in numbers if n in self.cells.rows}
        self._colours.show(rows, self.certainty)
        self._repainter.show(*(self._layer_slices(row.box) for row in rows.values()))

    def _show_all(self) -> None:
        if not self._colours.is_known:
            self._colours.forget()
            self._colours.show(self.cells.rows, self.certainty)
        with held_back(self.layer):
            self._show_data()
            self.layer.colormap = self._colours
        self._show_features()

    def _show_data(self) -> None:
        """Let the layer hold the memory of the cells."""
        axes = self.axes
        data = to_layer(self.cells.labels, self.reading)
        self.layer.data = data if len(axes) == data.ndim else self.cells.labels
        self._forget_napari_history()

    def _forget_napari_history(self) -> None:
        """Ours is the only undo, and napari's would keep the memory of a hundred strokes."""
        for name in ("_undo_history", "_redo_history"):
            getattr(self.layer, name, []).clear()

    def _show_features(self) -> None:
        self.layer.features = features_of(self.cells, self._classes)

    def _layer_slices(self, box: Box) -> tuple[slice, ...]:
        """A box over the axes of the cells as slices of the layer, a bit larger: edges change as well."""
        larger = clipped([(start - REACH, stop + REACH) for start, stop in box], self.cells.shape)
        place = dict(zip(self.reading.result_axes, slices(larger))) | {"C": slice(0, 1)}
        return tuple(place[axis] for axis in self.axes)
