"""The command line of a benchmark."""

from __future__ import annotations

import argparse


def script_parser(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of the script, as it is written there."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
