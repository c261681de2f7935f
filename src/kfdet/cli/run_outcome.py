"""From the events of a run to its record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kfdet.cli.local_pipeline import TaskEvent
from kfdet.cli.run_folder import RunFolder
from kfdet.errors import KfdetError
from kfdet.schema.gate import Decision, Verdict
from kfdet.schema.metrics import Metrics
from kfdet.schema.run_record import STAGES, StageEvent, StageRecord, StageStatus
from kfdet.storage.documents import read_document


class StageFailure(KfdetError):
    """A stage ended with an error; carries the exit code that the stage ended with."""

    def __init__(self, what: str, *, where: str, exit_code: int, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.exit_code = exit_code  # type: ignore[misc]


@dataclass(kw_only=True, eq=False)
class StageProgress:
    """What is known of one stage while a run goes on; the `tasks` of a loop are gathered in one."""

    stage: str
    tasks: int = 1
    events: list[TaskEvent] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    failure: StageEvent | None = None

    @property
    def status(self) -> StageStatus | None:
        """The worst status of its tasks; null while it has not started or still runs."""
        ended = [event.status for event in self.events if event.status != "started"]
        if "failed" in ended or self.failure:
            return "failed"
        if len(ended) < self.tasks:
            return None
        return "cached" if all(status == "cached" for status in ended) else "done"

    @property
    def time_s(self) -> float:
        """Seconds from the first start to the last end."""
        times = [event.time for event in self.events]
        return max(times) - min(times) if times else 0.0

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs of the tasks that ended well; lists where a loop gave several."""
        ended = [e for e in self.events if e.status in ("done", "cached")]
        if len(ended) <= 1:
            return dict(ended[0].outputs) if ended else {}
        return {name: [e.outputs.get(name) for e in ended] for name in ended[0].outputs}

    def scalar(self, name: str) -> float | None:
        """Returns a logged scalar, summed over the tasks of a loop."""
        values = [e.scalars[name] for e in self.events if name in e.scalars]
        return sum(values) if values else None

    @property
    def key_figure(self) -> str:
        """One phrase that says what came out."""
        if self.failure:
            return self.failure.message.splitlines()[0]
        if self.status not in ("done", "cached"):
            return ""
        return _KEY_FIGURES[self.stage](self)


def _count(stage: StageProgress, name: str) -> str:
    return f"{stage.scalar(name) or 0:,.0f}"


def _fraction(stage: StageProgress, name: str) -> str:
    value = stage.scalar(name)
    return "undefined" if value is None else f"{value:.3f}"


def _validate_figure(stage: StageProgress) -> str:
    images = sum(stage.scalar(f"{split}_images") or 0 for split in ("train", "val", "test"))
    return f"{images:,.0f} images, {_count(stage, 'errors')} errors, {_count(stage, 'warnings')} warnings"


def _gate_figure(stage: StageProgress) -> str:
    rules = [
        f"{_count(stage, name)} {word}"
        for name, word in (("holds", "hold"), ("fails", "fail"), ("unknown", "can't be told"))
        if stage.scalar(name)
    ]
    verdict = str(stage.outputs.get("Output", "")).replace("_", " ")
    return f"{verdict}; rules: {', '.join(rules)}"


_KEY_FIGURES: dict[str, Callable[[StageProgress], str]] = {
    "examine": lambda s: f"{_count(s, 'images')} images in {_count(s, 'shards')} shards",
    "validate": _validate_figure,
    "render": lambda s: f"{_count(s, 'steps')} steps of {_count(s, 'batch_size')} images",
    "check": lambda s: (
        f"{str(s.outputs.get('feasibility_verdict', '')).replace('_', ' ')}, "
        f"ap at most {_fraction(s, 'ap_ceiling')}"
    ),
    "train": lambda s: (
        f"step {_count(s, 'step')}, loss {_fraction(s, 'loss')}, "
        f"{s.scalar('steps_per_s') or 0:.1f} steps/s"
    ),
    "select": lambda s: f"step {_count(s, 'checkpoint_step')}, val {_fraction(s, 'value')}",
    "evaluate": lambda s: f"{_count(s, 'images')} images, {_count(s, 'detections')} detections",
    "merge": lambda s: f"ap {_fraction(s, 'ap')}, ap50 {_fraction(s, 'ap50')}",
    "gate": _gate_figure,
    "export": lambda s: f"scores differ by at most {s.scalar('max_score_difference') or 0:.1g}",
    "publish": lambda s: f"version {_count(s, 'version')}",
}


class RunProgress:
    """All the stages of a run, fed with the lines of its two event files."""

    def __init__(self, *, tasks: Mapping[str, int]) -> None:
        self.stages = {name: StageProgress(stage=name) for name in STAGES}
        for name, number in tasks.items():
            self.stages[name].tasks = number

    def task(self, line: str) -> StageProgress | None:
        """Takes in a line of `tasks.jsonl`; returns the stage that it is about."""
        event = TaskEvent.model_validate(json.loads(line))
        stage = self.stages.get(event.task)
        if stage:
            stage.events.append(event)
        return stage

    def event(self, line: str) -> StageEvent | None:
        """Takes in a line of `events.jsonl`; a line that a killed stage left half is passed over."""
        try:
            event = StageEvent.model_validate(json.loads(line))
        except (json.JSONDecodeError, ValidationError):
            return None
        stage = self.stages[event.stage]
        if event.kind == "report":
            stage.reports.append(Path(event.message))
        elif event.kind == "failed":
            stage.failure = event
        return event

    def records(self, folder: RunFolder) -> tuple[StageRecord, ...]:
        """Returns the record of every stage, its report copied to the run's `reports`."""
        return tuple(
            StageRecord(
                stage=stage.stage,
                status=stage.status or "skipped",
                time_s=stage.time_s,
                key_figure=stage.key_figure,
                report=_copy_report(stage, folder),
                outputs=stage.outputs,
            )
            for stage in self.stages.values()
        )

    def failure(self, folder: RunFolder) -> StageFailure | None:
        """Returns the error that ended the run, or None when no stage failed."""
        for stage in self.stages.values():
            if stage.failure:
                code = int(stage.failure.figures.get("exit_code", 1))
                return StageFailure(
                    stage.failure.message, where=f"stage {stage.stage}", exit_code=code
                )
        for stage in self.stages.values():
            if stage.status == "failed" or (stage.events and stage.status is None):
                return StageFailure(
                    "ended without a word: killed, or out of memory",
                    where=f"stage {stage.stage}",
                    exit_code=1,
                    remedy=f"Its output is in {folder.log}.",
                )
        return None

    def decision(self) -> Decision | None:
        """Returns the gate's decision, when the run got that far."""
        path = self.stages["gate"].outputs.get("decision_json")
        return read_document(Decision, path) if path else None

    def metrics(self) -> Metrics | None:
        """Returns the metrics on the test split, when the run got that far."""
        path = self.stages["merge"].outputs.get("metrics_json")
        return read_document(Metrics, path) if path else None

    def check(self, decision: Decision) -> None:
        """Holds what ran against the decision: the status of a pipeline alone is not trusted.

        Raises:
            StageFailure: Something was exported without a pass, or a pass published nothing.
        """
        ran: Sequence[str] = [n for n in ("export", "publish") if self.stages[n].events]
        passed: Verdict = "pass"
        if decision.decision != passed and ran:
            raise StageFailure(
                f"{' and '.join(ran)} ran although the gate said {decision.decision}",
                where="pipeline",
                exit_code=1,
            )
        if decision.decision == passed and self.stages["publish"].status != "done":
            raise StageFailure(
                "passed the gate and was not published", where="pipeline", exit_code=1
            )


def _copy_report(stage: StageProgress, folder: RunFolder) -> str | None:
    output = stage.outputs.get("report")
    candidates = [Path(output)] if isinstance(output, str) else stage.reports
    for path in reversed(candidates):
        if path.is_file():
            folder.reports.mkdir(exist_ok=True)
            target = folder.reports / f"{stage.stage}.html"
            shutil.copyfile(path, target)
            return str(target.relative_to(folder.root))
    return None
