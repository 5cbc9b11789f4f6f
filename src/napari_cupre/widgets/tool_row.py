"""The row of tools in the Annotate dock, with a line that says what to do or to wait for."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QPushButton

from napari_cupre.widgets.annotation_layers import refusal
from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import DockPart, SessionWidget
from napari_cupre.widgets.shortcuts import key_of, with_key
from napari_cupre.widgets.size_row import SizeRow
from napari_cupre.widgets.theme import set_role
from napari_cupre.widgets.tools import Tool

TICK_MS = 500

TOOLTIPS = {
    Tool.BOX: "Drag a box around a cell to outline it",
    Tool.CLICK: "Click in a cell to outline it; click again for a larger or smaller outline",
    Tool.DRAW: "Draw around a cell; it is filled when you release the mouse",
    Tool.SPLIT: "Draw a line through a cell to split it in two",
}
CIRCLE_TOLD = (
    "Drag the edge of the circle to the size of a cell, its middle to move it. Press again to hide it."
)


class ToolRow(DockPart):
    """One button for each tool; `line` says what to do, and its length does not move the buttons."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._tools = owner.session.tools
        self.buttons = {tool: self._button(tool) for tool in Tool}
        self.line = caption()
        self.line.setAccessibleName("What to do with the tool")
        self._told = self._brush = ""
        self._clock = QTimer(self)
        self._clock.setInterval(TICK_MS)
        self._clock.timeout.connect(self.refresh)
        self.size_row = SizeRow(owner)
        in_column(in_row(*self.buttons.values(), spacing=4), self.size_row, within=self, spacing=4)
        owner.listen(owner.session.shortcuts.changed, self._show_keys)
        owner.listen(self._tools.changed, self.refresh)
        owner.listen(self._tools.told, self._tell)
        owner.listen(owner.session.sizes.changed, self.refresh)
        owner.listen(owner.session.image_changed, lambda image: self.refresh())
        self._show_keys()
        self.refresh()

    def _show_keys(self) -> None:
        """Show the current keys in the tooltips."""
        for tool, button in self.buttons.items():
            button.setText(with_key(tool.capitalize(), tool.value))
            again = "press again to move the view"
            key = f"Key: {key_of(tool.value)}; {again}" if key_of(tool.value) else again.capitalize()
            button.setToolTip(f"{TOOLTIPS[tool]}. {key}")

    def refresh(self) -> None:
        """Show the current tool, and say what to do or to wait for."""
        tools = self._tools
        image = self._session.image
        is_possible = image is not None and not refusal(self._session, image)
        for tool, button in self.buttons.items():
            button.setEnabled(is_possible)
            button.setChecked(tools.tool is tool)
        prompter = tools.prompter
        asks = tools.tool is not None and tools.tool.asks
        if asks and prompter.error:
            self._say(prompter.error, "error")
        elif asks and prompter.status and not (prompter.is_ready and self._told):
            self._say(prompter.status, "notice")
        else:
            circle = CIRCLE_TOLD if self._session.sizes.is_shown else ""
            self._say(self._told or tools.hint or circle or self._brush, "plain")
        is_waiting = asks and bool(prompter.status)
        if is_waiting != self._clock.isActive():
            (self._clock.start if is_waiting else self._clock.stop)()

    def _tell(self, sentence: str) -> None:
        self._told = sentence
        self.refresh()

    def tell_of_brush(self, sentence: str) -> None:
        """Say what to do with the brush while no tool is in hand."""
        self._brush = sentence
        self.refresh()

    def _say(self, sentence: str, role: str) -> None:
        if (sentence, role) != (self.line.text(), self.line.property("role")):
            self.line.setText(sentence)
            set_role(self.line, role)
        self.line.setVisible(bool(sentence))

    def _button(self, tool: Tool) -> QPushButton:
        button = QPushButton()
        button.setAccessibleName(f"Tool: {tool}")
        button.setCheckable(True)
        button.clicked.connect(lambda: self._pressed(tool))
        return button

    def _pressed(self, tool: Tool) -> None:
        self._owner.attempt(lambda: self._tools.toggle(tool))
        self.refresh()  # Qt checks the button at a press even if the tool could not be taken
