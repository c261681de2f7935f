"""Processes that share work: they are there, they end, and one that dies is told of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from kfdet.storage import workers
from kfdet.storage.workers import worker_count, worker_pool

_PROGRAM = """
import os, signal, sys, time
from kfdet.errors import StorageError
from kfdet.storage.workers import worker_pool
try:
    with worker_pool(2) as pool:
        print(*{task.result() for task in [pool.submit(os.getpid) for _ in range(99)]}, flush=True)
        THEN
except StorageError as failure:
    print(failure)
except KeyboardInterrupt:
    print("interrupted")
"""
_BUSY = "[task.result() for task in [pool.submit(time.sleep, 0.5) for _ in range(200)]]"


def program(then: str) -> tuple[subprocess.Popen[str], set[int]]:
    """Starts a program with two workers; returns it with their process ids."""
    started = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.replace("THEN", then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    pids = {int(word) for word in started.stdout.readline().split()}
    assert pids
    assert started.pid not in pids
    return started, pids


def assert_gone(pids: set[int]) -> None:
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until, "workers outlive their parent"
        time.sleep(0.05)


def test_workers_are_processes_that_end_with_their_pool():
    started, pids = program("pass")
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out, err) == (0, "", "")
    assert_gone(pids)


def test_a_worker_that_is_killed_is_told_with_a_remedy():
    started, pids = program("pool.submit(os.kill, os.getpid(), 0).result();" + _BUSY)
    os.kill(min(pids), signal.SIGKILL)
    out, err = started.communicate(timeout=60)
    assert "a worker process was killed, as happens when memory is short" in out
    assert "Give the stage more memory, or fewer cores." in out
    assert err == ""
    assert_gone(pids)


def test_ctrl_c_reaches_the_program_alone_and_ends_its_workers():
    started, pids = program(_BUSY)
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert (out, err) == ("interrupted\n", "")
    assert_gone(pids)


def test_workers_do_not_outlive_a_program_that_is_killed():
    started, pids = program(_BUSY)
    started.kill()
    started.communicate(timeout=60)
    assert_gone(pids)


def test_threads_do_the_work_where_a_fork_is_not_safe(monkeypatch: pytest.MonkeyPatch):
    def kind(count: int = 2, *, for_little: bool = False) -> type:
        with worker_pool(count, for_little=for_little) as pool:
            assert pool.submit(sum, [1, 2]).result() == 3
        return type(pool)

    monkeypatch.setattr(workers, "_NOT_FORKED", ())
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert kind() is ProcessPoolExecutor
    assert kind(1) is ThreadPoolExecutor
    assert kind(for_little=True) is ThreadPoolExecutor
    monkeypatch.setattr(workers, "_NOT_FORKED", ("pytest",))
    assert kind() is ThreadPoolExecutor
    monkeypatch.setattr(workers, "_NOT_FORKED", ())
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert kind() is ThreadPoolExecutor


def test_a_node_of_many_cores_starts_no_more_workers_than_one_process_can_feed(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(96)))
    assert worker_count() <= 16
