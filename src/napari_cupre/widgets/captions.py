"""Labels of several lines."""

from __future__ import annotations

import re

from qtpy.QtWidgets import QLabel

from napari_cupre.widgets.theme import set_role

LONGEST = 24
"""Longest run of characters without a break that fits into a narrow dock."""

BREAK = "\u200b"
"""A space without width."""

_LONG = re.compile(rf"\S{{{LONGEST + 1},}}")
_PLACE = re.compile(r"(?<=[/\\_.-])(?=[^/\\_.-])")


class Caption(QLabel):
    """Wraps its lines in a narrow dock, even within the path of a file, which has no spaces."""

    def setText(self, text: str | None) -> None:
        """Show a text; one with marks of its own, as `<b>`, breaks where it says so."""
        plain = text or ""
        super().setText(plain if "<" in plain else _LONG.sub(lambda found: _broken(found[0]), plain))

    def text(self) -> str:
        """What is shown, as it was given."""
        return super().text().replace(BREAK, "")

    def say(self, sentence: str, role: str) -> None:
        """Show a sentence in the colour of a role (see `set_role`), or nothing where there is none."""
        if (sentence, role) != (self.text(), self.property("role")):
            self.setText(sentence)
            set_role(self, role)
        self.setVisible(bool(sentence))


def caption(text: str = "", role: str = "") -> Caption:
    """A label that wraps its lines in a narrow dock.

    Parameters
    ----------
    text : str, optional
        What it says.
    role : str, optional
        Its colour, as for `set_role`; "" for that of the window.
    """
    label = Caption()
    label.setText(text)
    label.setWordWrap(True)
    if role:
        set_role(label, role)
    return label


def _broken(word: str) -> str:
    """A long word with places to break: after the separators of a path, else anywhere."""
    parts = [part[at : at + LONGEST] for part in _PLACE.split(word) for at in range(0, len(part), LONGEST)]
    return BREAK.join(parts)
