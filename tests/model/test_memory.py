"""The C library's memory manager: large blocks are kept, gaps are given back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from napari_cupre.model import memory

needs_glibc = pytest.mark.skipif(memory._library() is None, reason="this C library is left alone")

PROGRAM = """
import resource
import numpy as np
from napari_cupre.model.memory import keep_large_blocks, trim

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024

def faults_of_a_large_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(50_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_large_blocks()
faults_of_a_large_block()
assert faults_of_a_large_block() < 1000, "the block's 12,000 pages were fetched again"
start = resident()
assert start > 45, start
blocks = [np.ones(100_000, np.uint8) for _ in range(2000)]
del blocks[::2]
full = resident()
trim()
assert resident() < full - 80, (full, resident())
"""


@needs_glibc
def test_large_blocks_are_kept_until_the_trim() -> None:
    """In a process of its own: the setting is the whole process's."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("system", "library"), [("Darwin", ""), ("Windows", ""), ("Linux", "musl")])
def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, system: str, library: str) -> None:
    opened: list[object] = []
    monkeypatch.setattr(memory.platform, "system", lambda: system)
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: (library, ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", opened.append)
    monkeypatch.setattr(memory, "_library", memory._library.__wrapped__)  # not the answer for this machine
    memory.keep_large_blocks.__wrapped__()
    memory.trim()
    assert opened == []


def test_a_library_without_the_calls_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "system", lambda: "Linux")
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("glibc", "2.17"))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert memory._library.__wrapped__() is None
