"""The values that were used last."""

from __future__ import annotations

import pickle

import pytest

from napari_cupre.io.lru import Recent


def fill(recent: Recent[str, bytes], names: str, made: list[str]) -> None:
    for name in names:
        recent.get(name, lambda name=name: made.append(name) or bytes(10), len)


def test_a_kept_value_is_not_made_again_and_the_oldest_goes_first() -> None:
    made: list[str] = []
    recent: Recent[str, bytes] = Recent(25)
    fill(recent, "abaca", made)
    assert made == ["a", "b", "c"]  # b had been used before a
    fill(recent, "b", made)
    assert made == ["a", "b", "c", "b"]


def test_the_last_value_is_kept_however_large_it_is() -> None:
    made: list[str] = []
    recent: Recent[str, bytes] = Recent(0)
    fill(recent, "aab", made)
    assert made == ["a", "b"]
    assert len(recent) == 1


def test_a_number_of_values_can_be_the_limit() -> None:
    made: list[str] = []
    recent: Recent[str, bytes] = Recent(1000, 2)
    fill(recent, "abc", made)
    assert len(recent) == 2


def test_nothing_is_kept_of_a_value_that_could_not_be_made() -> None:
    recent: Recent[str, bytes] = Recent(1000)
    with pytest.raises(OSError, match="gone"):
        recent.get("a", lambda: (_ for _ in ()).throw(OSError("gone")), len)
    assert len(recent) == 0
    assert recent.get("a", lambda: b"a", len) == b"a"


def test_a_copy_for_another_process_starts_empty() -> None:
    recent: Recent[str, bytes] = Recent(1000, 3)
    fill(recent, "ab", [])
    copy = pickle.loads(pickle.dumps(recent))
    assert (len(copy), copy.max_bytes, copy.max_count) == (0, 1000, 3)
