"""Which channels of several a model learned from, and what it is given of another image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from napari_cupre.data.image import MOST_CHANNELS, CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.io.channel_names import names_of

Value = TypeVar("Value", int, str)


@dataclass(frozen=True)
class SeenChannels:
    """The channels that a model learned from.

    Attributes
    ----------
    numbers : tuple of int
        Counted from 0; empty if its images had one channel, or the model does not say.
    names : tuple of str
        Their names; empty if the images gave none.
    """

    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of_shots(cls, shots: Iterable[Shot]) -> SeenChannels:
        """Return what all annotated images with several channels have in common; nothing if they differ."""
        several = [shot for shot in shots if shot.channels and not shot.is_unlabelled]
        numbers = {shot.channels for shot in several}
        names = {shot.channel_names for shot in several}
        if len(names) == 1 and (stains := names.pop()):  # their places may differ between files
            return cls(several[0].channels, stains)
        return cls(numbers.pop()) if len(numbers) == 1 else cls()

    @classmethod
    def of_training(cls, training: Any) -> SeenChannels:
        """Return what a model's description says; nothing for models of earlier versions."""
        if not isinstance(training, Mapping):
            return cls()
        numbers = _listed(training.get("channels"), int)
        names = _listed(training.get("channel_names"), str)
        if not numbers or min(numbers) < 0 or len(numbers) > MOST_CHANNELS:
            return cls()
        return cls(numbers, names if len(names) == len(numbers) else ())

    def as_dict(self) -> dict[str, Any]:
        """Return the entries of a model's description."""
        named = {"channel_names": list(self.names)} if self.names else {}
        return {"channels": list(self.numbers), **named} if self.numbers else {}

    @property
    def words(self) -> str:
        """Return what to call them.

        Examples
        --------
        >>> SeenChannels((2,)).words, SeenChannels((0, 2), ("CD3", "DAPI")).words
        ('channel 2', 'channels 0 (CD3), 2 (DAPI)')
        """
        return _words(self.numbers, self.names)

    def on(self, image: CellImage) -> CellImage:
        """Return an image with the channels that the model is given, unless somebody has chosen others.

        It shares the pixels. The rules are those of `given`.
        """
        if image.chosen_channels is not None:
            return image
        chosen, _ = self.given(image, "")
        return image if chosen is None else replace(image, channels=chosen)

    def given(self, image: CellImage, model: str) -> tuple[tuple[int, ...] | None, str]:
        """Choose channels of an image for which nobody chose any.

        Parameters
        ----------
        image : CellImage
            The image to predict.
        model : str
            What to call the model.

        Returns
        -------
        channels : tuple of int or None
            Channels of the image; None for the first three.
        sentence : str
            What to tell the user, without a full stop; "" if the model sees what it would see anyway.
        """
        count = image.channel_count
        if not self.numbers or count < 2 or image.is_rgb:
            return None, ""
        names, usual = names_of(image), tuple(range(min(count, MOST_CHANNELS)))
        by_name = tuple(names.index(name) for name in self.names if name in names)
        is_named = bool(self.names) and len(by_name) == len(self.names)
        chosen = by_name if is_named else self.numbers
        learned = f'"{model}" learned from {self.words}'
        if max(chosen) >= count:
            return None, f'{learned}, but "{image.name}" has only {count} channels: {_used(usual, names)}'
        if self.names and names and not is_named:
            without = f'"{image.name}" has no {"channel" if len(chosen) == 1 else "channels"} of that name'
            return chosen, f"{learned}, but {without}: {_used(chosen, names)}"
        return (None, "") if chosen == usual else (chosen, f"{learned}: {_used(chosen, names)}")


def _listed(values: Any, kind: type[Value]) -> tuple[Value, ...]:
    """Return the values of a list, if all are of one kind."""
    if not isinstance(values, list) or any(type(each) is not kind for each in values):
        return ()
    return tuple(values)


def _words(numbers: Sequence[int], names: Sequence[str] = ()) -> str:
    listed = [f"{number} ({name})" for number, name in zip(numbers, names)] if names else map(str, numbers)
    return f"{'channel' if len(numbers) == 1 else 'channels'} {', '.join(listed)}"


def _used(numbers: Sequence[int], names: Sequence[str]) -> str:
    """Say what is used of an image; `names` are those of all its channels."""
    words = _words(numbers, [names[each] for each in numbers] if names else ())
    return f"{words} {'is' if len(numbers) == 1 else 'are'} used"
