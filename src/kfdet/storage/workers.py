"""How many cores a stage may use, and processes that share its work."""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from kfdet.errors import StorageError

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
# One process hands out the work; more than these would wait for it.
_MOST_WORKERS = 16
_PR_SET_PDEATHSIG = 1
# Libraries with threads of their own, which a forked process would lack.
_NOT_FORKED = ("tensorflow", "grpc")


def usable_cores() -> int:
    """Returns how many cores this process may use.

    A container's CPU limit counts: without it a pod on a large node would start a worker for each
    of the node's cores.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max).
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, *_limits(), _MOST_WORKERS))


def _limits() -> Iterator[int]:
    """Yields the limits in cores of this process's control group and of those around it."""
    with contextlib.suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            if line.startswith("0::"):
                own = Path(line[3:].lstrip("/"))
                for group in (own, *own.parents):
                    yield from _limit(_GROUPS / group)


def _limit(folder: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        if quota != "max":
            yield math.ceil(int(quota) / int(period))


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
