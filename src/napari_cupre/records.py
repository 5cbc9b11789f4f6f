"""Immutable data classes that take little time to define."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """Turn a class into an immutable data class, like `dataclass(frozen=True)` in a third of the time.

    `dataclass` writes and compiles all methods anew for each class, and the first dock of a window defines
    seventy of them while a person waits. Records share their methods, except for `__init__`. Creating an
    instance takes a little longer, so `dataclass` is better for a class with thousands of instances.

    Examples
    --------
    >>> @immutable
    ... class Size:
    ...     width: int
    ...     height: int = 1
    >>> Size(3)
    Size(width=3, height=1)
    >>> Size(3) == Size(3, 1)
    True
    """
    own = set(vars(cls))
    made = dataclass(repr=False, eq=False)(cls)
    for name in ("__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__"):
        if name not in own:
            setattr(made, name, vars(_Shared)[name])
    return made


class _Shared:
    """The methods that records share."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __repr__(self) -> str:
        shown = (each.name for each in fields(self) if each.repr)
        return f"{type(self).__qualname__}({', '.join(f'{x}={getattr(self, x)!r}' for x in shown)})"

    def __eq__(self, other: object) -> bool:
        return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __setattr__(self, name: str, value: object) -> None:
        """Let `__init__` set each field once."""
        if name in self.__dict__ or name not in self.__dataclass_fields__:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")


def _compared(one: Any) -> tuple[object, ...]:
    """Return the values that make two records equal."""
    return tuple(getattr(one, each.name) for each in fields(one) if each.compare)
