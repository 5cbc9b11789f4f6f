"""A table of figures in a dock: a row for each image, with the row of all images on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView, QTableWidget, QTableWidgetItem

ROW_HEIGHT, MOST_ROWS = 22, 6
NAME_ROLE = int(Qt.ItemDataRole.UserRole)


class FigureTable(QTableWidget):
    """Figures by image; `chosen` emits the image whose row was clicked.

    Parameters
    ----------
    name : str
        Name for screen readers.
    tooltip : str
        Explains the rows.
    """

    chosen = Signal(str)

    def __init__(self, name: str, tooltip: str) -> None:
        super().__init__(0, 0)
        self.setAccessibleName(name)
        self.setToolTip(tooltip)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        rows = self.verticalHeader()
        if rows is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(ROW_HEIGHT)
        # by keyboard too: the arrow keys step through the images
        self.itemSelectionChanged.connect(self._row_chosen)
        self._is_filling = False
        for corner in self.findChildren(QAbstractButton):  # Qt's corner button beside the titles
            corner.setAccessibleName("All rows")
            corner.setToolTip(tooltip)

    def fill(
        self,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[Sequence[Any]],
        joint: Sequence[Any] | None = None,
    ) -> None:
        """Show rows in place of the old ones.

        Parameters
        ----------
        columns : sequence of (str, str)
            Title and tooltip of each column; the first column is the image's name.
        rows : sequence of sequences
            Text or numbers; None and NaN leave a field empty.
        joint : sequence or None, optional
            The row for all images together; it stays on top, visible without scrolling.
        """
        rows = [*([] if joint is None else [joint]), *rows]
        self._is_filling = True
        chosen = self.selected
        self.setRowCount(0)
        self.setColumnCount(len(columns))
        for place, (title, tooltip) in enumerate(columns):
            head = QTableWidgetItem(title)
            head.setToolTip(tooltip)
            self.setHorizontalHeaderItem(place, head)
        self.setRowCount(len(rows))
        for at, row in enumerate(rows):
            for place, value in enumerate(row):
                item = QTableWidgetItem(figure(value))
                item.setData(NAME_ROLE, str(row[0]))
                if place:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setToolTip(str(value))
                if joint is not None and not at:
                    bold = QFont(item.font())
                    bold.setBold(True)
                    item.setFont(bold)
                self.setItem(at, place, item)
        self.resizeColumnsToContents()
        if self.columnCount():
            self.setColumnWidth(0, min(self.columnWidth(0), 110))
        head_height = 0 if (head_bar := self.horizontalHeader()) is None else head_bar.sizeHint().height()
        shown = min(max(len(rows), 1), MOST_ROWS)
        self.setFixedHeight(shown * ROW_HEIGHT + head_height + 18)
        self.select(chosen)
        self._is_filling = False

    @property
    def selected(self) -> str:
        """Return the name in the chosen row, "" for none."""
        items = self.selectedItems()
        return str(items[0].data(NAME_ROLE)) if items else ""

    def select(self, name: str) -> None:
        """Choose the row of a name without emitting `chosen`; choose none if there is no such row."""
        was_filling, self._is_filling = self._is_filling, True
        self.clearSelection()
        for row in range(self.rowCount()):
            item = self.item(row, 0)
            if item is not None and name and item.data(NAME_ROLE) == name:
                self.selectRow(row)
        self._is_filling = was_filling

    def _row_chosen(self) -> None:
        if not self._is_filling and self.selected:
            self.chosen.emit(self.selected)


def figure(value: Any) -> str:
    """Format a figure: whole numbers in full, others with three significant digits.

    Examples
    --------
    >>> figure(41), figure(0.84321), figure(123.456), figure(float("nan")), figure("a")
    ('41', '0.843', '123', '', 'a')
    """
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, str):
        return value
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return f"{int(number)}"
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
