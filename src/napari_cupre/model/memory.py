"""Set the C library's memory manager to suit a network's arithmetic.

glibc returns blocks above 32 MB to the system at once and requests them again each time. The maps of a field
are such blocks, and getting and clearing their pages took a sixth of the prediction time. Smaller blocks stay
in the heap and leave gaps of all sizes: over hundreds of tiles the process grew by 400 MB of unused memory.
So here the process keeps blocks of any size, and `trim` releases the gaps from time to time. Other C
libraries are not changed.
"""

from __future__ import annotations

import ctypes
import functools
import platform

# Names and numbers of malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4

_LARGE = 1 << 30  # bytes
_AHEAD = 1 << 26  # least growth of the heap, bytes


@functools.cache
def keep_large_blocks() -> None:
    """Let this process keep up to 2 GB of freed memory for later use; calling it once is enough."""
    library = _library()
    if library is None:
        return
    library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE - 1)
    library.mallopt(_TOP_PAD, _AHEAD)
    if not library.mallopt(_MMAP_THRESHOLD, _LARGE):  # older versions refuse more than 32 MB
        library.mallopt(_MMAP_MAX, 0)


def trim() -> None:
    """Return unused memory to the system; takes some milliseconds."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@functools.cache
def _library() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        library = ctypes.CDLL(None)
        library.mallopt.argtypes, library.malloc_trim.argtypes = [ctypes.c_int] * 2, [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return library
