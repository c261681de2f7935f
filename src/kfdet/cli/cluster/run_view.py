"""A run as the API tells it: its stages, found again among the nodes of the workflow.

The API lists every node of the workflow: its display name, which is the task's key in its DAG, its
state, and the ids of its children; neither its own id nor its pod. A task of the pipeline is a node
with the task's name; its first child is a node `executor`, and with a retry policy that one's
children `executor(0)`, `executor(1)` are the pods that ran the stage. A task that the cache
answered has no such pod. A loop has one node of the name for every iteration.

An id is `WORKFLOW-HASH`, with the 32-bit FNV-1a hash of the node's name. Such a hash can be
continued: that of `executor(0)` follows from that of `executor` without the rest of the name.

Source: Argo's `Workflow.NodeID` and `GeneratePodName`; Kubeflow Pipelines' `api_converter.go` and
`argocompiler/container.go`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
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
_TEMPLATE = "system-container-impl"
_FNV_PRIME = 0x01000193
_STATUS: Mapping[str, ShownStatus] = {
    "PENDING": "waiting", "RUNNING": "running", "PAUSED": "running", "CANCELING": "running",
    "SUCCEEDED": "done", "SKIPPED": "skipped", "FAILED": "failed", "CANCELED": "failed",
}  # fmt: skip
_PROGRESS = re.compile(r"\[(\w+)(?: ([^\]]+))?\] ([\d,]+)/([\d,]+) (\S+)((?:  \w+ \S+)*)\s*$")
_VERDICT = re.compile(r"\[gate\] (pass|fail|insufficient_evidence): (.*)$", re.MULTILINE)
_PART = re.compile(r"^\[\w+ (\w+ (\d+)/\d+)\] ", re.MULTILINE)
_FAILURE = re.compile(r"^\[(\w+)(?: [^\]]+)?\] failed: (.*(?:\n  - .*)*)", re.MULTILINE)
_EXIT = re.compile(r"exit (?:status|code) (\d+)")
_VERSION = re.compile(r"version (\d+) is (?:now the champion|there already)")


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """Attributes:
    name: Of the task, the key in its DAG.
    pods: Names under which the log of the latest attempt may lie, likeliest first.
    attempts: Pods that ran it so far.
    """

    name: str
    status: ShownStatus
    started: datetime.datetime | None
    ended: datetime.datetime | None
    attempts: int
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
    stages: tuple[StageView, ...]

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def stage(self, name: str) -> StageView:
        return next(stage for stage in self.stages if stage.stage == name)

    def suggestion(self, name: str) -> str:
        """Returns a hint at the stage that was meant."""
        return did_you_mean(name, [stage.stage for stage in self.stages])


def run_view(run: Any, *, spec: Mapping[str, Any] | None = None) -> RunView:
    """Returns what the API says of a run.

    Args:
        run: A `V2beta1Run`.
        spec: Its pipeline as compiled, where it is known: that names the pods' templates.
    """
    nodes = list(run.run_details.task_details or []) if run.run_details else []
    names = {node.display_name for node in nodes}
    parameters = (run.runtime_config.parameters or {}) if run.runtime_config else {}
    stages = list(STAGES)
    for optional, before in _OPTIONAL:
        if optional in names:
            stages.insert(stages.index(before), optional)
    ended = run.state in ENDED
    tree = _Tree(nodes, spec=spec or {}, run_ended=ended)
    return RunView(
        run_id=run.run_id,
        name=run.display_name,
        state=run.state or "PENDING",
        experiment_id=run.experiment_id or "",
        description=run.description or "",
        created=run.created_at,
        finished=_moment(run.finished_at),
        recurring_run=run.recurring_run_id or None,
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

    def __init__(self, nodes: Sequence[Any], *, spec: Mapping[str, Any], run_ended: bool) -> None:
        self._run_ended = run_ended
        self._ids = {child for node in nodes for child in _children(node)}
        self._executors = {_continued(one, ".executor") for one in self._ids} & self._ids
        self._templates = _templates(spec)
        skipped = {node.state == "SKIPPED" for node in nodes if node.display_name == "executor"}
        self._all_skipped = skipped == {True}
        self._retries = any(node.display_name == "executor(0)" for node in nodes)

    def task(self, node: Any) -> TaskView:
        status = _STATUS.get(node.state or "", "skipped" if self._run_ended else "waiting")
        executor = next((child for child in _children(node) if self._is_executor(child)), None)
        attempts = self._attempts(executor) if executor else []
        if status == "done" and executor and not attempts and self._ran_nothing(node):
            status = "cached"
        # Without a policy for retries the executor is the pod itself.
        ran = attempts or (
            [executor] if executor and status in ("running", "done", "failed") else []
        )
        return TaskView(
            name=node.display_name,
            status=status,
            started=_moment(node.start_time) or _moment(node.create_time),
            ended=_moment(node.end_time),
            attempts=len(ran),
            pods=tuple(
                pod
                for one in reversed(ran)
                for pod in self._pods(one, node, retried=bool(attempts))
            ),
        )

    def _is_executor(self, identity: str) -> bool:
        """Returns whether a task's child is what runs it, not a task that comes after it."""
        return identity in self._executors or _continued(identity, "(0)") in self._ids

    def _attempts(self, executor: str) -> list[str]:
        found: list[str] = []
        while (attempt := _continued(executor, f"({len(found)})")) in self._ids:
            found.append(attempt)
        return found

    def _ran_nothing(self, node: Any) -> bool:
        template = self._templates.get(node.display_name)
        retried = "retry-" in template if template else self._retries
        return retried or self._all_skipped

    def _pods(self, identity: str, node: Any, *, retried: bool) -> list[str]:
        """Returns the names that a node's pod may have: Argo's present ones, then the older."""
        workflow, _, number = identity.rpartition("-")
        known = self._templates.get(node.display_name)
        plain = f"retry-{_TEMPLATE}" if retried else _TEMPLATE
        return [f"{workflow}-{known or plain}-{number}", identity]


def _children(node: Any) -> list[str]:
    return [child.pod_name for child in node.child_tasks or [] if child.pod_name]


def _continued(identity: str, more: str) -> str:
    """Returns the id of the node whose name is another node's and some more characters."""
    workflow, _, number = identity.rpartition("-")
    if not number.isdigit():
        return ""
    value = int(number)
    for byte in more.encode():
        value = ((value ^ byte) * _FNV_PRIME) % 2**32
    return f"{workflow}-{value}"


def _templates(spec: Mapping[str, Any]) -> dict[str, str]:
    """Returns the template of each task's pod, which its retry policy and its labels name."""
    pipeline, platform = spec.get("pipeline_spec") or spec, spec.get("platform_spec") or {}
    components = pipeline.get("components") or {}
    kubernetes = (platform.get("platforms") or {}).get("kubernetes") or {}
    executors = (kubernetes.get("deploymentSpec") or {}).get("executors") or {}
    found = {}
    for dag in (pipeline.get("root") or {}, *components.values()):
        for name, task in ((dag.get("dag") or {}).get("tasks") or {}).items():
            label = components.get(task["componentRef"]["name"], {}).get("executorLabel")
            if label is None:
                continue
            template = f"retry-{_TEMPLATE}" if "retryPolicy" in task else _TEMPLATE
            metadata = (executors.get(label) or {}).get("podMetadata")
            if metadata is not None:
                counts = (len(metadata.get(kind) or ()) for kind in ("annotations", "labels"))
                template = f"metadata-{'-'.join(map(str, counts))}-{template}"
            found[name] = template
    return found


def _moment(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Returns a moment, or None for the epoch, which the API gives for what has not happened."""
    return moment if moment is not None and moment.year > 1970 else None


def progress_of(log: str) -> StageEvent | None:
    """Returns how far a stage is, by the last line of its log that says so."""
    for line in reversed(log.splitlines()):
        match = _PROGRESS.search(line)
        if match:
            stage, part, done, total, unit, figures = match.groups()
            pairs = re.findall(r"  (\w+) (\S+)", figures)
            return StageEvent(
                kind="progress",
                stage=stage,
                time=0.0,
                message=part or "",
                done=int(done.replace(",", "")),
                total=int(total.replace(",", "")),
                unit=unit,
                figures={
                    name: number for name, text in pairs if (number := _number(text)) is not None
                },
            )
    return None


def part_of(log: str) -> tuple[str, int]:
    """Returns which of several tasks wrote a log, `shard 2/4`, and its number; '' and 0 if none."""
    found = _PART.search(log)
    return (found[1], int(found[2])) if found else ("", 0)


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
