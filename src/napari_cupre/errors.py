"""Errors a user can mend.

Every message is one sentence that says what was wrong, where, and what to do.
The command line prints it alone (exit code 2); the widgets show it in place.
"""

from __future__ import annotations


class CupreError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(CupreError):
    """An image, annotation, folder or option cannot be used as given."""


class ModelFileError(CupreError):
    """A model file is missing, corrupt, foreign, or of another format version."""


class EnvironmentFault(CupreError):
    """The installation or the machine cannot do this (unfit torch, no device, full disk)."""
