"""Progress of a stage: lines for a person on stderr, events for `kfdet run` in a file.

`KFDET_EVENTS` names the file that events are appended to, one JSON object a line, as
`kfdet.schema.run_record.StageEvent` describes them.
"""

from __future__ import annotations

import json
import os
import sys
import time

EVENTS_VARIABLE = "KFDET_EVENTS"
_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Says where a stage is. Writing an event is one append, so that several processes may share a file."""

    def __init__(self, stage: str, *, events_path: str | None = None, quiet: bool = False) -> None:
        self.stage = stage
        self._events_path = events_path
        self._quiet = quiet
        self._last_line = 0.0

    @classmethod
    def from_environment(cls, stage: str) -> Progress:
        """Returns a progress that also writes events where KFDET_EVENTS names a file."""
        return cls(stage, events_path=os.environ.get(EVENTS_VARIABLE))

    def update(self, done: int, *, total: int, unit: str, **figures: float) -> None:
        """Reports how far a long piece of work is. Cheap enough for every batch: lines are rationed.

        Args:
            done: Pieces finished.
            total: Pieces in all.
            unit: What a piece is, in the plural: "images", "steps".
            **figures: Numbers worth seeing beside it: loss, steps_per_s, eta_s.
        """
        now = time.monotonic()
        if (
            now - self._last_line < (_SECONDS_BETWEEN_LINES if not self._events_path else 0.2)
            and done < total
        ):
            return
        self._last_line = now
        self._event("progress", done=done, total=total, unit=unit, figures=figures)
        shown = "".join(f"  {name} {value:.4g}" for name, value in figures.items())
        self._line(f"{done:,}/{total:,} {unit}{shown}")

    def report(self, path: str) -> None:
        """Names the HTML report that the stage has written, also when it is about to fail."""
        self._event("report", message=path)
        self._line(f"report {path}")

    def note(self, message: str) -> None:
        """Says one sentence that a person should read."""
        self._event("note", message=message)
        self._line(message)

    def _line(self, text: str) -> None:
        if not self._quiet:
            print(f"[{self.stage}] {text}", file=sys.stderr, flush=True)

    def _event(self, kind: str, **fields: object) -> None:
        if not self._events_path:
            return
        event = {"kind": kind, "stage": self.stage, "time": time.time(), **fields}
        with open(self._events_path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
