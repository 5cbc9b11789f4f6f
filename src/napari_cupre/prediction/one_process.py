"""Predicting files in this process: while the network sees one, the next is read and the last is written."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from napari_cupre.events import Progress
from napari_cupre.prediction.onefile import FileJob, FileOutcome, FileWork, iter_file

FILE_BYTES = 1 << 24
"""A larger file, and an OME-Zarr, is read when its turn comes: two of them may not fit into memory."""


def in_this_process(job: FileJob, paths: list[str]) -> Generator[FileOutcome | Progress, None, None]:
    """One file after the other; what is yielded comes in the order of `paths`, as if they did not overlap."""
    if len(paths) < 2:
        for path in paths:
            outcome = yield from iter_file(job, path)
            yield outcome
        return
    with _thread("reading") as reading, _thread("writing") as writing:
        behind = _Behind(writing)
        try:
            for work in _Ahead(job, paths, reading):
                if not work.is_light:  # a run that is stopped now has not begun it
                    yield from behind.told()
                for event in work.find():
                    yield from behind.told()
                    yield event
                yield from behind.told()
                behind.begin(work)
                if not work.is_light:
                    yield from behind.told()
        except KeyboardInterrupt:
            yield from behind.told()
            raise
        yield from behind.told()


class _Behind:
    """The file that is written in another thread while the network sees the next one."""

    def __init__(self, writing: ThreadPoolExecutor) -> None:
        self._writing = writing
        self._outcome: Future[FileOutcome] | None = None

    def begin(self, work: FileWork) -> None:
        """Write a file; the one before it must have been told."""
        self._outcome = self._writing.submit(work.finish)

    def told(self) -> Iterator[FileOutcome]:
        """What became of the file, once it is written; nothing where that was told before."""
        if self._outcome is not None:
            outcome = self._outcome.result()
            self._outcome = None
            yield outcome


class _Ahead:
    """The files of a run as work that is read, the next one in another thread."""

    def __init__(self, job: FileJob, paths: list[str], reading: ThreadPoolExecutor) -> None:
        self._job, self._paths, self._reading = job, paths, reading

    def __iter__(self) -> Iterator[FileWork]:
        following = self._begin(self._paths[0])
        for path in [*self._paths[1:], None]:
            work, read = following
            if read is None:
                work.read()
            else:
                read.result()
            if path is not None:
                following = self._begin(path)
            yield work

    def _begin(self, path: str) -> tuple[FileWork, Future[None] | None]:
        """The work on a file, and its reading if that may be done ahead."""
        work = FileWork(self._job, path)
        is_ahead = os.path.isfile(path) and os.path.getsize(path) <= FILE_BYTES
        return work, self._reading.submit(work.read) if is_ahead else None


@contextmanager
def _thread(name: str) -> Iterator[ThreadPoolExecutor]:
    """A thread that ends with what it has begun; what only waits for it is dropped."""
    pool = ThreadPoolExecutor(1, name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
