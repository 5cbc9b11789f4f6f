"""What a hand notices: where the keys go, what jumps under the mouse, which choice changes by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QTabBar

from napari_cupre.project.gestures import accept
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import primary_button
from napari_cupre.widgets.help_widget import HelpWidget
from napari_cupre.widgets.rubber import canvas_of
from napari_cupre.widgets.theme import palette_of
from napari_cupre.widgets.tools import Tool

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def annotate(workbench: Any, training_engine: Any, discs: Any) -> Any:
    """The Annotate dock of a window with one image."""
    workbench.viewer.add_image(discs[0], name="field")
    return workbench.annotate


def test_a_press_of_the_mouse_leaves_the_keys_to_the_canvas(annotate: Any, workbench: Any) -> None:
    window, canvas = workbench.viewer.window._qt_window, canvas_of(workbench.viewer)
    button = annotate.tool_row.buttons[Tool.DRAW]
    for _ in range(2):
        QTest.mouseClick(button, LEFT)
        assert window.focusWidget() is canvas, "Tab goes to the next guess, as the dock says"
    annotate.find_row.slider.setFocus()
    canvas.setFocus()
    annotate.find_row.slider.sliderReleased.emit()
    assert window.focusWidget() is canvas
    button.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(button, Qt.Key.Key_Space)
    assert annotate.session.tools.tool is Tool.DRAW
    assert window.focusWidget() is button, "who uses the keyboard stays where they are"


def test_a_button_has_the_keyboard_back_when_it_can_be_pressed_again(qtbot: Any) -> None:
    window, button, other = QMainWindow(), primary_button("Train", "Learn"), primary_button("Else", "Else")
    qtbot.addWidget(window)
    for each in (button, other):
        window.layout().addWidget(each)
    window.show()
    button.setFocus()
    button.setEnabled(False)
    assert window.focusWidget() is other
    button.setEnabled(True)
    assert window.focusWidget() is button
    button.setEnabled(False)
    button.setEnabled(False)
    other.clearFocus()
    button.setEnabled(True)
    assert window.focusWidget() is not button, "somebody went elsewhere meanwhile"


def test_what_a_press_brings_up_is_not_pressed_by_the_same_double_click(qtbot: Any) -> None:
    line, answers = QuestionLine(), []
    qtbot.addWidget(line)

    def answer(text: str) -> None:
        answers.append(text)
        line.ask("And now?", [("Delete", "Delete it", lambda: answers.append("Delete"))])

    line.ask("What?", [("Go on", "Go on", lambda: answer("Go on"))])
    QTest.mouseClick(line.buttons[0], LEFT)
    QTest.mouseClick(line.buttons[0], LEFT)
    assert answers == ["Go on"]
    line.press("Delete")
    assert answers == ["Go on", "Delete"], "the keyboard is never held back"


def test_the_first_cell_leaves_the_certainty_as_it_was(annotate: Any, discs: Any) -> None:
    row = annotate.find_row
    assert row.slider.value() == 45
    cells = annotate.session.make_cells(annotate.session.image)
    cells.do(lambda now: renew_guesses(now, np.where(discs[1] <= 2, discs[1], 0), {1: 0.9, 2: 0.8}))
    assert row.slider.value() == 45
    row.slider.setValue(70)
    cells.do(lambda now: accept(now, [1]))
    assert (row.slider.value(), cells.certainty) == (70, pytest.approx(0.7))


def test_everything_is_annotated_leaves_the_cells_selected(annotate: Any, workbench: Any) -> None:
    annotate.next_cell.click()
    annotate.all_marked.click()
    layers = workbench.viewer.layers
    assert "field regions" in layers
    assert layers.selection.active.name == "field cells", "or no key of the dock would work any more"


def test_the_brush_in_hand_is_seen_and_put_down_by_a_second_press(annotate: Any, workbench: Any) -> None:
    layers, line = workbench.viewer.layers, annotate.tool_row.line
    for button, name, told in (
        (annotate.next_cell, "field cells", "Paint on a cell"),
        (annotate.background, "field background", "Paint where there is no cell"),
        (annotate.region, "field regions", "Drag a rectangle"),
    ):
        assert not button.isChecked()
        button.click()
        assert (layers.selection.active.name, button.isChecked()) == (name, True)
        assert line.text().startswith(told)
        button.click()
        if button is annotate.next_cell:
            assert button.isChecked(), "a second press begins the next cell"
            layers.selection.active.mode = "pan_zoom"
        assert (layers.selection.active.mode, button.isChecked(), line.text()) == ("pan_zoom", False, "")
    annotate.next_cell.click()
    layers["field cells"].mode = "erase"
    assert not annotate.next_cell.isChecked(), "napari's own buttons count as well"
    annotate.next_cell.click()
    annotate.session.tools.take(Tool.SPLIT)
    assert not annotate.next_cell.isChecked()
    layers.clear()
    annotate.attempt(lambda: annotate._take_or_leave("region"))
    assert "no image" in annotate.message.text
    assert not annotate.region.isChecked()


def test_nothing_is_drawn_on_what_is_seen_in_space(annotate: Any, workbench: Any) -> None:
    workbench.viewer.layers.clear()
    workbench.viewer.add_image(np.zeros((4, 30, 40), np.uint8), name="stack")
    annotate.session.set_axes(annotate.session.image, "ZYX")
    workbench.viewer.dims.ndisplay = 3
    buttons = (*annotate.tool_row.buttons.values(), annotate.next_cell, annotate.background, annotate.region)
    for button in (*buttons, annotate.all_marked, annotate.tool_row.size_row.circle):
        annotate.message.clear()
        button.click()
        assert "switch the window to 2D" in annotate.message.text, button.text()
        assert not button.isChecked()
    assert [layer.name for layer in workbench.viewer.layers] == ["stack"]


def test_no_button_moves_while_a_tool_says_what_to_do(annotate: Any) -> None:
    buttons = (annotate.next_cell, annotate.region, *annotate.tool_row.buttons.values())
    for tool in (Tool.DRAW, Tool.SPLIT):
        before = [each.mapTo(annotate, each.rect().topLeft()) for each in buttons]
        annotate.session.tools.take(tool)
        QApplication.processEvents()
        assert annotate.tool_row.line.isVisible()
        assert [each.mapTo(annotate, each.rect().topLeft()) for each in buttons] == before


@pytest.mark.parametrize(
    "path",
    ["/data/2026-11-26 16.47.03.096202.cupre/.pending/.b504707fe92d_of_many.tif", "x" * 90, "C:\\a\\" * 20],
)
def test_a_long_path_in_a_message_cuts_nothing_off(annotate: Any, path: str) -> None:
    sentence = f'"{path}" could not be written: the disk is full.'
    narrowest = annotate.column.minimumSize().width()
    annotate.message.show_error(sentence)
    annotate.save_line.question.ask(sentence, [("Try again", "Save once more", lambda: None)])
    QApplication.processEvents()
    assert (annotate.message.label.text(), annotate.save_line.question.text) == (sentence, sentence)
    assert annotate.column.minimumSize().width() == narrowest
    button = annotate.import_button
    right = button.mapTo(annotate.viewport(), button.rect().topRight()).x()
    assert right < annotate.viewport().width()


def test_only_long_words_without_marks_are_broken(qtbot: Any) -> None:
    for text in ("<b>found&nbsp;by&nbsp;both&nbsp;of&nbsp;them</b> 12", "12 cells in 3 images"):
        label = caption(text)
        qtbot.addWidget(label)
        assert QLabel.text(label) == label.text() == text


def test_an_empty_dock_has_no_empty_row(workbench: Any, annotate: Any) -> None:
    assert annotate.status.isVisible()
    workbench.viewer.layers.clear()
    assert not annotate.status.isVisible()


def test_the_names_of_all_docks_can_be_read_on_their_tabs(workbench: Any, qtbot: Any) -> None:
    window = workbench.viewer.window._qt_window
    for name in ("Results", "Compare", "Models", "Help"):
        workbench.viewer.window.add_plugin_dock_widget("napari-cupre", name)

    def room() -> int:
        (bar,) = [each for each in window.findChildren(QTabBar) if each.count() == 7]
        return bar.width() - sum(bar.tabRect(place).width() for place in range(7))

    qtbot.waitUntil(lambda: any(bar.count() == 7 for bar in window.findChildren(QTabBar)), timeout=30_000)
    qtbot.waitUntil(lambda: room() >= 0, timeout=5_000)
    (bar,) = [each for each in window.findChildren(QTabBar) if each.count() == 7]
    for place in range(7):
        words = bar.fontMetrics().horizontalAdvance(bar.tabText(place))
        assert bar.tabRect(place).width() >= words, bar.tabText(place)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_links_of_the_help_are_readable_and_its_lines_break(workbench: Any, theme: str) -> None:
    viewer = workbench.viewer
    viewer.window.add_plugin_dock_widget("napari-cupre", "Help")
    (help_dock,) = [each for each in QApplication.allWidgets() if type(each) is HelpWidget]
    viewer.theme = theme
    help_dock.show_page("how-to/own-images.md")
    colours, block = set(), help_dock.text.document().begin()
    while block.isValid():
        assert not block.blockFormat().nonBreakableLines()
        spans = [each.format for each in block.textFormats() if each.format.isAnchor()]
        colours |= {each.foreground().color().name() for each in spans}
        block = block.next()
    assert colours == {QColor(palette_of(theme).focus).name()}
