"""Settings from YAML files (a user's or shipped ones) and from `NAME=VALUE` options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError


def shipped_configs() -> dict[str, Path]:
    """The settings files of the package by name, e.g. "paper-amt2"."""
    folder = Path(str(files("napari_cupre"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def add_settings_options(parser: argparse._ActionsContainer, shipped: str) -> None:
    """Add the options that give settings by file and by name.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of the command, or a group of its options.
    shipped : str
        A sentence about the files of the package.
    """
    parser.add_argument(
        "--config",
        metavar="FILE.yaml",
        help=f"settings file; options on the command line override it. {shipped}",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        dest="assignments",
        help="any other setting, e.g. --set batch=8; repeatable",
    )


def read_config(given: str) -> dict[str, Any]:
    """The settings in a YAML file, named by its path or, for a shipped one, by its name.

    Raises
    ------
    InputError
        If there is no such file, or it contains no settings.
    """
    from napari_cupre.pretraining.pretrain_settings import read_settings

    shipped = shipped_configs()
    path = Path(given)
    if not path.is_file():  # a run's folder may have the name of a shipped file
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
        If one has no "=" or its value is not YAML.
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
