"""What a user can choose about a few-shot training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from napari_cupre.errors import InputError


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of a `FinetuneRun`.

    Attributes
    ----------
    minutes, steps : the budget; whichever is reached first ends the training. One may be None.
    batch : crops per step; halved when memory runs out.
    crop : side of a crop in network px, a multiple of 32. More steps on smaller crops learn
        faster on a CPU than fewer on larger ones.
    diameter : cell diameter in image px; None = the median annotated cell.
    held_out : share of the annotation that judges the training and does not teach.
    rehearse : share of the crops that are synthetic fields, so that a pretrained network does not
        forget; random weights have nothing to forget and rehearse none.
    seed : of all randomness.
    device : auto, cpu, cuda or mps.
    """

    minutes: float | None = 2.0
    steps: int | None = None
    batch: int = 4
    crop: int = 192
    diameter: float | None = None
    held_out: float = 0.2
    rehearse: float = 0.2
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        checks = {
            "minutes or steps must be given": self.minutes is not None or self.steps is not None,
            "minutes must be positive": self.minutes is None or self.minutes > 0,
            "steps must be positive": self.steps is None or self.steps > 0,
            "batch must be at least 1": self.batch >= 1,
            "crop must be a multiple of 32": self.crop >= 64 and self.crop % 32 == 0,
            "diameter must be positive": self.diameter is None or self.diameter > 0,
            "held_out must be within 0..0.5": 0 <= self.held_out <= 0.5,
            "rehearse must be within 0..0.9": 0 <= self.rehearse <= 0.9,
        }
        for sentence, holds in checks.items():
            if not holds:
                raise InputError(f"The training settings cannot be used: {sentence}.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
