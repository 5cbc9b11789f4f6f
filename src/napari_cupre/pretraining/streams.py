"""Endless batches from loader workers, in an order that depends only on the seed and the step.

Sample `i` depends only on its index, and step `s` takes the samples s * B to (s + 1) * B - 1. So a run can
continue exactly at a later index, any number of workers gives the same batches, and each process takes its
own part.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler


class _Shares(Sampler[list[int]]):
    """Endless indices of one process's share of each global batch, from batch `first` on."""

    def __init__(self, first: int, batch: int, share: range) -> None:
        self.first = first
        self.batch = batch
        self.share = share

    def __iter__(self) -> Iterator[list[int]]:
        for number in count(self.first):
            yield [number * self.batch + place for place in self.share]


def batches(
    dataset: Dataset[Any],
    collate: Callable[[list[Any]], Any],
    *,
    first: int,
    batch: int,
    share: range,
    workers: int,
) -> Iterator[Any]:
    """Load batches without end.

    Parameters
    ----------
    dataset : Dataset
        Its item `i` depends only on `i`.
    collate : callable
        Makes a batch from a list of items.
    first : int
        Number of the first global batch.
    batch : int
        Size of the global batch.
    share : range
        This process's places in the global batch.
    workers : int
        Loader processes; 0 loads in this process.

    Yields
    ------
    Any
        What `collate` returns.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=_Shares(first, batch, share),
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_outlive_signals,
        prefetch_factor=3 if workers else None,
        persistent_workers=bool(workers),
    )
    return iter(loader)


def _outlive_signals(_: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which reach every process: the run needs its workers until it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def default_workers() -> int:
    """Return the loader processes for each stream: one on a small machine, up to eight on a large one."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, processors // 4))
