"""What a training does when memory runs out: fewer, then smaller crops."""

from __future__ import annotations

from napari_cupre.errors import EnvironmentFault

SMALLEST_CROP = 128


def smaller(batch: int, crop: int, least: int, error: BaseException) -> tuple[int, int, str]:
    """Return the next smaller step.

    Parameters
    ----------
    batch, crop : int
        Crops per step and their side in px that did not fit.
    least : int
        Fewest crops per step.
    error : BaseException
        The error that was raised.

    Returns
    -------
    batch, crop : int
        The values to continue with.
    said : str
        A sentence about the change.

    Raises
    ------
    EnvironmentFault
        If there is nothing smaller.
    """
    if batch // 2 >= least:
        return batch // 2, crop, f"Memory ran out: continuing with {batch // 2} crops per step."
    if crop // 2 >= SMALLEST_CROP:
        side = crop // 64 * 32
        return batch, side, f"Memory ran out: continuing with crops of {side} px."
    raise EnvironmentFault(
        "Memory ran out even with one small crop per step: close other programs, or train on another device."
    ) from error
