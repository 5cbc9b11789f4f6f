"""A question in a dock: one line with buttons. Nobody has to answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QElapsedTimer, Qt
from qtpy.QtWidgets import QWidget

from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.steady_button import SteadyButton

Answer = tuple[str, str, Callable[[], object]]
"""Text, tooltip and action of a button."""


class QuestionLine(QWidget):
    """One question at a time, with a button for each answer; takes no space without a question."""

    def __init__(self) -> None:
        super().__init__()
        self.label = caption(role="notice")
        self.buttons: list[SteadyButton] = []
        self._clicks = QElapsedTimer()
        self._key: object = None
        self._row = in_row()
        in_column(self.label, self._row, within=self)
        self.clear()

    @property
    def text(self) -> str:
        """Return the question; "" if there is none."""
        return self.label.text()

    def ask(self, sentence: str, answers: Sequence[Answer], key: object = None) -> None:
        """Show a question in place of the last one.

        Parameters
        ----------
        sentence : str
            The question.
        answers : sequence of Answer
            The buttons, the likeliest first.
        key : object, optional
            Identifies the question: if the same one is asked again, the buttons stay as they are,
            since one of them may be under the mouse.
        """
        if key is not None and key == self._key and sentence == self.text:
            return
        self.clear()
        self._key = key
        self.label.setText(sentence)
        for text, tooltip, action in answers:
            button = SteadyButton(text, self._clicks)
            # a pressed button disappears, so a click must leave the keyboard with the canvas
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setToolTip(tooltip)
            button.setAccessibleName(f"{text}: {sentence}")
            button.clicked.connect(lambda _=False, action=action: action())
            self._row.addWidget(button)
            self.buttons.append(button)
        self.show()

    def clear(self) -> None:
        """Remove the question."""
        self._key = None
        self.label.setText("")
        for button in self.buttons:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.buttons = []
        self.hide()

    def press(self, text: str) -> None:
        """Press the button with this text."""
        next(button for button in self.buttons if button.text() == text).click()
