"""Everything in the docks can be read, reached and understood, in napari's dark and light theme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QPlainTextEdit,
    QProgressBar,
    QTableWidget,
    QTextBrowser,
    QTreeWidget,
    QWidget,
)

from napari_cupre.widgets.controls import MessageLine, primary_button
from napari_cupre.widgets.docking import dock_of, docked
from napari_cupre.widgets.theme import contrast, palette_of, readable
from napari_cupre.widgets.workbench import MORE, WorkbenchWidget

TEXTS = (QLabel, QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QListWidget, QProgressBar)
CONTROLS = (
    *(QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QListWidget, QPlainTextEdit),
    *(QTableWidget, QTreeWidget, QTextBrowser),
)


def all_docks(workbench: Any) -> list[QWidget]:
    """The three docks, and those one level deeper, opened if they are not yet."""
    session = workbench.annotate.session
    strip = docked(session, WorkbenchWidget)
    for kind, _ in MORE:
        if docked(session, kind) is None:
            strip.show_dock(kind)
    return [*(workbench.annotate, workbench.train, workbench.predict), *(docked(session, k) for k, _ in MORE)]


def widgets_of(workbench: Any, kinds: tuple[type, ...]) -> list[QWidget]:
    """What the docks show, without the parts that Qt itself makes for scrolling."""
    docks = all_docks(workbench)
    found = [w for dock in docks for w in dock.widget().findChildren(QWidget) if isinstance(w, kinds)]
    return [widget for widget in found if not widget.objectName().startswith("qt_scroll")]


def drawn_contrast(widget: QWidget) -> float:
    """Contrast of the pixel that stands out most, against the commonest colour."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    size = image.height() * image.width()
    buffer = image.constBits()
    data = bytes(buffer.asarray(4 * size) if hasattr(buffer, "asarray") else buffer)
    pixels = np.frombuffer(data, np.uint8).reshape(size, 4)[:, 2::-1]
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    ground, *others = (tuple(int(part) for part in colours[i]) for i in np.argsort(-counts))
    return max((contrast(ground, colour) for colour in others), default=1.0)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_text_stands_out_from_its_ground(workbench: Any, qtbot: Any, theme: str) -> None:
    workbench.viewer.theme = theme
    for dock in all_docks(workbench):
        for line in dock.findChildren(MessageLine):
            line.show_notice("A notice")
    checked, faint = 0, []
    for dock in all_docks(workbench):
        dock_of(dock).raise_()
        QApplication.processEvents()
        for widget in widgets_of(workbench, TEXTS):
            read = getattr(widget, "currentText", None) or getattr(widget, "text", None)
            has_text = read is None or bool(read())
            if has_text and not isinstance(widget, QCheckBox) and not widget.visibleRegion().isEmpty():
                checked += 1
                if drawn_contrast(widget) < 4.5:
                    faint.append(f"{type(widget).__name__} {widget.toolTip()!r}")
    assert not faint
    assert checked > 25


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_colour_of_the_palette_is_readable(theme: str) -> None:
    p = palette_of(theme)

    def rgb(css: str) -> tuple[int, int, int]:
        return int(css[1:3], 16), int(css[3:5], 16), int(css[5:7], 16)

    on_background = (p.text, p.faint, p.error, p.notice, p.good, p.focus, p.training, p.validation)
    pairs = [(each, p.background) for each in on_background]
    pairs += [(p.text, p.control), (p.button_text, p.button), (p.button_text, p.button_hover)]
    assert min(contrast(rgb(one), rgb(other)) for one, other in pairs) >= 4.5
    assert len(set(on_background)) > 5, "they can be told apart"


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert contrast(readable((128, 128, 128), (128, 128, 128)), (128, 128, 128)) >= 4.5
    assert readable((255, 123, 114), (0, 0, 0)) == (255, 123, 114), "what is readable stays"


def test_the_docks_follow_the_theme_as_it_changes(workbench: Any, qtbot: Any) -> None:
    train = workbench.train
    train._show_curve()
    qtbot.waitUntil(lambda: train.curve._plot is not None)
    styles, grounds = [], []
    for theme in ("dark", "light", "dark"):
        workbench.viewer.theme = theme
        styles.append(train.styleSheet())
        grounds.append(train.curve._plot.backgroundBrush().color().name())
        assert grounds[-1] == palette_of(theme).background
    assert styles[0] == styles[2] != styles[1]


def test_every_control_says_what_it_is(workbench: Any) -> None:
    controls = widgets_of(workbench, CONTROLS)
    assert len(controls) > 25
    poor = []
    for control in controls:
        inside = isinstance(control.parentWidget(), QAbstractSpinBox | QComboBox)
        owner = control.parentWidget() if inside else control
        name = owner.accessibleName() or (owner.text() if isinstance(owner, QAbstractButton) else "")
        if not owner.toolTip() or not name.strip("… ."):
            poor.append(f"{type(owner).__name__} {name!r} {owner.toolTip()!r}")
    assert not poor


def test_the_control_with_the_keyboard_is_framed(workbench: Any, qtbot: Any) -> None:
    button = workbench.annotate.import_button
    window = workbench.viewer.window._qt_window
    window.activateWindow()
    before = button.grab().toImage()
    button.setFocus(Qt.FocusReason.TabFocusReason)
    QApplication.processEvents()
    if not button.hasFocus():
        pytest.skip("this screen has no window manager to give the focus")
    assert button.grab().toImage() != before


def test_a_double_click_starts_and_does_not_stop(qtbot: Any) -> None:
    button = primary_button("Train", "Learn")
    qtbot.addWidget(button)
    button.show()
    clicks: list[int] = []
    button.clicked.connect(lambda: clicks.append(1))
    centre = QPoint(button.width() // 2, button.height() // 2)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton, pos=centre)
    QTest.mouseDClick(button, Qt.MouseButton.LeftButton, pos=centre)  # the second half of it alone
    for _ in range(3):  # somebody impatient
        QTest.qWait(round(QApplication.doubleClickInterval() * 0.6))
        QTest.mouseClick(button, Qt.MouseButton.LeftButton, pos=centre)
    assert len(clicks) == 1
    QTest.qWait(QApplication.doubleClickInterval() + 50)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton, pos=centre)
    assert len(clicks) == 2
    button.click()  # the keyboard, and scripts, are never held back
    assert np.sum(clicks) == 3
