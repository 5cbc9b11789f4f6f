"""The learning rate over a training."""

from __future__ import annotations

from math import cos, pi

LAST_RATE = 0.02
"""Share of the peak that is left at the end of the cosine."""


def learning_rate_factor(step: int, fraction: float, warm_up: int) -> float:
    """Return a linear warm-up over the first steps, times a cosine over the used share of the budget.

    Parameters
    ----------
    step : int
        Steps done so far.
    fraction : float
        Used share of the budget, 0 to 1.
    warm_up : int
        Steps until the peak is reached.

    Returns
    -------
    float
        Share of the peak learning rate.

    Examples
    --------
    >>> learning_rate_factor(step=0, fraction=0.0, warm_up=10)
    0.1
    >>> round(learning_rate_factor(step=500, fraction=0.5, warm_up=10), 2)
    0.51
    """
    warm = min(1.0, (step + 1) / max(1, warm_up))
    return warm * (LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + cos(pi * min(1.0, fraction))))
