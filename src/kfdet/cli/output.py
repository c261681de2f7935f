"""What every verb prints: one JSON object, or lines for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
        if value is None or value == ():
            continue
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        if isinstance(value, tuple):
            shown = "; ".join(map(str, value))
        print(visible(f"{name.replace('_', ' '):<{width}}  {shown}"))
