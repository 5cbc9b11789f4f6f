"""The keys of the gestures as napari actions: users see and change them in napari's shortcuts dialog.

Undo and redo are napari's own actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import show_warning
from psygnal import Signal

from napari_cupre.errors import CupreError

PREFIX = "napari-cupre"


@dataclass(frozen=True)
class Gesture:
    """A gesture that has a key.

    Attributes
    ----------
    keys : tuple[str, ...]
        Default keys; napari does not use them for layers of cells.
    text : str
        Description in the dialog.
    """

    keys: tuple[str, ...]
    text: str


GESTURES = {
    "accept": Gesture(("A",), "accept the marked guess"),
    "accept_all": Gesture(("Shift-A",), "accept all guesses in view"),
    "reject": Gesture(("Delete", "Backspace"), "reject the marked guess"),
    "merge": Gesture(("J",), "merge the cell under the mouse with the last one"),
    "next_guess": Gesture(("Tab",), "next guess, least certain first"),
    "previous_guess": Gesture(("Shift-Tab",), "previous guess"),
    "box": Gesture(("R",), "outline a cell from a box"),
    "click": Gesture(("K",), "outline a cell from a click"),
    "draw": Gesture(("D",), "draw around a cell"),
    "split": Gesture(("S",), "split a cell by a line"),
    "brush": Gesture(("N",), "brush for the next cell"),
    "previous_image": Gesture((",",), "previous image of the queue"),
    "next_image": Gesture((".",), "next image of the queue"),
}

Find = Callable[[Any], "Shortcuts | None"]


class Shortcuts:
    """The keys of one viewer.

    Parameters
    ----------
    find : Callable[[Any], Shortcuts or None]
        Finds the shortcuts of a viewer; napari has one action for all viewers.
    """

    changed = Signal()
    """Emitted when the user chose another key."""

    def __init__(self, find: Find) -> None:
        self._actions: dict[str, Callable[[], object]] = {}
        for name, gesture in GESTURES.items():
            _register(name, gesture, find)
        _key_chosen().connect(self._changed)

    def offer(self, name: str, action: Callable[[], object]) -> None:
        """Register the function of a gesture."""
        self._actions[name] = action

    def do(self, name: str) -> None:
        """Perform a gesture; show an error as napari's notification, because there may be no dock."""
        try:
            if name in self._actions:
                self._actions[name]()
        except CupreError as error:
            show_warning(str(error))

    def close(self) -> None:
        """Forget everything, because the window is closing."""
        _key_chosen().disconnect(self._changed)
        self._actions.clear()

    def _changed(self, event: Any) -> None:
        if str(event.name).startswith(f"{PREFIX}:"):
            self.changed.emit()


def _key_chosen() -> Any:
    """Return napari's event for a changed key; up to 0.8 its name lacks a letter."""
    events = action_manager.events
    return getattr(events, "shortcut_changed", None) or events.shorcut_changed


def has_key(name: str, key: str) -> bool:
    """Whether the gesture has a key now."""
    return coerce_keybinding(key) in map(coerce_keybinding, _keys(name))


def key_of(name: str) -> str:
    """Return the first key of a gesture, such as "Shift-A"; "" if it has none."""
    keys = _keys(name)
    return str(coerce_keybinding(keys[0])).replace("+", "-") if keys else ""


def with_key(text: str, name: str) -> str:
    """Append the key to a text, e.g. "Box (R)"; return the text alone if there is no key."""
    key = key_of(name)
    return f"{text} ({key})" if key else text


def _keys(name: str) -> list[Any]:
    return list(action_manager._shortcuts.get(f"{PREFIX}:{name}", ()))


def _register(name: str, gesture: Gesture, find: Find) -> None:
    """Register a napari action for the first viewer, with the user's keys if any."""
    label = f"{PREFIX}:{name}"
    if label in action_manager._actions:
        return

    def pressed(viewer: Any) -> None:
        found = find(viewer)
        if found is not None:
            found.do(name)

    pressed.__name__ = f"cupre_{name}"
    pressed.__doc__ = f"Cells: {gesture.text} (napari-cupre)."
    action_manager.register_action(label, pressed, f"Cells: {gesture.text} (CUPre)", ViewerModel)
    if label not in get_settings().shortcuts.shortcuts:
        for key in gesture.keys:
            action_manager.bind_shortcut(label, coerce_keybinding(key))
