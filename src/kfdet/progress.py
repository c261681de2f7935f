"""Progress of a stage: lines for a person on stderr, events for `kfdet run` in a file.

`KFDET_EVENTS` names the file that events are appended to, one JSON object a line, as
`kfdet.schema.run_record.StageEvent` describes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from types import TracebackType
from typing import Self

from kfdet.errors import KfdetError
from kfdet.visible import visible

EVENTS_VARIABLE = "KFDET_EVENTS"
STAGE_VARIABLE = "KFDET_STAGE"
INTERRUPTED = 130
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_EVENTS = 0.2


class Progress:
    """Says where a stage is. An event is one append, so several processes may share a file.

    As a context manager it frames the stage: an error that kfdet explains becomes one message
    and the error's exit code, not a traceback.
    """

    def __init__(
        self, stage: str, *, part: str = "", events_path: str | None = None, quiet: bool = False
    ) -> None:
        self.stage = stage
        self._part = part
        self._events_path = events_path
        self._quiet = quiet
        # The first line of a stage comes after a pause: short work needs none.
        self._last_update = 0.0 if events_path else time.monotonic()

    @classmethod
    def from_environment(cls, stage: str, *, part: str = "") -> Progress:
        """Returns a progress that also writes events where KFDET_EVENTS names a file.

        Args:
            stage: Name of the stage; KFDET_STAGE names another one that it works for.
            part: Which of several tasks of the stage this is: `shard 1/2`.
        """
        return cls(
            os.environ.get(STAGE_VARIABLE, stage),
            part=part,
            events_path=os.environ.get(EVENTS_VARIABLE),
        )

    def __enter__(self) -> Self:
        self._event("started")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if failure is None:
            self._event("finished")
        elif isinstance(failure, KfdetError):
            self._event("failed", message=str(failure), figures={"exit_code": failure.exit_code})
            self._line(f"failed: {failure}")
            raise SystemExit(failure.exit_code) from failure
        elif isinstance(failure, KeyboardInterrupt):
            message = str(failure) or "interrupted"
            self._event("failed", message=message, figures={"exit_code": INTERRUPTED})
            self._line(message)
            raise SystemExit(INTERRUPTED) from failure
        else:
            self._event("failed", message=f"{type(failure).__name__}: {failure}")

    def update(self, done: int, *, total: int, unit: str, **figures: float) -> None:
        """Reports how far a long piece of work is; cheap enough for every batch.

        Args:
            done: Pieces finished.
            total: Pieces in all.
            unit: What a piece is, in the plural: "images", "steps".
            **figures: Numbers worth seeing beside it: loss, steps_per_s, eta_s.
        """
        now = time.monotonic()
        pause = _SECONDS_BETWEEN_EVENTS if self._events_path else _SECONDS_BETWEEN_LINES
        if done < total and now - self._last_update < pause:
            return
        self._last_update = now
        self._event(
            "progress", message=self._part, done=done, total=total, unit=unit, figures=figures
        )
        shown = "".join(f"  {name} {value:.4g}" for name, value in figures.items())
        self._line(f"{done:,}/{total:,} {unit}{shown}")

    def report(self, path: str) -> None:
        """Names the HTML report that the stage has written, also when it is about to fail."""
        self._event("report", message=path)

    def note(self, message: str) -> None:
        """Says one sentence that a person should read."""
        self._event("note", message=visible(message))
        self._line(message)

    def _line(self, text: str) -> None:
        if not self._quiet:
            name = f"{self.stage} {self._part}".rstrip()
            # Whoever read our lines may be gone; the work goes on, to save what it has.
            with contextlib.suppress(BrokenPipeError):
                print(f"[{name}] {visible(text)}", file=sys.stderr, flush=True)

    def _event(self, kind: str, **fields: object) -> None:
        if not self._events_path:
            return
        event = {"kind": kind, "stage": self.stage, "time": time.time(), **fields}
        with open(self._events_path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
