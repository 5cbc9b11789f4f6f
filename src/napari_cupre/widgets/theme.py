"""Colours for the docks, derived from napari's theme so that everything is readable."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from napari.utils.theme import get_theme

RGB = tuple[int, int, int]

READABLE = 5.5
"""Contrast of text. WCAG asks for 4.5; anti-aliased edges lose a little."""

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
MIX_STEPS = 50
# Start of the search for readable colours. Blue and orange are distinguishable with any colour vision.
RED, AMBER, GREEN, GREY = (255, 123, 114), (227, 179, 65), (86, 211, 100), (154, 164, 178)
BLUE, ORANGE, BUTTON = (88, 166, 255), (240, 136, 62), (47, 111, 235)


@dataclass(frozen=True)
class Palette:
    """The colours of one theme as CSS, e.g. "#1f2630".

    Attributes
    ----------
    background, control, text : str
        From napari's theme: the background, the background of a control, and the text on both.
    faint, error, notice, good : str
        Text of little importance, errors, advice and success.
    button, button_hover, button_text : str
        The button to press next.
    focus : str
        Frame of the control with the keyboard focus.
    training, validation : str
        Lines of the training plot.
    """

    background: str
    control: str
    text: str
    faint: str
    error: str
    notice: str
    good: str
    button: str
    button_hover: str
    button_text: str
    focus: str
    training: str
    validation: str


def palette_of(theme_id: str) -> Palette:
    """Return the colours for a theme of napari.

    Parameters
    ----------
    theme_id : str
        Name as in `viewer.theme`: "dark", "light", "system" or another plugin's theme.
    """
    theme = get_theme(theme_id)
    background, control = _rgb(theme.background), _rgb(theme.primary)
    text = readable(_rgb(theme.text), background, control)
    button = readable(BUTTON, WHITE)
    return Palette(
        background=_css(background),
        control=_css(control),
        text=_css(text),
        faint=_css(readable(GREY, background)),
        error=_css(readable(RED, background)),
        notice=_css(readable(AMBER, background)),
        good=_css(readable(GREEN, background)),
        button=_css(button),
        button_hover=_css(_mix(button, BLACK, 0.15)),
        button_text=_css(WHITE),
        focus=_css(readable(BLUE, background)),
        training=_css(readable(BLUE, background)),
        validation=_css(readable(ORANGE, background)),
    )


def style_sheet(palette: Palette) -> str:
    """Return the style sheet of a dock's content, applied on top of napari's own.

    The property "role" of labels and buttons selects their style: see `set_role`.
    """
    p = palette
    framed = (
        *("QPushButton", "QToolButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QListWidget"),
        *("QPlainTextEdit", "QCheckBox", "QRadioButton", "QSlider", "QTableWidget"),
    )
    inner = "QAbstractSpinBox QLineEdit, QComboBox QLineEdit"
    return f"""
    {", ".join(framed)} {{ border: 1px solid transparent; color: {p.text};
        selection-background-color: {p.button}; selection-color: {p.button_text}; }}
    {_all(framed, ":focus")} {{ border: 1px solid {p.focus}; }}
    {_all(framed[:7], ":disabled")} {{ background-color: transparent; color: {p.faint};
        border: 1px solid {p.control}; }}
    {_all(("QCheckBox", "QRadioButton", "QLabel", "QProgressBar"), ":disabled")} {{ color: {p.faint}; }}
    {inner} {{ border: 0px; }}
    QPushButton:hover, QToolButton:hover, QComboBox:hover {{ background-color: {p.control};
        border: 1px solid {p.focus}; }}
    QPushButton:checked {{ background-color: {p.button}; color: {p.button_text}; }}
    QTableWidget {{ gridline-color: {p.control}; background-color: {p.background}; }}
    QTableWidget::item:selected {{ background-color: {p.button}; color: {p.button_text}; }}
    QHeaderView::section {{ background-color: {p.control}; color: {p.text}; border: 0px; padding: 2px 4px; }}
    QTableCornerButton::section {{ background-color: {p.control}; border: 0px; }}
    QPushButton#help {{ padding: 2px; }}
    QTextBrowser {{ background-color: {p.background}; color: {p.text}; border: 0px; }}
    QTreeWidget {{ background-color: {p.background}; color: {p.text}; border: 1px solid {p.control}; }}
    QTreeWidget:focus {{ border: 1px solid {p.focus}; }}
    QTreeWidget::item:selected {{ background-color: {p.button}; color: {p.button_text}; }}
    QListWidget::item:disabled {{ color: {p.faint}; }}
    QListWidget::item:selected, QComboBox QAbstractItemView::item:selected
        {{ background-color: {p.button}; color: {p.button_text}; }}
    QProgressBar {{ color: {p.text}; }}
    QProgressBar::chunk {{ background-color: {p.control}; }}
    QPushButton[role="primary"] {{ background-color: {p.button}; color: {p.button_text};
        font-weight: bold; border-radius: 4px; }}
    QPushButton[role="primary"]:hover {{ background-color: {p.button_hover}; }}
    QPushButton[role="primary"]:focus {{ border: 2px solid {p.text}; }}
    QPushButton[role="primary"]:disabled {{ background-color: transparent; color: {p.faint};
        border: 1px solid {p.control}; }}
    QLabel[role="heading"] {{ color: {p.faint}; font-weight: bold; letter-spacing: 1px; margin-top: 4px; }}
    QLabel[role="error"] {{ color: {p.error}; }}
    QLabel[role="notice"] {{ color: {p.notice}; }}
    QLabel[role="good"] {{ color: {p.good}; }}
    QLabel[role="plain"] {{ color: {p.faint}; }}
    """


def set_role(widget: Any, role: str) -> None:
    """Set the role of a label or button for `style_sheet`.

    Parameters
    ----------
    widget : QWidget
        The label or button.
    role : str
        "primary", "heading", "error", "notice", "good" or "plain".
    """
    widget.setProperty("role", role)
    # Qt reads properties only when it applies a style
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def contrast(first: RGB, second: RGB) -> float:
    """Return the contrast ratio of two colours as defined by WCAG 2, 1..21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: RGB, *grounds: RGB) -> RGB:
    """Darken or lighten `colour` as little as possible until it is readable on all `grounds`."""
    best, most = colour, 0.0
    for step, end in product(range(MIX_STEPS + 1), (WHITE, BLACK)):
        candidate = _mix(colour, end, step / MIX_STEPS)
        worst = min(contrast(candidate, ground) for ground in grounds)
        if worst >= READABLE:
            return candidate
        if worst > most:
            best, most = candidate, worst
    return best


def _luminance(colour: RGB) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(colour: RGB, other: RGB, share: float) -> RGB:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other))
    return red, green, blue


def _rgb(colour: Any) -> RGB:
    red, green, blue = colour.as_rgb_tuple()[:3]
    return red, green, blue


def _css(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _all(selectors: tuple[str, ...], state: str) -> str:
    return ", ".join(f"{selector}{state}" for selector in selectors)
