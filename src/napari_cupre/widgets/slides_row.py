"""A row that says how much disk space results of large images take, with a button to free it."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QWidget

from napari_cupre.service.slides import KeptSlide, clear_slides, kept_slides
from napari_cupre.widgets.arranging import in_row
from napari_cupre.widgets.asking import QuestionLine
from napari_cupre.widgets.captions import caption
from napari_cupre.widgets.controls import MessageLine, push_button
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.model_gathering import megabytes
from napari_cupre.widgets.sources import sentence_of
from napari_cupre.words import counted


class SlidesRow(QWidget):
    """One line about the results of large images; hidden if there are none.

    Parameters
    ----------
    errands : Errands
        The background jobs of the dock.
    question, message : QuestionLine, MessageLine
        The lines of the dock for questions and messages.
    """

    def __init__(self, errands: Errands, question: QuestionLine, message: MessageLine) -> None:
        super().__init__()
        self._errands, self._question, self._message = errands, question, message
        self._kept: list[KeptSlide] = []
        self.words = caption(role="plain")
        self.words.setToolTip(
            "Cells found in images larger than memory are kept, so that they appear at once next time"
        )
        self.delete = push_button(
            "Clear", "Delete results that no window shows, to free disk space; asks first", self._ask
        )
        in_row(self.words, self.delete, within=self, wide=self.words)
        self.hide()

    def refresh(self) -> None:
        """Look again in the background."""
        self._errands.do(kept_slides, self._show, self._failed)

    def _show(self, kept: list[KeptSlide]) -> None:
        self._kept = kept
        size = megabytes(sum(each.size for each in kept))
        self.words.setText(f"{counted(len(kept), 'result')} of large images: {size}.")
        self.setVisible(bool(kept))

    def _ask(self) -> None:
        size = megabytes(sum(each.size for each in self._kept))
        keep = ("Keep", "Delete nothing", self._question.clear)
        self._question.ask(
            f"Delete what was found in large images ({size})? It can be found again. What a window shows "
            "stays, and so does what you saved elsewhere.",
            [("Delete", "Delete these results", self._delete), keep],
        )

    def _delete(self) -> None:
        self._question.clear()
        self._errands.do(partial(clear_slides, 0), self._deleted, self._failed)

    def _deleted(self, freed: int) -> None:
        said = f"{megabytes(freed)} freed." if freed else "All results are in use: none was deleted."
        self._message.show_good(said) if freed else self._message.show_plain(said)
        self.refresh()

    def _failed(self, error: Exception) -> None:
        self._message.show_error(sentence_of(error))
        self.setVisible(bool(self._kept))
