"""Ctrl-C and SIGTERM as a request that the training loop answers between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after the checkpoint was saved; the message says how to go on."""


class StopRequest:
    """Remembers the first signal; the second is obeyed at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt("stopped at once; the newest checkpoint is kept")
        self.received = number


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Holds Ctrl-C and SIGTERM back until the loop looks; only a main thread can."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
