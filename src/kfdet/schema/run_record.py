"""`run.json`: what a run on one machine did, and `events.jsonl`: what it says while it does."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kfdet.schema.base import Document, Schema
from kfdet.schema.run_config import RunConfig

RUN_FILE = "run.json"
STAGES = (
    "examine", "validate", "render", "check", "train", "select", "evaluate", "merge", "gate", "export",
    "publish",
)  # fmt: skip
# What measures the champion for the gate. A cluster tells the tasks of a run apart by these alone.
CHAMPION_TASKS = ("champion", "champion-evaluate", "champion-merge", "champion-record")
StageStatus = Literal["done", "cached", "failed", "skipped"]


def loop_tasks(config: RunConfig) -> dict[str, int]:
    """Returns the number of tasks of each stage that is a loop."""
    return {"examine": config.validation.groups, "evaluate": config.evaluation.shards}


class StageRecord(Schema):
    """Attributes:
    key_figure: One short phrase: `ap 0.912`, `600 images, 0 errors`.
    report: HTML report, relative to the run's folder.
    outputs: Output name to value or URI.
    """

    stage: str
    status: StageStatus
    time_s: float
    key_figure: str
    report: str | None
    outputs: dict[str, Any] = Field(default_factory=dict)


class RunRecord(Document):
    """Attributes:
    data_digests: Split to digest of its files.
    verdict: The gate's decision; null when the run did not get that far.
    """

    name: str
    kfdet_version: str
    started: str
    time_s: float
    config: RunConfig
    data_digests: dict[str, str]
    stages: tuple[StageRecord, ...]
    verdict: Literal["pass", "fail", "insufficient_evidence"] | None
    reasons: tuple[str, ...]
    published_version: int | None
    error: str | None


class StageEvent(Schema):
    """One line of `events.jsonl`.

    Attributes:
        kind: started and finished frame a stage; progress and note come between.
        done, total, unit: How far a long piece of work is: 120 of 600 `images`.
        figures: Numbers to show beside it: loss, steps_per_s, eta_s.
    """

    kind: Literal["started", "progress", "note", "report", "finished", "failed"]
    stage: str
    time: float
    message: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    figures: dict[str, float] = Field(default_factory=dict)
