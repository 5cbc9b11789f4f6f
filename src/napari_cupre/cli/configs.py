"""Settings from YAML files, those that ship with the package, and `NAME=VALUE` options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError


def shipped_configs() -> dict[str, Path]:
    """The settings files of the package by name, e.g. "paper-amt2"."""
    folder = Path(str(files("napari_cupre"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_config(given: str) -> dict[str, Any]:
    """The settings in a YAML file, named by its path or, for a shipped one, by its name.

    Raises
    ------
    InputError
        If there is neither, or the file holds no settings.
    """
    from napari_cupre.pretraining.pretrain_settings import read_settings

    shipped = shipped_configs()
    path = Path(given)
    if not path.is_file():  # a run's folder may well be called like a shipped file
        if given not in shipped:
            raise InputError(
                f"There is no settings file {given}: give a YAML file, or one of {', '.join(shipped)}."
            )
        path = shipped[given]
    return read_settings(path)


def assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """The settings that `--set NAME=VALUE` options give; a value is read as YAML.

    Raises
    ------
    InputError
        If one has no "=" or its value is no YAML.
    """
    import yaml

    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair} is not NAME=VALUE, e.g. --set batch=8.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {pair}: the value cannot be read, e.g. --set batch=8.") from error
    return values


_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "None": type(None)}


def conform(values: dict[str, Any], settings: type) -> dict[str, Any]:
    """The values as the fields of a dataclass of settings want them.

    YAML reads 1 as a whole number and 1e-4 as text; both become the number that a field wants. Names that
    are no field, and fields of other than plain types, are left to the dataclass.

    Raises
    ------
    InputError
        If a value is of a type that its field does not take.
    """
    wanted = {field.name: str(field.type).split(" | ") for field in fields(settings)}
    plain = {name: kinds for name, kinds in wanted.items() if all(kind in _TYPES for kind in kinds)}
    return {
        name: _conform(name, value, plain[name]) if name in plain else value for name, value in values.items()
    }


def _conform(name: str, value: Any, kinds: Sequence[str]) -> Any:
    if type(value) in [_TYPES[kind] for kind in kinds]:
        return value
    if "float" in kinds and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise InputError(f"The setting {name} cannot be {value!r}: it takes {' or '.join(kinds)}.")
