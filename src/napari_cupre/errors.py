"""Errors that a user can fix.

Every message is one sentence that says what was wrong, where, and what to do.
The command line prints the message only (exit code 2); the widgets show it in place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CupreError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(CupreError):
    """An image, annotation, folder or option cannot be used as given."""


class NothingToSee(InputError):
    """An image holds no grey value at all."""


class ModelFileError(CupreError):
    """A model file is missing, corrupt, foreign, or of another format version."""


class EnvironmentFault(CupreError):
    """The installation or the computer cannot do this (mismatched torch, no device, full disk)."""


_FREE_SPACE = "free some space or choose another folder"
_NETWORK = "the network drive does not respond: check the connection and try again"
_SYSTEM_REASONS = {
    errno.ENOSPC: f"the disk is full: {_FREE_SPACE}",
    errno.EDQUOT: f"your disk quota is used up: {_FREE_SPACE}",
    errno.EFBIG: "the disk does not support files of that size: choose another disk",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "access is denied: check the permissions, and that no other program has it open",
    errno.EPERM: "access is denied: check the permissions, and that no other program has it open",
    errno.EBUSY: "another program is using it: close it there",
    errno.ETXTBSY: "another program is using it: close it there",
    errno.EISDIR: "a folder with that name exists: choose another name",
    errno.ENOTEMPTY: "a folder with that name exists: choose another name",
    errno.ENOTDIR: "part of that path is a file, not a folder: choose another folder",
    errno.EEXIST: "a file with that name exists: choose another name",
    errno.ENAMETOOLONG: "the name is too long: use shorter file and folder names",
    errno.ENOENT: "there is no such file or folder: check the path",
    errno.ELOOP: "it is a link to itself: remove that link",
    errno.EINVAL: "the disk does not accept that name or content: choose another name or folder",
    errno.EILSEQ: "the name contains characters that the disk does not support: choose another name",
    errno.EIO: "the disk reports an error: check the disk, or copy the file again",
    errno.EMFILE: "too many files are open: close some programs, or raise the limit with ulimit -n",
    errno.ENFILE: "too many files are open: close some programs",
    errno.ENOMEM: "not enough memory: close some programs",
    errno.ENXIO: "the disk is not available: check the path",
    errno.ENODEV: "the disk is not available: check the path",
    **{
        getattr(errno, name): _NETWORK
        for name in (
            "ESTALE",
            "ETIMEDOUT",
            "EHOSTDOWN",
            "EHOSTUNREACH",
            "ENETDOWN",
            "ENETUNREACH",
            "EREMOTEIO",
        )
        if hasattr(errno, name)
    },
}


def system_reason(error: OSError) -> str:
    """Explain an error of the operating system in words, without its number.

    Parameters
    ----------
    error : OSError
        As Python raises it.

    Returns
    -------
    str
        A clause without a full stop: what is wrong and, if known, what to do.

    Examples
    --------
    >>> system_reason(OSError(28, "No space left on device"))
    'the disk is full: free some space or choose another folder'
    """
    known = _SYSTEM_REASONS.get(error.errno or 0)
    return known or error.strerror or str(error) or type(error).__name__


def reason_of(error: BaseException) -> str:
    """Explain in a clause why something failed, for use in parentheses.

    Parameters
    ----------
    error : BaseException
        From the operating system, a library or this package.

    Returns
    -------
    str
        `system_reason` for errors of the system; for others the first line, without a full stop. What a
        `KeyError` did not find is called missing.

    Examples
    --------
    >>> reason_of(NotADirectoryError(20, "Not a directory"))
    'part of that path is a file, not a folder: choose another folder'
    """
    if isinstance(error, OSError) and error.errno is not None:
        return system_reason(error)
    if isinstance(error, KeyError) and error.args:
        return f'"{error.args[0]}" is missing'
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def naming(subject: str, error: BaseException) -> str:
    """Put the name of an image into the sentence of an error that calls it "The image".

    Examples
    --------
    >>> naming('The image "a"', InputError("The image contains only NaN: choose another one."))
    'The image "a" contains only NaN: choose another one.'
    >>> naming('"a.tif"', InputError("Two planes differ in size: choose another file."))
    '"a.tif": Two planes differ in size: choose another file.'
    """
    said = str(error)
    rest = said.removeprefix("The image ")
    return f"{subject}: {said}" if rest == said else f"{subject} {rest}"


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the operating system in this block into one that names a path, see `unwritable`.

    Parameters
    ----------
    path : str or os.PathLike
        The file or folder that the block writes, makes or deletes.

    Raises
    ------
    EnvironmentFault
        If the operating system refuses.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str | os.PathLike[str], error: OSError) -> EnvironmentFault:
    """Make the error for a file or folder that cannot be written.

    Parameters
    ----------
    path : str or os.PathLike
        The file or folder.
    error : OSError
        From the operating system.

    Returns
    -------
    EnvironmentFault
        Its message names the path, or the folder above it that is at fault.
    """
    above = map(os.fspath, Path(path).parents)
    blamed = error.filename if isinstance(error.filename, str) and error.filename in above else path
    return EnvironmentFault(f'"{os.fspath(blamed)}" could not be written: {system_reason(error)}.')
