"""Tools for the canvas: *box* and *click* ask the network for an outline, *draw* and *split* do not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_cupre.errors import CupreError, InputError
from napari_cupre.project import gestures
from napari_cupre.project.cells import State
from napari_cupre.service.client import EngineProcess
from napari_cupre.widgets.first_labels import FirstLabels
from napari_cupre.widgets.first_text import FirstText
from napari_cupre.widgets.looking import check_flat
from napari_cupre.widgets.prompting import Prompter
from napari_cupre.widgets.prompts import Answer, Plane
from napari_cupre.widgets.readings import Reading, Readings
from napari_cupre.widgets.rubber import Rubber, canvas_of
from napari_cupre.widgets.session_part import SessionPart

if TYPE_CHECKING:
    from napari_cupre.widgets.cells_layer import CellsLayer
    from napari_cupre.widgets.session import Session


class Tool(StrEnum):
    """What the mouse does on the canvas."""

    BOX = "box"
    CLICK = "click"
    DRAW = "draw"
    SPLIT = "split"

    @property
    def asks(self) -> bool:
        """Whether the tool asks the network."""
        return self in (Tool.BOX, Tool.CLICK)


WHEEL_KEY = "Shift"

STILL = 4
"""A press that moved fewer px than this on the canvas is a click."""

OCCUPIED = "There is already a cell here: Ctrl-click deletes it, and drawing corrects it."

DOUBLE_CLICK_ZOOM = "double_click_to_zoom"


class Tools(SessionPart):
    """The tool in hand, for one viewer.

    Parameters
    ----------
    session : Session
        Of the viewer.
    engine : EngineProcess
        Outlines cells; not the training process.
    """

    changed = Signal()
    """Emitted when another tool is in hand, or the state of the engine changes."""

    told = Signal(str)
    """Emits a sentence about the last action; "" once it no longer applies."""

    def __init__(self, session: Session, engine: EngineProcess) -> None:
        super().__init__(session)
        self.prompter = Prompter(session, engine)
        self.prompter.answered.connect(self._answered)
        self.prompter.changed.connect(self.changed.emit)
        self._tool: Tool | None = None
        self._cells: CellsLayer | None = None
        self._layer: Labels | None = None
        self._rubber: Rubber | None = None
        self._readings = Readings()
        self._again: dict[int, int] = {}
        self._is_cancelled = False
        self._zoomers: list[Any] = []
        self._firsts = FirstLabels(), FirstText(session.viewer)
        self.gui_seconds: list[float] = []
        """Time that each gesture blocked the window, for the benchmark."""
        for tool in Tool:
            session.shortcuts.offer(tool.value, partial(self.toggle, tool))
        session.image_changed.connect(self._image_changed)

    # --- taking and putting down ------------------------------------------------------------------

    @property
    def tool(self) -> Tool | None:
        """The tool in hand."""
        return self._tool

    @property
    def hint(self) -> str:
        """Return how to use the current tool; "" without one."""
        if self._tool is None:
            return ""
        return {
            Tool.BOX: "Drag a box around a cell. A click works too.",
            Tool.CLICK: "Click in a cell. Click again, or Shift-wheel, for a larger or smaller one.",
            Tool.DRAW: "Draw around a cell; it is filled when you let go.",
            Tool.SPLIT: "Draw a line through a cell, from edge to edge.",
        }[self._tool]

    def take(self, tool: Tool) -> None:
        """Take a tool for the chosen image.

        Raises
        ------
        InputError
            There is no image, its cells cannot be annotated, or the window shows it in 3-D.
        """
        session = self._session
        image = session.image_to("annotate")
        check_flat(session.viewer)
        cells = session.make_cells(image)
        self.put_down()
        self._tool, self._cells, self._layer = tool, cells, cells.layer
        session.viewer.layers.selection.active = cells.layer
        session.keeper.expect(cells)
        self._arm(cells.layer)
        if tool.asks:
            self.prompter.follow(image)
        self.told.emit("")
        self.changed.emit()

    def put_down(self) -> None:
        """Let the mouse move the view again."""
        if self._layer is None:
            return
        layer, self._layer = self._layer, None
        self._tool = None
        self._disarm(layer)
        self.prompter.rest()
        self.changed.emit()

    def toggle(self, tool: Tool) -> None:
        """Take a tool, or put it down if it is in hand."""
        if self._tool is tool:
            self.put_down()
        else:
            self.take(tool)

    def close(self) -> None:
        """End the process and forget everything."""
        with contextlib.suppress(Exception):  # the window may be partly deleted
            self.put_down()
            for first in self._firsts:
                first.close()
        self.prompter.close()
        self._readings.forget()

    def forget(self) -> None:
        """Forget the outlines' readings, because a layer shows another image."""
        self._readings.forget()
        self._again.clear()

    def _arm(self, layer: Labels) -> None:
        layer.mode = "pan_zoom"
        layer.mouse_pan = self._tool is Tool.CLICK  # *click* needs no drags, so a drag may move the view
        layer.cursor = "cross"
        layer.mouse_drag_callbacks.append(self._pressed)
        layer.mouse_double_click_callbacks.append(self._double_clicked)
        layer.mouse_move_callbacks.append(self._moved)
        layer.mouse_wheel_callbacks.append(self._wheeled)
        layer.bind_key("Space", self._hold_to_pan, overwrite=True)
        layer.bind_key("Escape", self._escape, overwrite=True)
        viewer = self._session.viewer
        callbacks = viewer.mouse_double_click_callbacks
        self._zoomers = [x for x in callbacks if getattr(x, "__name__", "") == DOUBLE_CLICK_ZOOM]
        for zoomer in self._zoomers:
            callbacks.remove(zoomer)
        layer.events.mode.connect(self._mode_changed)
        viewer.layers.selection.events.active.connect(self._active_changed)

    def _disarm(self, layer: Labels) -> None:
        viewer = self._session.viewer
        layer.events.mode.disconnect(self._mode_changed)
        viewer.layers.selection.events.active.disconnect(self._active_changed)
        for callbacks, callback in (
            (layer.mouse_drag_callbacks, self._pressed),
            (layer.mouse_double_click_callbacks, self._double_clicked),
            (layer.mouse_move_callbacks, self._moved),
            (layer.mouse_wheel_callbacks, self._wheeled),
        ):
            if callback in callbacks:
                callbacks.remove(callback)
        for key in ("Space", "Escape"):
            layer.bind_key(key, None)
        viewer.mouse_double_click_callbacks.extend(self._zoomers)
        self._zoomers = []
        if layer.mode == "pan_zoom":
            layer.mouse_pan = True
            layer.cursor = "standard"
        if self._rubber is not None:
            self._rubber.clear()

    def _mode_changed(self, event: Any = None) -> None:
        """Put our tool down if the user took one of napari's tools."""
        if self._layer is not None and self._layer.mode != "pan_zoom":
            self.put_down()

    def _active_changed(self, event: Any = None) -> None:
        if self._session.viewer.layers.selection.active is not self._layer:
            self.put_down()

    def _image_changed(self, image: Image | None) -> None:
        """Keep the tool in hand when another image is chosen."""
        tool = self._tool
        if tool is None or self._cells is None or self._cells.image is image:
            return
        self.put_down()
        if image is not None:
            with contextlib.suppress(CupreError):
                self.take(tool)

    def _hold_to_pan(self, layer: Labels) -> Iterator[None]:
        """Let the mouse move the view while the key is held."""
        was, layer.mouse_pan = layer.mouse_pan, True
        yield
        if self._layer is not None and self._layer is layer:
            layer.mouse_pan = was

    def _escape(self, layer: Labels) -> None:
        """Cancel the drawing in progress; without one, put the tool down."""
        if self._rubber is not None and not self._rubber.is_empty:
            self._is_cancelled = True
            self._rubber.clear()
        else:
            self.put_down()

    # --- the mouse --------------------------------------------------------------------------------

    def _pressed(self, layer: Labels, event: Any) -> Iterator[None]:
        """Handle a press of the left button until its release; ignore other buttons and keys."""
        is_ours = event.button == 1 and not event.modifiers and layer is self._layer
        if event.handled or not is_ours or self._cells is None or self._is_panning(layer):
            return
        tool, cells, self._is_cancelled = self._tool, self._cells, False
        rubber = self._sheet()
        path, trail = [cells.position(event.position)], [tuple(event.pos)]
        yield
        while event.type == "mouse_move":
            if not self._is_cancelled and tool is not Tool.CLICK:
                path.append(cells.position(event.position))
                trail.append(tuple(event.pos))
                if rubber is not None:
                    _draw(rubber, tool, trail)
            elif tool is Tool.CLICK:
                trail.append(tuple(event.pos))
            yield
        if rubber is not None:
            rubber.clear()
        if self._is_cancelled or event.handled or layer is not self._layer:  # a guess was accepted
            return
        trail.append(tuple(event.pos))
        path.append(cells.position(event.position))
        is_still = all(np.hypot(*np.subtract(each, trail[0])) < STILL for each in trail)
        self._attempt(partial(self._released, tool, cells, path, is_still))

    def _is_panning(self, layer: Labels) -> bool:
        return bool(layer.mouse_pan) and self._tool is not Tool.CLICK

    def _released(
        self, tool: Tool | None, cells: CellsLayer, path: list[tuple[float, ...]], is_still: bool
    ) -> None:
        if tool is Tool.BOX and not is_still:
            self._box(cells, path[0], path[-1])
        elif tool in (Tool.BOX, Tool.CLICK):
            if is_still:
                self._click(cells, path[0])
        elif is_still:
            self.told.emit(self.hint)
        elif tool is Tool.DRAW:
            self._draw(cells, path)
        elif tool is Tool.SPLIT:
            self._split(cells, path)

    def _double_clicked(self, layer: Labels, event: Any) -> None:
        """Handle the second of two quick clicks, which Qt reports as a double click."""
        tool, cells = self._tool, self._cells
        is_ours = event.button == 1 and not event.modifiers and layer is self._layer
        if is_ours and cells is not None and tool is not None and tool.asks:
            self._attempt(partial(self._click, cells, cells.position(event.position)))

    def _moved(self, layer: Labels, event: Any) -> None:
        if self._tool is not None and self._tool.asks and self._cells is not None and not event.buttons:
            y, x = self._cells.position(event.position)[-2:]
            self.prompter.aim((y + 0.5, x + 0.5))

    def _wheeled(self, layer: Labels, event: Any) -> None:
        if WHEEL_KEY in event.modifiers and layer is self._layer:
            turn = float(np.sum(event.delta))  # some systems swap the wheel axis while Shift is held
            if turn:
                event.handled = True
                self._attempt(partial(self.other_reading, 1 if turn > 0 else -1))

    def _attempt(self, action: Callable[[], object]) -> None:
        began = time.perf_counter()
        try:
            self.told.emit("")
            action()
        except CupreError as error:
            self.told.emit(str(error))
        self.gui_seconds.append(time.perf_counter() - began)

    def _sheet(self) -> Rubber | None:
        if self._rubber is None:
            canvas = canvas_of(self._session.viewer)
            self._rubber = None if canvas is None else Rubber(canvas)
        return self._rubber

    # --- by the network ---------------------------------------------------------------------------

    def _box(self, cells: CellsLayer, first: Sequence[float], last: Sequence[float]) -> None:
        (y0, x0), (y1, x1) = first[-2:], last[-2:]
        box = (min(x0, x1) + 0.5, min(y0, y1) + 0.5, max(x0, x1) + 0.5, max(y0, y1) + 0.5)
        height, width = cells.cells.shape[-2:]
        if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
            raise InputError("This box lies outside the image: drag it around a cell.")
        self.prompter.ask(box=box)

    def _click(self, cells: CellsLayer, position: Sequence[float]) -> None:
        y, x = position[-2:]
        height, width = cells.cells.shape[-2:]
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            raise InputError("This click lies outside the image: click in a cell.")
        number = cells.cells.at(position)
        if number and self._readings.choose(cells, number):
            self.other_reading(1)
        elif number and cells.cells.row(number).state is State.EDITED:
            raise InputError(OCCUPIED)
        else:
            asked = self.prompter.ask(point=(y + 0.5, x + 0.5))
            if number and cells.cells.row(number).state is State.CHECKED:
                self._again[asked] = number  # outlined by the network: try another reading

    def other_reading(self, step: int) -> None:
        """Change the outline of the last outlined cell to the next larger one, or smaller with -1.

        Raises
        ------
        InputError
            There is none.
        """
        self._say_which(self._readings.turn(step))

    def _answered(self, answer: Answer) -> None:
        began = time.perf_counter()
        cells = self._cells_of(answer.prompt.plane)
        if answer.refusal or cells is None:
            self.told.emit(answer.refusal)
            return
        try:
            number = self._again.pop(answer.prompt.number, None)
            if number is not None and number not in cells.cells.rows:
                number = None  # the layer is gone by now
            reading = self._readings.first(cells, answer, number)
            if reading is None:
                raise InputError(OCCUPIED)
            self._say_which(reading)
        except CupreError as error:
            self.told.emit(str(error))
        self.gui_seconds.append(time.perf_counter() - began)

    def _cells_of(self, plane: Plane) -> CellsLayer | None:
        session, layer = self._session, plane.layer
        if layer not in session.viewer.layers or session.cell_image(layer).data is not plane.image.data:
            return None  # the layer is gone, or shows another image by now
        return session.cells_of(layer)

    def _say_which(self, reading: Reading) -> None:
        count = len(reading.answer.masks)
        self.told.emit(f"Outline {reading.at + 1} of {count}; click again for another." if count > 1 else "")

    # --- by hand ----------------------------------------------------------------------------------

    def _draw(self, cells: CellsLayer, path: list[tuple[float, ...]]) -> None:
        outline, plane = _flat(path)
        change = cells.do(lambda now: gestures.draw(now, outline, plane))
        if not change:
            self.told.emit("Other cells cover this, or it lies outside the image: nothing was drawn.")

    def _split(self, cells: CellsLayer, path: list[tuple[float, ...]]) -> None:
        line, plane = _flat(path)
        change = cells.do(lambda now: gestures.split(now, line, plane))
        if not change:
            self.told.emit("This line does not divide a cell: draw it right through one, from edge to edge.")


def _draw(rubber: Rubber, tool: Tool | None, trail: list[tuple[float, ...]]) -> None:
    if tool is Tool.BOX:
        rubber.show_box(trail[0], trail[-1])
    else:
        rubber.show_line(trail, is_closed=tool is Tool.DRAW)


def _flat(path: list[tuple[float, ...]]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the points of a path on its plane, and the plane."""
    return np.array([place[-2:] for place in path]), tuple(round(at) for at in path[0][:-2])
