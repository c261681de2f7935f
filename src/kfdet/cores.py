"""How many cores this process may use: those of the machine, within its container's limit."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Returns how many cores this process may use.

    A container's CPU limit counts: without it a pod on a large node would start a worker for each
    of the node's cores.
    """
    return core_limit() or _machine_cores()


def core_limit() -> int | None:
    """Returns the container's CPU limit in whole cores, or None where the machine has no more.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max).
    """
    limit = min(_limits(), default=None)
    return max(1, limit) if limit is not None and limit < _machine_cores() else None


def _machine_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


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
