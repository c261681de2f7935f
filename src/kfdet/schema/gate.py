"""What `gate` gives: a decision with its reasons."""

from __future__ import annotations

from typing import Literal

from kfdet.schema.base import Document, Schema, Sha256
from kfdet.schema.metrics import Metric, MetricName
from kfdet.schema.run_config import GatePolicy

Outcome = Literal["holds", "fails", "unknown"]
Verdict = Literal["pass", "fail", "insufficient_evidence"]


class RuleResult(Schema):
    """One rule and what became of it.

    Attributes:
        rule: The rule in words: `ap50 of "circle" at least 0.9`.
        seen: The candidate's value.
        wanted: The value it had to reach; null when that can't be told.
        champion: The champion's value, for a comparison.
        reason: One sentence with the numbers.
    boxes: Ground truth boxes behind the value; null in decisions of old.
    standard_error: Of the value, or of its difference from the champion's; null where the rule is
        judged by the measured value alone.
    margin_low, margin_high: Interval of `seen - wanted` at the policy's confidence.
    more_images: How many more images of the same kind would settle the rule, if the value stays;
        null where it is settled, or no number of images can.
    """

    rule: str
    metric: MetricName
    class_name: str | None
    seen: Metric
    wanted: float | None
    champion: Metric
    outcome: Outcome
    reason: str
    boxes: int | None = None
    standard_error: float | None = None
    margin_low: float | None = None
    margin_high: float | None = None
    more_images: int | None = None


class Decision(Document):
    """Attributes:
    reasons: The sentences of the rules that decided, worst first.
    champion_version: Version compared with; null when there is none.
    """

    decision: Verdict
    reasons: tuple[str, ...]
    rules: tuple[RuleResult, ...]
    policy: GatePolicy
    champion_version: int | None
    metrics_digest: Sha256
    split_digest: Sha256
    checkpoint_digest: Sha256
