"""Records behave like frozen data classes."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from napari_cupre.records import immutable


@immutable
class Place:
    """Where something is."""

    row: int
    column: int = 0
    note: str = field(default="", compare=False, repr=False)


@immutable
class Named(Place):
    """A place with a name."""

    name: str = "here"


@dataclass(frozen=True)
class Twin:
    """What `dataclass` makes of it."""

    row: int
    column: int = 0
    note: str = field(default="", compare=False, repr=False)


def test_a_record_prints_compares_and_hashes_like_a_frozen_data_class() -> None:
    assert repr(Place(1)) == repr(Twin(1)).replace("Twin", "Place")
    assert Place(1, note="a") == Place(1, note="b")
    assert hash(Place(1, note="a")) == hash(Place(1, note="b"))
    assert Place(1) != Place(2)
    assert Place(1) != Named(1)
    assert replace(Named(1), row=2) == Named(2, name="here")
    assert pickle.loads(pickle.dumps(Named(3))) == Named(3)


@pytest.mark.parametrize("name", ["row", "column", "name", "other"])
def test_nothing_in_a_record_can_be_changed(name: str) -> None:
    place = Named(1)
    with pytest.raises(FrozenInstanceError):
        setattr(place, name, 2)
    with pytest.raises(FrozenInstanceError):
        delattr(place, name)
    assert place == Named(1)


def test_a_method_that_a_class_writes_itself_is_kept() -> None:
    @immutable
    class Loud:
        """Prints itself in its own way."""

        row: int

        def __repr__(self) -> str:
            return "LOUD"

    assert repr(Loud(1)) == "LOUD"
    assert Loud(1) == Loud(1)
