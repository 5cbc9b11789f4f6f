"""Every way into the plugin, as napari offers it: menus, scripts, the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_cupre.widgets.annotate_widget import AnnotateWidget
from napari_cupre.widgets.compare_widget import CompareWidget
from napari_cupre.widgets.docking import DockedWidget, dock_of, docked
from napari_cupre.widgets.help_widget import HelpWidget
from napari_cupre.widgets.models_widget import ModelsWidget
from napari_cupre.widgets.predict_widget import PredictWidget
from napari_cupre.widgets.results_widget import ResultsWidget
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.train_widget import TrainWidget
from napari_cupre.widgets.workbench import WorkbenchWidget

PLUGIN = "napari-cupre"
KINDS: dict[str, type[DockedWidget]] = {
    "Annotate": AnnotateWidget,
    "Train": TrainWidget,
    "Predict": PredictWidget,
}
DEEPER: dict[str, type[DockedWidget]] = {
    "Results": ResultsWidget,
    "Compare": CompareWidget,
    "Models": ModelsWidget,
    "Help": HelpWidget,
}
"""One level deeper: the strip has them under More."""


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any]) -> Any:
    """An empty window, as it is when napari starts."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 720)
    return viewer


def docked_widgets(viewer: Any) -> list[DockedWidget]:
    """All of our widgets that are docked in a window, hidden ones as well."""
    session = Session.of(viewer)
    widgets = [widget for widget in QApplication.allWidgets() if isinstance(widget, DockedWidget)]
    return [widget for widget in widgets if widget.session is session and dock_of(widget) is not None]


def wait_for_docks(viewer: Any, qtbot: Any, kinds: list[type[DockedWidget]]) -> None:
    """Until each of the widgets is open in one dock, and no other."""

    def is_there() -> bool:
        widgets = docked_widgets(viewer)
        names = sorted(type(widget).__name__ for widget in widgets)
        are_open = all(widget.is_settled and dock_of(widget).isVisible() for widget in widgets)
        return are_open and names == sorted(kind.__name__ for kind in kinds)

    qtbot.waitUntil(is_there, timeout=60_000)


def menu_actions(viewer: Any, menu: Any) -> dict[str, Any]:
    """All actions of a menu of the window and of the menus in it, by their text."""
    found = {}
    menu.aboutToShow.emit()
    for action in menu.actions():
        if action.menu() is not None:
            found |= menu_actions(viewer, action.menu())
        else:
            found[action.text()] = action
    return found


@pytest.mark.parametrize("name", [*KINDS, *DEEPER])
def test_a_script_opens_a_dock_by_its_name(window: Any, qtbot: Any, name: str) -> None:
    kind = (KINDS | DEEPER)[name]
    _, widget = window.window.add_plugin_dock_widget(PLUGIN, name)
    assert isinstance(widget, kind)
    wait_for_docks(window, qtbot, [kind])
    assert widget.session is Session.of(window)


def test_a_script_that_gives_no_name_opens_the_workbench(window: Any, qtbot: Any) -> None:
    window.window.add_plugin_dock_widget(PLUGIN)
    assert all(docked(Session.of(window), kind) is not None for kind in KINDS.values()), "at once"
    wait_for_docks(window, qtbot, [WorkbenchWidget, *KINDS.values()])
    window.window.add_plugin_dock_widget(PLUGIN)
    wait_for_docks(window, qtbot, [WorkbenchWidget, *KINDS.values()])


@pytest.mark.parametrize("name", [*KINDS, *DEEPER, "Workbench"])
def test_the_plugins_menu_opens_a_dock(window: Any, qtbot: Any, name: str) -> None:
    kinds = [WorkbenchWidget, *KINDS.values()] if name == "Workbench" else [(KINDS | DEEPER)[name]]
    actions = menu_actions(window, window.window.plugins_menu)
    (action,) = (each for text, each in actions.items() if text.startswith(name + " ("))
    action.trigger()
    wait_for_docks(window, qtbot, kinds)


@pytest.mark.parametrize(
    ("submenu", "name"),
    [
        ("Annotate", "Annotate"),
        ("Segment", "Train"),
        ("Segment", "Predict"),
        ("Measure", "Results"),
        ("Measure", "Compare"),
    ],
)
def test_the_layers_menu_opens_a_dock(window: Any, qtbot: Any, submenu: str, name: str) -> None:
    from app_model.backends.qt import QModelSubmenu

    (menu,) = (
        action.menu()
        for action in window.window.layers_menu.actions()
        if isinstance(action.menu(), QModelSubmenu) and action.text() == submenu
    )
    actions = menu_actions(window, menu)
    (action,) = (each for text, each in actions.items() if text.startswith(name + " ("))
    action.trigger()
    wait_for_docks(window, qtbot, [(KINDS | DEEPER)[name]])


@pytest.mark.parametrize("arguments", [[], ["__all__"], ["Annotate", "Train", "Predict"]])
def test_the_command_line_opens_the_whole_workbench(
    make_napari_viewer: Callable[..., Any], qtbot: Any, arguments: list[str]
) -> None:
    """`napari -w napari-cupre`; napari's own function is run, up to where it would wait for the user."""
    import napari
    from napari import __main__ as command

    viewers: list[Any] = []

    def make_viewer(**options: Any) -> Any:
        viewers.append(make_napari_viewer(**options))
        return viewers[-1]

    argv = ["napari", "-w", PLUGIN, *arguments]
    with (
        patch.object(sys, "argv", argv),
        patch.object(command, "Viewer", make_viewer, create=True),
        patch.object(napari, "Viewer", make_viewer),
        patch.object(napari, "run", lambda **_: None),
    ):
        command._run()
    (viewer,) = viewers
    strip = [] if len(arguments) == 3 else [WorkbenchWidget]
    deeper = list(DEEPER.values()) if arguments == ["__all__"] else []
    kinds: list[type[DockedWidget]] = [*strip, *KINDS.values(), *deeper]
    wait_for_docks(viewer, qtbot, kinds)
    assert deeper or docked(Session.of(viewer), AnnotateWidget).visibleRegion().isEmpty() is False, "in front"


def test_a_window_that_the_docks_made_too_large_fits_the_screen(window: Any, qtbot: Any) -> None:
    """So it is at the first start, for which napari knows no size yet."""
    frame = window.window._qt_window
    room = frame.screen().availableGeometry()
    frame.resize(room.width() + 157, room.height() + 20)
    window.window.add_plugin_dock_widget(PLUGIN, "Annotate")
    qtbot.waitUntil(lambda: room.contains(frame.frameGeometry()), timeout=60_000)


def test_a_window_that_fits_stays_as_it_is(window: Any, qtbot: Any) -> None:
    frame = window.window._qt_window
    frame.resize(1000, 640)
    frame.move(-50, 30)
    _, widget = window.window.add_plugin_dock_widget(PLUGIN, "Annotate")
    qtbot.waitUntil(lambda: widget.is_settled, timeout=60_000)
    qtbot.waitUntil(lambda: not widget._fitting.isActive(), timeout=60_000)
    assert (frame.width(), frame.height(), frame.x(), frame.y()) == (1000, 640, -50, 30)


def test_the_docks_are_tabs_below_the_strip(workbench: Any, qtbot: Any) -> None:
    docks = [dock_of(widget) for widget in (workbench.annotate, workbench.train, workbench.predict)]
    window = docks[0].parentWidget()
    assert set(window.tabifiedDockWidgets(docks[0])) == set(docks[1:])
    assert [dock.windowTitle() for dock in docks] == ["Annotate", "Train", "Predict"]
    strip = docked(workbench.annotate.session, WorkbenchWidget)
    assert strip.height() < 60
    assert strip.mapToGlobal(strip.pos()).y() < docks[0].mapToGlobal(docks[0].pos()).y()
    assert window.height() <= 720


def test_the_strip_leads_to_each_dock_and_opens_a_closed_one_again(workbench: Any, qtbot: Any) -> None:
    session = workbench.annotate.session
    strip = docked(session, WorkbenchWidget)
    strip.buttons[TrainWidget].click()
    qtbot.waitUntil(lambda: not workbench.train.visibleRegion().isEmpty(), timeout=60_000)
    assert [button.isChecked() for button in strip.buttons.values()] == [False, True, False]
    workbench.viewer.window.remove_dock_widget(dock_of(workbench.predict))
    workbench.predict.deleteLater()
    strip.buttons[PredictWidget].click()
    wait_for_docks(workbench.viewer, qtbot, [WorkbenchWidget, *KINDS.values()])


def test_a_dock_that_is_opened_again_is_a_tab_of_the_others(workbench: Any, qtbot: Any) -> None:
    session = workbench.annotate.session
    train = dock_of(workbench.train)
    train.raise_()
    qtbot.waitUntil(lambda: not workbench.train.visibleRegion().isEmpty(), timeout=60_000)
    workbench.viewer.window.remove_dock_widget(train)
    workbench.train.deleteLater()
    docked(session, WorkbenchWidget).buttons[TrainWidget].click()
    wait_for_docks(workbench.viewer, qtbot, [WorkbenchWidget, *KINDS.values()])
    beside = dock_of(workbench.annotate)
    assert dock_of(docked(session, TrainWidget)) in beside.parentWidget().tabifiedDockWidgets(beside)


def test_the_strip_leads_one_level_deeper_and_doubles_nothing(workbench: Any, qtbot: Any) -> None:
    session = workbench.annotate.session
    actions = {action.text(): action for action in docked(session, WorkbenchWidget).more.menu().actions()}
    assert list(actions) == list(DEEPER)
    everyday: list[type[DockedWidget]] = [WorkbenchWidget, *KINDS.values()]
    for _ in range(2):
        actions["Models"].trigger()
        wait_for_docks(workbench.viewer, qtbot, [*everyday, ModelsWidget])
    models = dock_of(docked(session, ModelsWidget))
    window = models.parentWidget()
    assert dock_of(workbench.annotate) in window.tabifiedDockWidgets(models), "a tab of the others"
    assert not docked(session, ModelsWidget).visibleRegion().isEmpty(), "in front"


def test_every_dock_has_a_button_that_shows_its_page(workbench: Any, qtbot: Any) -> None:
    session = workbench.annotate.session
    strip = docked(session, WorkbenchWidget)
    for kind in (ResultsWidget, CompareWidget, ModelsWidget):
        strip.show_dock(kind)
    for kind, start in (
        (AnnotateWidget, "Annotate in seconds"),
        (TrainWidget, "Train on your own images"),
        (PredictWidget, "Find every cell"),
        (ResultsWidget, "One table of all images"),
        (CompareWidget, "Compare and evaluate"),
        (ModelsWidget, "Keep, share and delete models"),
    ):
        (button,) = docked(session, kind).findChildren(QPushButton, "help")
        button.click()
        page = docked(session, HelpWidget)
        assert page.text.toPlainText().startswith(start)
        assert "![" not in page.text.toPlainText()
    qtbot.waitUntil(lambda: not page.visibleRegion().isEmpty(), timeout=60_000)


def test_a_second_door_to_help_shows_the_same_page(window: Any, qtbot: Any) -> None:
    _, first = window.window.add_plugin_dock_widget(PLUGIN, "Help")
    wait_for_docks(window, qtbot, [HelpWidget])
    first.show_dock_page("Models")
    actions = menu_actions(window, window.window.plugins_menu)
    (action,) = (each for text, each in actions.items() if text.startswith("Help ("))
    action.trigger()
    qtbot.waitUntil(lambda: docked(Session.of(window), HelpWidget) is not first, timeout=60_000)
    wait_for_docks(window, qtbot, [HelpWidget])
    assert docked(Session.of(window), HelpWidget).page == "how-to/models.md"


@pytest.mark.parametrize("name", KINDS)
def test_a_second_door_to_the_same_dock_doubles_nothing(window: Any, qtbot: Any, name: str) -> None:
    """napari names a dock differently when a menu opens it and when a script does."""
    _, first = window.window.add_plugin_dock_widget(PLUGIN, name)
    wait_for_docks(window, qtbot, [KINDS[name]])
    if name == "Train":
        first.minutes.setValue(7.5)
    actions = menu_actions(window, window.window.plugins_menu)
    (action,) = (each for text, each in actions.items() if text.startswith(name + " ("))
    action.trigger()
    qtbot.waitUntil(lambda: docked(Session.of(window), KINDS[name]) is not first, timeout=60_000)
    wait_for_docks(window, qtbot, [KINDS[name]])
    second = docked(Session.of(window), KINDS[name])
    if name == "Train":
        assert second.minutes.value() == 7.5, "what was chosen stays chosen"
    action.trigger()  # napari's own: an open dock is hidden
    assert not dock_of(second).isVisible()
    action.trigger()
    wait_for_docks(window, qtbot, [KINDS[name]])


def test_the_workbench_takes_up_docks_that_are_open(window: Any, qtbot: Any) -> None:
    _, train = window.window.add_plugin_dock_widget(PLUGIN, "Train")
    wait_for_docks(window, qtbot, [TrainWidget])
    window.window.add_plugin_dock_widget(PLUGIN)
    wait_for_docks(window, qtbot, [WorkbenchWidget, *KINDS.values()])
    assert docked(Session.of(window), TrainWidget) is train
