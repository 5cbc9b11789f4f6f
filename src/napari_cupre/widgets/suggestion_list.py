"""A list of images to annotate next, below the queue, each with a picture and a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QListWidget,
    QListWidgetItem,
    QPushButton,
)

from napari_cupre.events import RunState
from napari_cupre.widgets.arranging import in_column, in_row
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import DockPart, SessionWidget, job_words
from napari_cupre.widgets.remembering import remember
from napari_cupre.widgets.what_next import RATED_LATER, Advice

PICTURE = 44
ROWS = 3
EMPTY = "Not rated yet. Press Rate, or train a model: after each training the images are rated."


class SuggestionList(DockPart):
    """The list, with a button to show and hide it; the button is hidden if there is only one image.

    Attributes
    ----------
    button : QPushButton
        Belongs in the row of the queue.
    """

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._next, self._queue = self._session.what_next, self._session.queue
        self.button = QPushButton("★")
        self.button.setCheckable(True)
        self.button.setToolTip("What next? Show which images would teach the model most, and why")
        self.button.setAccessibleName("What next?")
        self.button.toggled.connect(lambda on: self.refresh())
        self.rate = QPushButton("Rate")
        self.rate.setToolTip(
            "Rate the images of the queue with the current model; after a training this is done for you"
        )
        self.rate.clicked.connect(lambda: owner.start_or_stop(self._next.job, self._next.rate))
        self.line = caption(role="plain")
        self.list = QListWidget()
        self.list.setAccessibleName("Images to annotate next")
        self.list.setToolTip("The most useful ones come first; click one to show it")
        self.list.setIconSize(QSize(PICTURE, PICTURE))
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFixedHeight(ROWS * (PICTURE + 10))
        self.list.itemClicked.connect(self._chosen)
        self.list.itemActivated.connect(self._chosen)
        self.order = QCheckBox("Queue in this order")
        self.order.setToolTip("The most useful images first; otherwise by name")
        self.order.toggled.connect(self._order_chosen)
        row = in_row(self.order, self.rate, spacing=4, wide=self.order)
        in_column(self.line, self.list, row, within=self, spacing=2)
        owner.listen(self._next.changed, self._fill)
        owner.listen(self._next.job.status.events, self.refresh)
        owner.listen(self._session.training.status.events.state, self.refresh)
        owner.listen(self._queue.changed, self.refresh)
        owner.listen(self._session.models_changed, self.refresh)
        for signal in ("inserted", "removed"):
            owner.listen(getattr(owner.session.viewer.layers.events, signal), self.refresh)
        self._fill()
        remember(owner, what_next=self.button)

    def refresh(self, event: Any = None) -> None:
        """Show the progress of the rating, and the list if it is open."""
        status, is_open = self._next.job.status, self.button.isChecked()
        self.button.setVisible(self._next.has_choice)
        self.setVisible(self._next.has_choice and (is_open or status.is_active))
        self.rate.setText(job_words(status, "Rate", "Stop"))
        is_possible = status.is_active or not self._session.training.status.is_active
        self.rate.setEnabled(is_possible and status.state is not RunState.STOPPING)
        self.line.setText(self._sentence())
        self.line.setVisible(bool(self.line.text()))
        self.list.setVisible(is_open and bool(self._next.advice))
        self.order.setVisible(is_open and bool(self._next.advice))
        self.rate.setVisible(is_open)
        if self.order.isChecked() != self._next.orders:
            self.order.setChecked(self._next.orders)

    def _sentence(self) -> str:
        status = self._next.job.status
        if status.is_active:
            return f"Rating the images: {status.message or 'starting'} ({100 * status.fraction:.0f} %)"
        if self._session.training.status.is_active:
            return RATED_LATER
        notices = " ".join(filter(None, (self._next.out_of_date, self._next.notice)))
        return status.error or notices or ("" if self._next.advice else EMPTY)

    def _fill(self) -> None:
        self.list.clear()
        for place, advice in enumerate(self._next.advice, start=1):
            item = QListWidgetItem(_icon(advice.picture), f"{place}  {_title(advice)}: {advice.reason}")
            item.setToolTip(f"{_title(advice)}\n{advice.reason}")
            self.list.addItem(item)
        self.refresh()

    def _chosen(self, item: QListWidgetItem) -> None:
        row = self.list.row(item)
        if 0 <= row < len(self._next.advice):
            self._owner.attempt(lambda: self._next.go_to(self._next.advice[row]))

    def _order_chosen(self, on: bool) -> None:
        if on != self._next.orders:
            self._next.orders = on


def _title(advice: Advice) -> str:
    if advice.field is None:
        return advice.name
    top, left, bottom, right = advice.field
    return f"{advice.name}, around {(top + bottom) // 2}, {(left + right) // 2}"


def _icon(picture: np.ndarray) -> QIcon:
    pixels = np.ascontiguousarray(picture)
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image.copy()))
