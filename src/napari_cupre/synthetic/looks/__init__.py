"""Looks: how cells appear under different microscopes. Importing this package registers all of them."""

from . import fluorescence, stained, transmitted
from .registry import LOOKS, Look, register_look

__all__ = ["LOOKS", "Look", "fluorescence", "register_look", "stained", "transmitted"]
