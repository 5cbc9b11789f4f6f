"""Keys of the gestures are napari's: listed in its dialog, changed there, and none of its own is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mouse import Mouse
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt

from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.shortcuts import GESTURES, PREFIX, has_key
from napari_cupre.widgets.tools import Tool

WAIT = 60_000
pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture
def kept_keys(workbench: Any) -> Iterator[Any]:
    """The keys are those of the whole process, and are as before when the test is over."""
    before = {name: list(action_manager._shortcuts[f"{PREFIX}:{name}"]) for name in GESTURES}
    yield workbench
    for name, keys in before.items():
        choose(name, *keys)


def choose(name: str, *keys: Any) -> None:
    """As napari's dialog does it."""
    action_manager.unbind_shortcut(f"{PREFIX}:{name}")
    for key in keys:
        action_manager.bind_shortcut(f"{PREFIX}:{name}", coerce_keybinding(key))


def test_no_key_of_the_window_or_of_labels_is_taken() -> None:
    groups = ("Labels", "Image", "Viewer", "viewer", "labels", "image")
    theirs = {
        coerce_keybinding(key)
        for name, keys in default_shortcuts.items()
        if any(group in action_manager._actions[name].keymapprovider.__name__ for group in groups)
        for key in keys
        if name in action_manager._actions and action_manager._actions[name].keymapprovider
    }
    assert theirs
    ours = {coerce_keybinding(key) for gesture in GESTURES.values() for key in gesture.keys}
    assert not theirs & ours


def test_the_dialog_lists_the_gestures(workbench: Any, qtbot: Any) -> None:
    from napari._qt.widgets.qt_keyboard_settings import ShortcutEditor

    editor = ShortcutEditor()
    qtbot.addWidget(editor)
    listed = editor.key_bindings_strs[ShortcutEditor.VIEWER_KEYBINDINGS]
    for name, gesture in GESTURES.items():
        assert gesture.text in listed[f"{PREFIX}:{name}"].description


def test_another_key_works_and_is_named_in_the_dock(kept_keys: Any, qtbot: Any) -> None:
    viewer, annotate = kept_keys.viewer, kept_keys.annotate
    session = annotate.session
    session.image = viewer.add_image(np.zeros((60, 80), np.uint8), name="field")
    cells = session.make_cells(session.image)
    found = np.zeros((60, 80), np.int32)
    found[10:20, 10:20], found[30:40, 30:40] = 1, 2
    cells.do(renew_guesses(cells.cells, found, [0.3, 0.9]))
    viewer.layers.selection.active = cells.layer
    mouse = Mouse(viewer)
    qtbot.waitUntil(lambda: mouse.canvas.isVisible(), timeout=WAIT)
    button = annotate.tool_row.buttons[Tool.DRAW]
    assert button.text() == "Draw (D)"
    choose("draw", "W")
    choose("next_guess", "H")
    assert button.text() == "Draw (W)"
    assert "H: next guess" in annotate.hint.text()
    mouse.key(Qt.Key.Key_D)
    assert session.tools.tool is None
    mouse.key(Qt.Key.Key_W)
    assert session.tools.tool is Tool.DRAW
    mouse.key(Qt.Key.Key_W)
    mouse.key(Qt.Key.Key_Tab)
    assert cells.current == 0
    mouse.key(Qt.Key.Key_H)
    assert cells.current == 1
    choose("draw")
    assert button.text() == "Draw"
    assert not has_key("draw", "W")
