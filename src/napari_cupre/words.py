"""Words that depend on numbers and lists, for the sentences a person reads."""

from __future__ import annotations

from collections.abc import Sequence


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


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first of several names, and how many more there are.

    Parameters
    ----------
    names : sequence of str
        What to name.
    most : int, optional
        How many are named at most.

    Examples
    --------
    >>> some_of(["a.tif", "b.tif"]), some_of("abcdefg", 3)
    ('a.tif, b.tif', 'a, b, c and 4 more')
    """
    named = ", ".join(names[:most])
    return f"{named} and {len(names) - most} more" if len(names) > most else named
