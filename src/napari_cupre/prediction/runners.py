"""Run the prediction of files in this process, in several, or on a dask.distributed cluster."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Protocol

from napari_cupre.errors import EnvironmentFault
from napari_cupre.events import Notice, Progress
from napari_cupre.prediction.engine_choice import TORCH
from napari_cupre.prediction.onefile import FileJob, FileOutcome, iter_file, predict_file

ATTEMPTS = 3
"""How often a file is tried if its worker on a cluster dies."""

ATTEMPTS_ALONE = 2
"""How often a file is tried alone if its process on this machine dies."""

SHARED = (
    "napari_cupre.prediction.onefile",
    "napari_cupre.prediction.detector",
    "napari_cupre.model.checkpoint",
)
"""Modules that are imported once for all processes with torch."""

SECONDS_TO_ANSWER = 10
"""Longest time to wait for a scheduler's answer."""


Outcomes = Generator[FileOutcome, None, None]
News = Generator[FileOutcome | Progress | Notice, None, None]


class Runner(Protocol):
    """Runs a job on files."""

    def __call__(self, job: FileJob, paths: list[str]) -> News:
        """Yield outcomes in the order of completion; closing the iterator ends the run.

        Between them come the progress of the current file and notices for the user.
        """


def in_this_process(job: FileJob, paths: list[str]) -> News:
    """Run the files one after the other in this process.

    Reading the next file and writing the last one in parallel threads was slower on two cores
    (docs/performance.md), because the network needs both.
    """
    for path in paths:
        outcome = yield from iter_file(job, path)
        yield outcome


@dataclass(frozen=True)
class Processes:
    """A number of processes of this machine, which share its processors."""

    workers: int

    def __call__(self, job: FileJob, paths: list[str]) -> News:
        """Run the files in several processes and report each."""
        waiting = list(reversed(paths))
        suspects: list[str] = []
        while waiting or suspects:
            yield from self._one_by_one(job, suspects)
            suspects = yield from self._together(job, waiting)

    def _together(self, job: FileJob, waiting: list[str]) -> Generator[FileOutcome, None, list[str]]:
        """Take files from the end of `waiting`, several at a time.

        A process that dies breaks its whole pool, and there is no telling which file caused it. So all files
        in work are returned, to be tried one by one.
        """
        running: dict[Future[FileOutcome], str] = {}
        pool = self._pool(self.workers, job.engine)
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self.workers:
                    future = pool.submit(predict_file, job, waiting[-1])
                    running[future] = waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        return list(running.values())
                    yield _outcome_of(future, running.pop(future))
        except BrokenProcessPool:  # raised when the next file is handed out
            return list(running.values())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return []

    def _one_by_one(self, job: FileJob, paths: list[str]) -> Outcomes:
        """Run files one at a time in a process with all the memory, so that no file makes another fail."""
        pool: ProcessPoolExecutor | None = None
        for path in paths:
            for _ in range(ATTEMPTS_ALONE):
                pool = pool or self._single(job.engine)
                future = pool.submit(predict_file, job, path)
                wait([future])
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield _outcome_of(future, path)
                    break
                pool.shutdown()
                pool = None
            else:
                yield FileOutcome(
                    path,
                    fault=f'"{path}" failed: its process died {ATTEMPTS_ALONE} times, perhaps for lack of '
                    "memory though nothing else ran; save it as OME-Zarr.",
                )
        if pool is not None:
            pool.shutdown()

    def _single(self, engine: str) -> ProcessPoolExecutor:
        """Return a pool of one process that is known to start."""
        pool = self._pool(1, engine)
        try:
            pool.submit(abs, 0).result()
        except BrokenProcessPool as error:
            pool.shutdown()
            raise EnvironmentFault(
                "The processes for the workers cannot be started: use one worker."
            ) from error
        return pool

    @property
    def threads(self) -> int:
        """Return how many threads each process may use."""
        return max(1, (os.cpu_count() or 1) // self.workers)

    def _pool(self, workers: int, engine: str) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, way_to_start(engine), _start_worker, (self.threads,))


def way_to_start(engine: str) -> BaseContext:
    """Return how to start processes that compute with `engine`.

    On Linux, processes for torch are forked from one that has imported it, and share its memory. Other
    systems cannot fork processes safely. ONNX Runtime starts threads when it is imported; a forked process
    would not have them, and there is little to share.
    """
    if engine != TORCH or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(SHARED))
    return context


def _outcome_of(future: Future[FileOutcome], path: str) -> FileOutcome:
    """Return the outcome of a file in a process; any error counts only against that file."""
    error = future.exception()
    if error is None:
        return future.result()
    return FileOutcome(path, fault=f'"{path}" failed ({type(error).__name__}): its process gave no result.')


def _start_worker(threads: int) -> None:
    """Limit a process to its share of the processors, whichever library computes there."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:  # torch has already read the variable
        sys.modules["torch"].set_num_threads(threads)


class Cluster:
    """An existing dask.distributed cluster whose workers see the same files.

    Parameters
    ----------
    address : str
        Address of the scheduler, e.g. "tcp://10.0.0.1:8786".

    Raises
    ------
    EnvironmentFault
        If distributed is not installed, or there is no answer from the address.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = _connect(address)

    def __call__(self, job: FileJob, paths: list[str]) -> News:
        """Run the files on a dask cluster and report each."""
        from distributed import as_completed

        waiting = iter(paths)
        names: dict[str, str] = {}

        def submit() -> Any:
            path = next(waiting, None)
            if path is None:
                return None
            # Not pure, because files are written. The scheduler itself gives a killed worker's tasks to
            # others.
            future = self._client.submit(predict_file, job, path, pure=False, retries=ATTEMPTS - 1)
            names[future.key] = path
            return future

        def fill() -> list[Any]:
            """Submit two files for each thread that there is now, since workers come and go."""
            slots = 2 * max(1, sum(self._client.nthreads().values()))
            fresh = iter(submit, None)
            return list(itertools.islice(fresh, max(0, slots - len(names))))

        if not self._client.nthreads():
            yield Notice(f"The cluster at {self.address} has no worker yet: the files wait for one.")
        try:
            done = as_completed(fill(), loop=self._client.loop)
            for future in done:
                path = names.pop(future.key)
                yield self._outcome(future, path)
                for following in fill():
                    done.add(following)
        finally:
            self._client.close()

    def _outcome(self, future: Any, path: str) -> FileOutcome:
        try:
            return future.result()
        except Exception as error:
            # Errors of the cluster itself: a worker killed again and again, or missing code.
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            return FileOutcome(path, fault=f'"{path}" failed on the cluster ({reason}): see its log.')


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise EnvironmentFault(
            'A scheduler needs the package distributed: run "pip install napari-cupre[cluster]".'
        ) from error
    try:
        return Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise EnvironmentFault(
            f'No dask scheduler answers at "{address}": check the address and that '
            "`dask scheduler` runs there."
        ) from error
