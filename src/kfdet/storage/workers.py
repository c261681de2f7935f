"""Processes that share the work of a stage, and how many of them."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from kfdet.cores import usable_cores
from kfdet.errors import StorageError

# One process hands out the work; more than these would wait for it.
_MOST_WORKERS = 16
_PR_SET_PDEATHSIG = 1
# Libraries with threads of their own, which a forked process would lack.
_NOT_FORKED = ("tensorflow", "grpc")


def worker_count() -> int:
    """Returns how many workers share work best: one a core, up to what one process can feed."""
    return min(usable_cores(), _MOST_WORKERS)


@contextlib.contextmanager
def worker_pool(count: int, *, for_little: bool = False) -> Iterator[Executor]:
    """Yields a pool of workers: processes where this one can be forked safely, else threads.

    Processes share no interpreter, so that Python code runs on all cores; they are there in a
    hundredth of a second. Work that was not begun is dropped when the block is left by an error.

    Args:
        count: How many.
        for_little: The work takes less time than processes take to start.

    Raises:
        StorageError: A worker was killed.
    """
    pool: Executor
    if count == 1 or for_little or not _can_fork():
        pool = ThreadPoolExecutor(count)
    else:
        pool = ProcessPoolExecutor(
            count, mp_context=multiprocessing.get_context("fork"), initializer=_begin
        )
    try:
        with warnings.catch_warnings():
            # Of threads Python can't know that numpy's are made to be forked.
            warnings.simplefilter("ignore", DeprecationWarning)
            pool.submit(int)
        yield pool
    except BrokenProcessPool as failure:
        raise StorageError(
            "a worker process was killed, as happens when memory is short",
            expected=f"memory for {count} workers",
            remedy="Give the stage more memory, or fewer cores.",
        ) from failure
    finally:
        pool.shutdown(cancel_futures=True)


def _can_fork() -> bool:
    is_alone = threading.active_count() == 1
    return (
        sys.platform == "linux"
        and is_alone
        and not any(name in sys.modules for name in _NOT_FORKED)
    )


def _begin() -> None:
    """Makes a worker end with the process that started it, which alone is told of Ctrl-C."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
