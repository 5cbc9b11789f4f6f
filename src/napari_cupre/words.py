"""Words that depend on a number, for the sentences a person reads."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A number with what it counts.

    Parameters
    ----------
    count : int
        How many there are.
    one, many : str
        What stands behind 1, and behind any other number; by default `one` with an "s".

    Examples
    --------
    >>> counted(1, "cell"), counted(0, "cell"), counted(2, "box is", "boxes are")
    ('1 cell', '0 cells', '2 boxes are')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
