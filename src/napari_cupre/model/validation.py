"""Check the values of settings against the types of a dataclass, using pydantic.

A dataclass of settings states the range of a value in its type, e.g. ``batch: PositiveInt``. A user's values,
from a YAML file or options, become an instance, or an error with one sentence about what is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from napari_cupre.errors import InputError

__all__ = [
    "FractionBelowOne",
    "NotNegative",
    "NotNegativeInt",
    "Positive",
    "PositiveInt",
    "Share",
    "Texts",
    "check_ranges",
    "validated",
]


def _no_switch(value: Any) -> Any:
    """Refuse true and false as numbers, since YAML reads "yes" and "on" as true."""
    if isinstance(value, bool):
        raise ValueError("it takes a number")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts; a single text also counts as a list."""
    if value is None:
        return ()
    return tuple(str(entry) for entry in (value if isinstance(value, list | tuple) else [value]))


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_switch)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_switch)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_no_switch)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_no_switch)]
PositiveInt = Annotated[int, Field(gt=0), BeforeValidator(_no_switch)]
NotNegativeInt = Annotated[int, Field(ge=0), BeforeValidator(_no_switch)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]

Settings = TypeVar("Settings")


@functools.cache
def _adapters(kind: type) -> dict[str, TypeAdapter[Any]]:
    """Return the validator of each field of a dataclass."""
    return {name: TypeAdapter(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


def validated(kind: type[Settings], values: Mapping[str, Any], task: str) -> Settings:
    """Make settings from values that a user gave.

    Parameters
    ----------
    kind : type
        A dataclass whose fields state their ranges.
    values : mapping
        Values by field name; text is read as a number where a number is needed.
    task : str
        What the settings are for, for the error message, e.g. "pretraining".

    Returns
    -------
    object
        An instance of `kind`.

    Raises
    ------
    InputError
        If a name is not a field or a value is of the wrong type or out of range; one sentence.
    """
    adapters = _adapters(kind)  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(adapters)):
        raise InputError(
            f"{', '.join(unknown)} is not a setting of {task}; choose from {', '.join(adapters)}."
        )
    return kind(**{name: _validate(adapters[name], name, value) for name, value in values.items()})


def check_ranges(settings: object) -> None:
    """Check the values of a dataclass of settings against its types.

    Raises
    ------
    InputError
        As `validated` does.
    """
    for name, adapter in _adapters(type(settings)).items():  # type: ignore[arg-type]
        _validate(adapter, name, getattr(settings, name))


def _validate(adapter: TypeAdapter[Any], name: str, value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise InputError(_sentence(name, error)) from error


def _sentence(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    value, place = first["input"], first["loc"]
    if len(place) > 1 and isinstance(place[0], int):
        name = f"{place[1]} of {name} {place[0] + 1}"
    bounds = {key: f"{x:g}" if isinstance(x, float) else x for key, x in first.get("ctx", {}).items()}
    must = {
        "greater_than": "be above {gt}",
        "greater_than_equal": "be {ge} or above",
        "less_than": "be below {lt}",
        "less_than_equal": "be {le} or below",
        "finite_number": "be a finite number",
        "literal_error": "be one of {expected}",
        "multiple_of": "be a multiple of {multiple_of}",
    }.get(first["type"])
    if must is not None:
        return f"{name} is {value!r}: it must {must.format(**bounds)}."
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"There is no setting {name}: remove it."
    if first["type"] == "missing":
        return f"{name} is missing: give it a value."
    wanted = {"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text"}
    kind = first["type"].split("_")[0]
    return f"The setting {name} cannot be {value!r}: it takes {wanted.get(kind, 'another kind of value')}."
