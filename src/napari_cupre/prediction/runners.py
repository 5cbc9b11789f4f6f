"""Who predicts the files of a run: this process, several processes, or a dask.distributed cluster."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from napari_cupre.errors import EnvironmentFault
from napari_cupre.events import Notice, Progress
from napari_cupre.prediction.onefile import FileJob, FileOutcome, iter_file, predict_file

ATTEMPTS = 3
"""A file whose process dies is tried so often before it counts as failed."""

SECONDS_TO_ANSWER = 10
"""How long a scheduler may take to answer."""


Outcomes = Generator[FileOutcome, None, None]
News = Generator[FileOutcome | Progress | Notice, None, None]


class Runner(Protocol):
    """Runs a job on files."""

    def __call__(self, job: FileJob, paths: list[str]) -> News:
        """Yield outcomes in the order of completion, and perhaps the progress of the file that is in work and
        what the user should know; closing the iterator ends the run.
        """


def in_this_process(job: FileJob, paths: list[str]) -> News:
    """One file after the other."""
    for path in paths:
        outcome = yield from iter_file(job, path)
        yield outcome


class Processes:
    """Several processes of this machine, which share its processors.

    Parameters
    ----------
    workers : number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __call__(self, job: FileJob, paths: list[str]) -> News:
        waiting = list(reversed(paths))
        attempts = dict.fromkeys(paths, 0)
        while waiting:
            # A process that dies (killed for memory) breaks its whole pool: make a new one.
            yield from self._until_broken(job, waiting, attempts)

    def _until_broken(self, job: FileJob, waiting: list[str], attempts: dict[str, int]) -> Outcomes:
        """Take files from the end of `waiting`; those that a broken pool leaves go back to it."""
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, context, _start_worker, (threads,))
        running: dict[Future[FileOutcome], str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self.workers:
                    future = pool.submit(predict_file, job, waiting[-1])
                    running[future] = waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    path = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool:
                        running[future] = path
                        raise
                    yield outcome
        except BrokenProcessPool as error:
            if not running:
                raise EnvironmentFault(
                    "The processes for the workers cannot be started: use one worker."
                ) from error
            yield from _tried_again(list(running.values()), waiting, attempts)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _tried_again(interrupted: list[str], waiting: list[str], attempts: dict[str, int]) -> Outcomes:
    """Put files back whose process died; give up on those that were tried often."""
    for path in interrupted:
        attempts[path] += 1
        if attempts[path] < ATTEMPTS:
            waiting.append(path)
        else:
            fault = f'"{path}" failed: its process died {ATTEMPTS} times, perhaps for lack of memory.'
            yield FileOutcome(path, fault=f"{fault[:-1]}; use fewer workers.")


def _start_worker(threads: int) -> None:
    """Give each process its share of the processors."""
    import torch

    torch.set_num_threads(threads)


class Cluster:
    """An existing dask.distributed cluster, whose workers see the same files.

    Parameters
    ----------
    address : of the scheduler, e.g. "tcp://10.0.0.1:8786".

    Raises
    ------
    EnvironmentFault
        If distributed is not installed, or nobody answers at the address.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = _connect(address)

    def __call__(self, job: FileJob, paths: list[str]) -> News:
        from distributed import as_completed

        waiting = iter(paths)
        names: dict[str, str] = {}

        def submit() -> Any:
            path = next(waiting, None)
            if path is None:
                return None
            # Files are written: the same call twice is not one result. A killed worker's tasks are
            # given to others by the scheduler itself.
            future = self._client.submit(predict_file, job, path, pure=False, retries=ATTEMPTS - 1)
            names[future.key] = path
            return future

        def fill() -> list[Any]:
            """Two files for each thread that there is now: workers come and go."""
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
            # What the cluster itself raises: a worker killed again and again, code that is not there.
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
