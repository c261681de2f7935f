"""Work that goes on beside the caller's own, one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from threading import Thread


class Background:
    """At most one piece of work at a time; what goes wrong in it is told to whoever asks next.

    Its thread does not keep the process alive: a process that must end at once leaves the work where
    it is, as a kill would.
    """

    def __init__(self) -> None:
        self._outcome: futures.Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begins a piece of work, after the one before.

        Raises:
            BaseException: What went wrong in the one before; the new one is not begun.
        """
        self.wait()
        outcome = self._outcome = futures.Future[None]()

        def run() -> None:
            try:
                work()
                outcome.set_result(None)
            except BaseException as failure:  # noqa: BLE001 raised again in `wait`
                outcome.set_exception(failure)

        Thread(target=run, daemon=True).start()

    def check(self) -> None:
        """Returns at once.

        Raises:
            BaseException: What went wrong in the work, once it has ended.
        """
        if self._outcome is not None and self._outcome.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the work to end.

        Raises:
            BaseException: What went wrong in it; it is told once.
        """
        if self._outcome is None:
            return
        # A signal that ends the waiting leaves the work to be waited for again.
        futures.wait([self._outcome])
        outcome, self._outcome = self._outcome, None
        outcome.result()
