"""What a user can choose about a few-shot training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from napari_cupre.errors import InputError
from napari_cupre.model.validation import Positive, PositiveInt, check_ranges, validated


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of a `FinetuneRun`.

    Attributes
    ----------
    minutes, steps : float or None, int or None
        The limits; the one reached first ends the training. One may be None.
    batch : int
        Crops per step; halved when memory runs out.
    crop : int
        Side of a crop in network px, a multiple of 32. More steps on smaller crops learn faster on a CPU than
        fewer on larger ones.
    diameter : float or None
        Cell diameter in image px; None = the median annotated cell.
    held_out : float, 0 to 0.5
        Share of the annotation that judges the training and is not learned from.
    rehearse : float, 0 to 0.9
        Share of synthetic fields among the crops, so that a pretrained network does not forget. Not used for
        random weights, which have nothing to forget.
    contrast : bool
        The backbone also takes a step of momentum contrast on images without annotation, beside each
        supervised step.
    teacher : bool
        Also learn from images without annotation, namely from cells and background of which the averaged
        weights are sure.
    seed : int
        Seed of all randomness.
    device : str
        "auto", "cpu", "cuda" or "mps".
    """

    minutes: Positive | None = 2.0
    steps: PositiveInt | None = None
    batch: PositiveInt = 4
    crop: Annotated[int, Field(ge=64, multiple_of=32)] = 192
    diameter: Positive | None = None
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    rehearse: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    contrast: bool = True
    teacher: bool = True
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.minutes is None and self.steps is None:
            raise InputError("A training needs a limit: give minutes or steps.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FinetuneSettings:
        """Make settings from the values of a file or of options; inverse of `as_dict`.

        Raises
        ------
        InputError
            If a name is not a setting or a value is of the wrong type or out of range.
        """
        return validated(cls, values, "fine-tuning")

    def renewed(self, step: int, seconds: float) -> FinetuneSettings:
        """Return the settings to continue with after a number of steps and seconds.

        A limit that was not reached continues; one that was reached starts again.
        """
        time_left = self.minutes is None or seconds < 60 * self.minutes * 0.98
        steps_left = self.steps is None or step < self.steps
        if time_left and steps_left:
            return self
        minutes = None if self.minutes is None else self.minutes + seconds / 60
        return replace(self, minutes=minutes, steps=None if self.steps is None else self.steps + step)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
