"""What `gate` gives: a decision with its reasons."""

from __future__ import annotations

from typing import Literal

from kfdet.schema.base import Document, Schema, Sha256
from kfdet.schema.gate_policy import LOW_IS_GOOD, GatePolicy, PolicyMetric, SliceName
from kfdet.schema.metrics import Metric

Outcome = Literal["holds", "fails", "unknown"]
Verdict = Literal["pass", "fail", "insufficient_evidence"]


class RuleResult(Schema):
    """One rule and what became of it.

    Attributes:
        rule: The rule in words: `ap50 of "circle" at least 0.9`.
        seen: The candidate's value.
        wanted: The value it had to reach, or to stay at or below where low is good; null when that
            can't be told.
        champion: The champion's value, for a comparison.
        reason: One sentence with the numbers.
        at, slice: As in the rule.
        boxes: Ground truth boxes behind the value; null in decisions of old.
        estimate: The value, or its difference from the champion's, without what few images add to
            it; null where the rule is judged by the measured value alone.
        standard_error: Of it.
        margin_low, margin_high: Interval of the margin at the policy's confidence.
        more_images: How many more images of the same kind would settle the rule, if the value stays;
            null where it is settled, or no number of images can.
    """

    rule: str
    metric: PolicyMetric
    class_name: str | None
    seen: Metric
    wanted: float | None
    champion: Metric
    outcome: Outcome
    reason: str
    at: Metric = None
    slice: SliceName | None = None
    boxes: int | None = None
    estimate: float | None = None
    standard_error: float | None = None
    margin_low: float | None = None
    margin_high: float | None = None
    more_images: int | None = None

    @property
    def margin(self) -> float | None:
        """By how much the rule is met, negative where it is not; null when that can't be told."""
        if self.seen is None or self.wanted is None:
            return None
        gap = self.seen - self.wanted
        return -gap if self.metric in LOW_IS_GOOD else gap


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
