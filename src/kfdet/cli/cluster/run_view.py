"""A run as the API tells it: its stages, found again among the nodes of the workflow.

The API lists every node of the workflow. A task of the pipeline is a node with the task's name;
below it lies a node `executor`, whose pod ran the stage. A task that the cache answered has an
executor that was skipped. A loop has one node of the name for every iteration.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfdet.cli.live import ShownStatus
from kfdet.errors import did_you_mean
from kfdet.schema.gate import Verdict
from kfdet.schema.run_record import CHAMPION_TASKS, STAGES, StageEvent

_OPTIONAL = (("fingerprint", "examine"), ("warmstart", "render"), ("champion", "gate"))
# A stage whose tasks have several names.
_NAMES = {"champion": CHAMPION_TASKS}
_TASKS = {"examine": "num_groups", "evaluate": "num_shards"}
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_EXECUTOR = re.compile(r"executor(\(\d+\))?$")
_STATUS: Mapping[str, ShownStatus] = {
    "PENDING": "waiting", "RUNNING": "running", "PAUSED": "running", "CANCELING": "running",
    "SUCCEEDED": "done", "SKIPPED": "skipped", "FAILED": "failed", "CANCELED": "failed",
}  # fmt: skip
_PROGRESS = re.compile(r"\[(\w+)\] ([\d,]+)/([\d,]+) (\S+)((?:  \w+ \S+)*)\s*$")
_VERDICT = re.compile(r"\[gate\] (pass|fail|insufficient_evidence): (.*)$", re.MULTILINE)
_FAILURE = re.compile(r"^\[(\w+)\] failed: (.*(?:\n  - .*)*)", re.MULTILINE)
_EXIT = re.compile(r"exit (?:status|code) (\d+)")
_VERSION = re.compile(r"version (\d+) is (?:now the champion|there already)")


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """Attributes:
    pods: Names under which the log of the latest attempt may lie, likeliest first.
    attempts: Pods that ran it so far.
    """

    status: ShownStatus
    started: datetime.datetime | None
    ended: datetime.datetime | None
    attempts: int
    error: str
    pods: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StageView:
    """Attributes:
    tasks: One, or one for each iteration of a loop that has begun.
    expected: Tasks that there will be.
    run_ended: What has not begun never will.
    """

    stage: str
    tasks: tuple[TaskView, ...]
    expected: int = 1
    run_ended: bool = False

    @property
    def status(self) -> ShownStatus:
        statuses = {task.status for task in self.tasks}
        if not statuses:
            return "skipped" if self.run_ended else "waiting"
        if "failed" in statuses:
            return "failed"
        if "running" in statuses:
            return "running"
        if "waiting" in statuses or len(self.tasks) < self.expected:
            return "running" if statuses != {"waiting"} else "waiting"
        if statuses == {"cached"}:
            return "cached"
        return "skipped" if statuses == {"skipped"} else "done"

    @property
    def time_s(self) -> float | None:
        starts = [task.started for task in self.tasks if task.started]
        ends = [task.ended for task in self.tasks if task.ended]
        if not starts or len(ends) < len(self.tasks):
            return None
        return max((max(ends) - min(starts)).total_seconds(), 0.0)

    @property
    def attempts(self) -> int:
        return max((task.attempts for task in self.tasks), default=0)


@dataclass(frozen=True, kw_only=True)
class RunView:
    """Attributes:
    state: As the API says: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELING, CANCELED.
    recurring_run: The schedule that started it, or null.
    """

    run_id: str
    name: str
    state: str
    experiment_id: str
    description: str
    created: datetime.datetime | None
    finished: datetime.datetime | None
    recurring_run: str | None
    error: str
    stages: tuple[StageView, ...]

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def stage(self, name: str) -> StageView:
        return next(stage for stage in self.stages if stage.stage == name)

    def suggestion(self, name: str) -> str:
        """Returns a hint at the stage that was meant."""
        return did_you_mean(name, [stage.stage for stage in self.stages])


def run_view(run: Any) -> RunView:
    """Returns what the API says of a run.

    Args:
        run: A `V2beta1Run`.
    """
    nodes = list(run.run_details.task_details or []) if run.run_details else []
    names = {node.display_name for node in nodes}
    parameters = (run.runtime_config.parameters or {}) if run.runtime_config else {}
    stages = list(STAGES)
    for optional, before in _OPTIONAL:
        if optional in names:
            stages.insert(stages.index(before), optional)
    tree = _Tree(nodes)
    ended = run.state in ENDED
    return RunView(
        run_id=run.run_id,
        name=run.display_name,
        state=run.state or "PENDING",
        experiment_id=run.experiment_id or "",
        description=run.description or "",
        created=run.created_at,
        finished=_moment(run.finished_at),
        recurring_run=run.recurring_run_id or None,
        error=(run.error.message or "") if run.error else "",
        stages=tuple(
            StageView(
                stage=stage,
                tasks=tuple(
                    tree.task(node)
                    for node in nodes
                    if node.display_name in _NAMES.get(stage, (stage,))
                ),
                expected=int(parameters.get(_TASKS[stage]) or 1)
                if stage in _TASKS and not ended
                else 1,
                run_ended=ended,
            )
            for stage in stages
        ),
    )


class _Tree:
    """The nodes of a workflow and what lies below each."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        self._nodes = {key: n for n in nodes for key in (n.task_id, n.pod_name) if key}

    def task(self, node: Any) -> TaskView:
        executors = list(self._executors(node, seen=set()))
        status = _STATUS.get(node.state or "PENDING", "waiting")
        # Retries lie below an executor of their own: those that have nothing below them ran.
        ran = [n for n in executors if not any(True for _ in self._below(n))]
        if status == "done" and ran and all(n.state == "SKIPPED" for n in ran):
            status = "cached"
        ran.sort(key=lambda n: str(n.start_time or n.create_time or ""))
        pods = [name for n in reversed(ran) for name in _pod_names(n)]
        return TaskView(
            status=status,
            started=_moment(node.start_time) or _moment(node.create_time),
            ended=_moment(node.end_time),
            attempts=len(ran),
            error=next((e.message for n in (node, *ran) if (e := n.error) and e.message), ""),
            pods=tuple(dict.fromkeys([*pods, *(_pod_names(node) if not ran else [])])),
        )

    def _below(self, node: Any) -> Iterator[Any]:
        """Yields the executors among a node's children; the rest are tasks that come after it."""
        for child in node.child_tasks or []:
            found = self._nodes.get(child.pod_name) or self._nodes.get(child.task_id)
            if found is not None and _EXECUTOR.match(found.display_name or ""):
                yield found

    def _executors(self, node: Any, *, seen: set[int]) -> Iterator[Any]:
        for child in self._below(node):
            if id(child) not in seen:
                seen.add(id(child))
                yield child
                yield from self._executors(child, seen=seen)


def _pod_names(node: Any) -> list[str]:
    """Returns the names that a node's pod may have.

    The API gives Argo's node, `WORKFLOW-12345`. Argo names the pod so, or, in its newer way,
    `WORKFLOW-TEMPLATE-12345`.
    """
    if not node.pod_name:
        return []
    workflow, _, number = node.pod_name.rpartition("-")
    return [node.pod_name, f"{workflow}-system-container-impl-{number}"]


def _moment(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Returns a moment, or None for the epoch, which the API gives for what has not happened."""
    return moment if moment is not None and moment.year > 1970 else None


def progress_of(log: str) -> StageEvent | None:
    """Returns how far a stage is, by the last line of its log that says so."""
    for line in reversed(log.splitlines()):
        match = _PROGRESS.search(line)
        if match:
            stage, done, total, unit, figures = match.groups()
            pairs = re.findall(r"  (\w+) (\S+)", figures)
            return StageEvent(
                kind="progress",
                stage=stage,
                time=0.0,
                done=int(done.replace(",", "")),
                total=int(total.replace(",", "")),
                unit=unit,
                figures={
                    name: number for name, text in pairs if (number := _number(text)) is not None
                },
            )
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def verdict_of(log: str) -> tuple[Verdict, str] | None:
    """Returns the verdict in the gate's log, with its reasons, or None when it is not there."""
    matches = _VERDICT.findall(log)
    return matches[-1] if matches else None


def version_of(log: str) -> int | None:
    """Returns the version in publish's log."""
    matches = _VERSION.findall(log)
    return int(matches[-1]) if matches else None


def failure_of(log: str) -> tuple[str, int]:
    """Returns the error in the log of a failed stage, or '' when it says none, and the exit code."""
    said = _FAILURE.findall(log)
    codes = [int(code) for code in _EXIT.findall(log)]
    return (said[-1][1] if said else ""), (codes[-1] if codes and codes[-1] else 1)
