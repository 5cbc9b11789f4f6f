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

SHOW_OTHERS = "Show other cells"


@dataclass(frozen=True)
class StoredCells:
    """Cells to show in a layer.

    Attributes
    ----------
    cells : Cells
        The cells of one image.
    entry : ProjectImage or None
        What their project knows about the image.
    colours : StateColormap or None
        Their colours, if they were computed already.
    """

    cells: Cells
    entry: ProjectImage | None = None
    colours: StateColormap | None = None


class CellsLayer:
    """The cells of an image as a person sees and changes them.

    `layer.data` is a view of `cells.labels`. Changes are made through `do`, or are taken up from
    the layer: strokes of napari's brush, eraser, bucket and polygon, and labels that another tool exchanges.

    Parameters
    ----------
    image : napari.layers.Image
        The image that contains the cells.
    reading : CellImage
        How its axes are read.
    layer : napari.layers.Labels
        Holds the labels; its data are converted to int32.
    stored : StoredCells or None, optional
        What to show; by default the content of the layer, in the states given by its features. Cells without
        features are a person's, unless the layer is a result of ours.

    Attributes
    ----------
    cells : Cells
        Over `reading.result_axes`: T and Z in front, Y and X.
    history : History
        The gestures that can be undone.

    Raises
    ------
    InputError
        The layer does not fit the image, is a pyramid, or looks like a picture.
    """

    changed = Signal(object)
    """Emits each `Change` that was made, undone or redone; the layer already shows it."""

    selected = Signal()
    """Emitted when another label is selected, e.g. by a click on a row of napari's features table."""

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
        """Planes in which a model has looked for cells."""
        self.estimated: set[Region] = set()
        """Regions in which likely cells were searched for by brightness."""
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

    # --- changes ---------------------------------------------------------------------------------

    def do(self, change: Change | Gesture, onto: Change | None = None) -> Change:
        """Make a change, as one step of undo.

        Parameters
        ----------
        change : Change or Callable[[Cells], Change]
            A change of the present cells, or a gesture that returns one: the gesture sees the cells after a
            stroke that has not ended is taken up.
        onto : Change or None, optional
            A step that this change continues, see `History.do`.

        Returns
        -------
        Change
            The step; false if nothing was done.

        Raises
        ------
        InputError
            The change was computed for other cells; nothing is changed.
        """
        self.settle()
        return self.made(change(self.cells) if callable(change) else change, onto)

    def made(self, change: Change, onto: Change | None = None) -> Change:
        """Make a change without first taking up an unfinished stroke; for the code that takes up strokes."""
        step = self.history.do(self.cells, change, onto)
        self._show_change(change)
        return step

    def undo(self) -> Change | None:
        """Undo the last gesture, whoever made it; return None if there is none."""
        self.settle()
        return self._show_change(self.history.undo(self.cells))

    def redo(self) -> Change | None:
        """Redo the gesture that was undone last; return None if there is none."""
        self.settle()
        return self._show_change(self.history.redo(self.cells))

    def show(self, stored: StoredCells, reading: CellImage | None = None) -> None:
        """Show other cells, such as those stored in a project, and clear the history.

        Parameters
        ----------
        stored : StoredCells
            Cells of the same image, or of another one.
        reading : CellImage or None, optional
            How the axes of the other image are read; None for the same image.

        Raises
        ------
        InputError
            The cells have another size.
        """
        cells = stored.cells
        wanted = (reading or self.reading).result_shape
        if cells.shape != wanted:
            raise InputError(f'The cells {cells.shape} do not fit "{self.image.name}" {wanted}.')
        self.settle()
        self.cells, self.entry, self.reading = cells, stored.entry or self.entry, reading or self.reading
        self._colours = stored.colours or self._colours
        self.history.clear()
        self._classes, self._current = {}, 0
        self.searched = set()
        self.estimated = set(cells.regions)  # questions about these cells were asked before
        self._show_all()
        if self.regions is not None:
            self.regions.show()
        self.changed.emit(Change(SHOW_OTHERS))

    def follow_regions(self, shapes: Shapes | None) -> None:
        """Take the regions from a Shapes layer and show them there; None leaves the regions as they are."""
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
        """Minimum score of visible guesses; hidden guesses stay in the layer's data."""
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
        """The guess that the user is looking at, 0 for none; it is marked on the canvas."""
        return self._current

    @current.setter
    def current(self, number: int) -> None:
        before, self._current = self._current, number
        self._colours.mark(number)
        self._show_states({before, number})
        if number:
            self.layer.selected_label = number

    def name_classes(self, classes: Mapping[int, str]) -> None:
        """Set the classes of cells, if the model knows several."""
        if classes or self._classes:
            self._classes = dict(classes)
            self._show_features()

    def check_regions(self) -> None:
        """Raise if a shape is not a region.

        Raises
        ------
        InputError
            A shape encloses no area.
        """
        if self.regions is not None and self.regions.fault:
            raise InputError(self.regions.fault)

    def labels_on_show(self) -> np.ndarray:
        """Return the int32 label image without hidden guesses; the cells' own array if nothing is hidden."""
        unseen = hidden(self.cells, self.certainty)
        return (
            np.where(np.isin(self.cells.labels, unseen), 0, self.cells.labels)
            if unseen
            else self.cells.labels
        )

    # --- positions -------------------------------------------------------------------------------

    def at(self, world: Sequence[float]) -> int:
        """Return the number of the visible cell at a world position, such as `event.position`; 0 for none."""
        return self.visible(self.cells.at(self.position(world)))

    def visible(self, number: int) -> int:
        """Return the number of a cell, or 0 if it is a hidden guess."""
        cell = self.cells.rows.get(number)
        is_hidden = cell is not None and cell.state is State.GUESS and cell.score < self.certainty
        return 0 if is_hidden else number

    def annotated_planes(self) -> list[tuple[int, ...]]:
        """Return the planes with a checked or edited cell, as positions on the axes in front of Y and X."""
        found = set()
        for _, cell in self.cells:
            if cell.state.teaches:
                found |= set(product(*(range(start, stop) for start, stop in cell.box[:-2])))
        return sorted(found)

    def position(self, world: Sequence[float]) -> tuple[float, ...]:
        """Convert a world position to pixels over the axes of the cells."""
        place = dict(zip(self.axes, np.asarray(self.layer.world_to_data(world), float)))
        return tuple(float(place[axis]) for axis in self.reading.result_axes)

    def world(self, position: Sequence[float]) -> tuple[float, ...]:
        """Convert a position over the axes of the cells to world coordinates."""
        place = dict(zip(self.reading.result_axes, position)) | {"C": 0.0}
        return tuple(float(x) for x in self.layer.data_to_world([place[axis] for axis in self.axes]))

    @property
    def is_bound(self) -> bool:
        """Whether the layer shows these cells, not labels of another size put there by another tool."""
        return np.shares_memory(self.layer.data, self.cells.labels)

    @property
    def axes(self) -> str:
        """Return the layer's axes: those of the cells in the image's order, with a channel of length 1."""
        axes = layer_axes(self.reading)
        return axes if self.layer.ndim == len(axes) else self.reading.result_axes

    # --- input from the layer --------------------------------------------------------------------

    def settle(self) -> None:
        """Take up what has been drawn so far: regions, and a stroke whose button is still down."""
        commit = getattr(self.layer, "_commit_staged_history", None)
        if commit is not None and self.layer._staged_history:
            self._is_interrupting = True
            commit()
            self._is_interrupting = False
        self._take_up()
        if self.regions is not None:
            self.regions.take_up()

    def reconcile(self) -> None:
        """Rebuild the table of cells from the pixels, after a script set pixels without an event.

        Earlier steps can then no longer be undone. This looks at every pixel, so do not call it per gesture.
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
        # napari emits the event after a mouse stroke, but before a script's call sets the pixels
        if all((self.cells.labels[where] != old).any() for where, old in self._strokes):
            self._take_up()
        else:
            QTimer.singleShot(0, self._take_up)

    def _take_up(self, event: Any = None) -> None:
        """Turn the strokes painted so far into a change."""
        strokes, self._strokes = self._strokes, []
        if strokes:
            box, before = stroke_of(self.cells.labels, strokes)
            change = painted(self.cells, box, before)
            step = self.history.do(self.cells, change, self._open_stroke)
            # the rest of a stroke that was taken up early belongs to the same undo step
            self._open_stroke = step if self._is_interrupting else None
            self._show_change(change, box)
            self._follow_brush(change)

    def _follow_brush(self, change: Change) -> None:
        """Let the brush continue the cell that a stroke began, if that cell got another number."""
        fresh = [n for n, (before, after) in (change.rows or {}).items() if before is None and after]
        if fresh and self.layer.selected_label not in (0, *fresh):
            self.layer.selected_label = fresh[-1]

    def _over_result_axes(self, where: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        place = dict(zip(self.axes, where))
        return tuple(place[axis] for axis in self.reading.result_axes)

    def _data_exchanged(self, event: Any = None) -> None:
        """Handle labels that another tool put into the layer."""
        if self.is_bound:
            return
        try:
            labels = fitting_labels(self.layer, self.reading)
        except InputError:  # the session gives this reason to anyone who asks for the cells of this image
            return
        change = exchanged(self.cells, labels)
        self._show_data()
        self._show_change(self.history.do(self.cells, change))

    def _selected(self, event: Any = None) -> None:
        self.selected.emit()

    def _colours_exchanged(self, event: Any = None) -> None:
        """Keep the states distinguishable after the colours were shuffled or replaced."""
        if self.layer.colormap is not self._colours:
            self._colours = StateColormap.like(self.layer.colormap)
            self._colours.show(self.cells.rows, self.certainty)
            self.layer.colormap = self._colours

    # --- display ---------------------------------------------------------------------------------

    def _show_change(self, change: Change | None, box: Box | None = None) -> Change | None:
        """Show a change and notify listeners."""
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
        """Make the layer share the memory of the cells."""
        axes = self.axes
        data = to_layer(self.cells.labels, self.reading)
        self.layer.data = data if len(axes) == data.ndim else self.cells.labels
        self._forget_napari_history()

    def _forget_napari_history(self) -> None:
        """Clear napari's own history: we provide undo, and napari would keep a hundred strokes in memory."""
        for name in ("_undo_history", "_redo_history"):
            getattr(self.layer, name, []).clear()

    def _show_features(self) -> None:
        self.layer.features = features_of(self.cells, self._classes)

    def _layer_slices(self, box: Box) -> tuple[slice, ...]:
        """Convert a box over the axes of the cells to slices of the layer, a bit larger to include edges."""
        larger = clipped([(start - REACH, stop + REACH) for start, stop in box], self.cells.shape)
        place = dict(zip(self.reading.result_axes, slices(larger))) | {"C": slice(0, 1)}
        return tuple(place[axis] for axis in self.axes)
