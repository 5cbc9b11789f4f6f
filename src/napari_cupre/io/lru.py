"""The values that were used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keep the values that were used last, so that they need not be made again.

    A copy that is sent to another process starts empty: each loader worker keeps its own.

    Parameters
    ----------
    max_bytes : int
        Bytes of all values together; the one used last is kept even if it is larger.
    max_count : int or None, optional
        Number of values; None is no limit.
    """

    def __init__(self, max_bytes: int, max_count: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.max_count = max_count
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K, make: Callable[[], V], nbytes: Callable[[V], int]) -> V:
        """Return the value of a key, made anew if it is not kept.

        Parameters
        ----------
        key : hashable
            Of the value.
        make : callable
            Makes the value; what it raises is passed on, and nothing is kept.
        nbytes : callable
            Returns the bytes of a value.
        """
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key][0]
        value = make()
        size = nbytes(value)
        self._values[key] = (value, size)
        self._bytes += size
        while len(self._values) > 1 and self._is_full():
            _, (_, freed) = self._values.popitem(last=False)
            self._bytes -= freed
        return value

    def _is_full(self) -> bool:
        many = self.max_count is not None and len(self._values) > self.max_count
        return many or self._bytes > self.max_bytes

    def __getstate__(self) -> tuple[int, int | None]:
        return self.max_bytes, self.max_count

    def __setstate__(self, state: tuple[int, int | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]
