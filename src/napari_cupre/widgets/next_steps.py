"""Next steps after a training: find cells again, go on to the next image, or go back a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cupre.errors import InputError
from napari_cupre.widgets.arranging import in_row
from napari_cupre.widgets.controls import DockPart, SessionWidget
from napari_cupre.widgets.docking import docked, to_front
from napari_cupre.widgets.steady_button import SteadyButton

if TYPE_CHECKING:
    from napari_cupre.widgets.annotate_widget import AnnotateWidget


class NextSteps(DockPart):
    """Three buttons below the verdict; hidden until a training has ended."""

    def __init__(self, owner: SessionWidget) -> None:
        super().__init__(owner)
        self._before = ""
        self.find_again = self._button("Find again", "Guess the cells of this image with the new model")
        self.go_on = self._button("Next image", "Show the image that would teach most, or the next one")
        self.back = self._button("Back", "Continue from the round before; the new one stays in the list")
        self.find_again.clicked.connect(lambda: owner.attempt(self._find))
        self.go_on.clicked.connect(lambda: owner.attempt(self._go_on))
        self.back.clicked.connect(lambda: owner.attempt(self._go_back))
        in_row(self.find_again, self.go_on, self.back, within=self, spacing=6)
        self.hide()

    @staticmethod
    def _button(text: str, tooltip: str) -> SteadyButton:
        button = SteadyButton(text)
        button.setToolTip(tooltip)
        return button

    def offer(self, before: str) -> None:
        """Show the buttons after a training.

        Parameters
        ----------
        before : str
            The round that the training started from, e.g. "v2"; "" if none.
        """
        self._before = before
        self.back.setText(f"Back to {before}" if before else "Back")
        self.back.setVisible(bool(before))
        self.go_on.setVisible(len(self._session.queue.items()) > 1)
        self.find_again.setEnabled(self._session.image is not None)
        self.show()

    def clear(self) -> None:
        """Hide the buttons."""
        self.hide()

    def _find(self) -> None:
        annotate = self._annotate()
        if annotate is None:
            raise InputError("Annotate is closed: open it from the Plugins menu, then press Find cells.")
        to_front(annotate)  # it shows how far the search is and what was found, and there guesses are mended
        annotate.attempt(annotate.find_row.find_cells)

    def _go_on(self) -> None:
        self._session.what_next.go_on()
        annotate = self._annotate()
        if annotate is not None:
            to_front(annotate)

    def _annotate(self) -> AnnotateWidget | None:
        """Return the Annotate dock of this window; None if it is closed."""
        from napari_cupre.widgets.annotate_widget import AnnotateWidget

        return docked(self._session, AnnotateWidget)

    def _go_back(self) -> None:
        self._session.model_added(self._session.rounds.go_back(self._before))
        self.back.hide()
