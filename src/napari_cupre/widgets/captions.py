"""Labels of several lines."""

from __future__ import annotations

import re

from qtpy.QtWidgets import QLabel

from napari_cupre.widgets.theme import set_role

LONGEST = 24
"""Longest run of characters without a break that fits into a narrow dock."""

BREAK = "\u200b"
"""A zero-width space."""

_LONG = re.compile(rf"\S{{{LONGEST + 1},}}")
_PLACE = re.compile(r"(?<=[/\\_.-])(?=[^/\\_.-])")


class Caption(QLabel):
    """A label that wraps its lines in a narrow dock, even inside a file path, which has no spaces."""

    def setText(self, text: str | None) -> None:
        """Show a text; rich text (with tags such as `<b>`) is not given extra breaks."""
        plain = text or ""
        super().setText(plain if "<" in plain else _LONG.sub(lambda found: _broken(found[0]), plain))

    def text(self) -> str:
        """Return the text as it was given."""
        return super().text().replace(BREAK, "")

    def say(self, sentence: str, role: str) -> None:
        """Show a sentence in the colour of a role (see `set_role`); an empty one hides the label."""
        if (sentence, role) != (self.text(), self.property("role")):
            self.setText(sentence)
            set_role(self, role)
        self.setVisible(bool(sentence))


def caption(text: str = "", role: str = "") -> Caption:
    """Make a label that wraps its lines in a narrow dock.

    Parameters
    ----------
    text : str, optional
        The text of the label.
    role : str, optional
        Its colour role, see `set_role`; "" for the default colour.
    """
    label = Caption()
    label.setText(text)
    label.setWordWrap(True)
    if role:
        set_role(label, role)
    return label


def _broken(word: str) -> str:
    """Return a long word with places to break: after path separators, or anywhere if there are none."""
    parts = [part[at : at + LONGEST] for part in _PLACE.split(word) for at in range(0, len(part), LONGEST)]
    return BREAK.join(parts)
