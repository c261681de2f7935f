"""What every verb prints: one JSON object, or lines for a person."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kfdet.errors import DataError
from kfdet.visible import visible

FEASIBILITY_EXIT_CODES = {"can_pass": 0, "at_risk": 0, "cannot_pass": 22}
VERDICT_EXIT_CODES = {"pass": 0, "fail": 20, "insufficient_evidence": 21}


def answer(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints an answer.

    Args:
        values: Name to value.
        as_json: One JSON object on stdout; else a line for each value.
    """
    if as_json:
        print(json.dumps(values, indent=2, default=str))
        return
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if value is None or value in ((), {}):
            continue
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        if isinstance(value, tuple):
            shown = " ".join(map(str, value))
        elif isinstance(value, Mapping):
            shown = "; ".join(f"{one} ({count:,})" for one, count in value.items())
        print(visible(f"{name.replace('_', ' '):<{width}}  {shown}"))


@contextlib.contextmanager
def faults_answered(*, as_json: bool, written: Mapping[str, Path]) -> Iterator[None]:
    """Answers with what was found in faulty data, too, before that ends the verb.

    Args:
        as_json: Whether one JSON object is asked for; the error says the same in words.
        written: Name to what validate writes of faulty data.
    """
    try:
        yield
    except DataError as failure:
        from kfdet.core.validation.findings import FaultyDataError

        if as_json and isinstance(failure, FaultyDataError):
            found = failure.findings.model_dump(include={"counts", "errors", "warnings"})
            answer({**found, **written}, as_json=True)
        raise
