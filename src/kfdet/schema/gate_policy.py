"""The section `gate` of a run configuration: what a model must show before it is exported."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from kfdet.errors import did_you_mean
from kfdet.schema.base import Schema, UnitInterval
from kfdet.schema.metrics import METRIC_NAMES, SLICE_NUMBERS, is_statistic, listed_statistics

DETAIL_METRICS = (
    "precision", "recall", "f1",
    "ap_at_iou", "precision_at_recall", "recall_at_precision",
    "calibration_error",
)  # fmt: skip
# A policy's metrics but those that settings add.
POLICY_METRICS = (*METRIC_NAMES, *DETAIL_METRICS)
_POLICY_METRICS_IN_WORDS = f"{listed_statistics()}; or {', '.join(DETAIL_METRICS)}"


def _policy_metric(name: str) -> str:
    if name in DETAIL_METRICS or is_statistic(name):
        return name
    raise ValueError(
        f'no metric is called "{name}"; expected {_POLICY_METRICS_IN_WORDS}. '
        f"{did_you_mean(name, POLICY_METRICS)}".rstrip()
    )


PolicyMetric = Annotated[str, AfterValidator(_policy_metric)]


# What `at` of a rule says, for the metrics that are read at something.
METRICS_AT: dict[str, str] = {
    "ap_at_iou": "IoU", "precision_at_recall": "recall", "recall_at_precision": "precision",
}  # fmt: skip


# A policy's metrics that a slice has, too.
SLICE_METRIC_NAMES = (*SLICE_NUMBERS, *METRICS_AT)


LOW_IS_GOOD: tuple[str, ...] = ("calibration_error",)


class _Policy(Schema):
    """A part of a policy, where `true` is no 1."""

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, data: Any) -> Any:
        for key, value in data.items() if isinstance(data, dict) else ():
            field = cls.model_fields.get(key)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"{key} must be a number or text, and not {str(value).lower()}")
        return data


class ChampionRule(_Policy):
    """A comparison with the champion: exactly one of the two keys."""

    max_drop: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="non-inferiority: holds while candidate >= champion - max_drop"
    )
    min_gain: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="superiority: holds while candidate >= champion + min_gain"
    )

    @model_validator(mode="after")
    def _one_key(self) -> ChampionRule:
        if (self.max_drop is None) == (self.min_gain is None):
            raise ValueError("give exactly one of max_drop and min_gain")
        return self


class SliceName(Schema):
    """A part of the test set, as the evaluation's report names it."""

    by: str = Field(description="what the set is cut by: `box_size`, `objects_in_image`, ...")
    name: str = Field(description="which part: `below 16 px`")


class GateRule(_Policy):
    """One condition on one metric: a threshold, a comparison, or both.

    `precision`, `recall` and `f1` are those at the score of the highest F1: of all classes together,
    or of the class. `calibration_error` is good when it is low.
    """

    metric: PolicyMetric = Field(description=f"what the rule reads: {_POLICY_METRICS_IN_WORDS}")
    at: UnitInterval | None = Field(
        default=None,
        description="the IoU, recall or precision that a metric called `_at_` is read at",
    )
    class_name: str | None = Field(default=None, description="that class alone; else over all")
    slice: SliceName | None = Field(default=None, description="that part of the test set alone")
    at_least: UnitInterval | None = Field(default=None, description="threshold")
    at_most: UnitInterval | None = Field(
        default=None, description="threshold of a metric that is good when it is low"
    )
    champion: ChampionRule | None = Field(default=None, description="comparison")
    point_estimate: bool = Field(
        default=False, description="judge the measured value alone, whatever gate.confidence says"
    )

    @property
    def threshold(self) -> float | None:
        """`at_least`, or `at_most` of a metric that is good when it is low."""
        return self.at_most if self.metric in LOW_IS_GOOD else self.at_least

    @model_validator(mode="after")
    def _says_something(self) -> GateRule:
        if self.metric in LOW_IS_GOOD:
            if self.at_least is not None:
                raise ValueError(f"{self.metric} is good when it is low: say at_most")
        elif self.at_most is not None:
            raise ValueError(f"{self.metric} is good when it is high: say at_least")
        if self.threshold is None and self.champion is None:
            raise ValueError("a rule needs at_least, champion, or both")
        return self

    @model_validator(mode="after")
    def _read_at_something(self) -> GateRule:
        kind = METRICS_AT.get(self.metric)
        if kind is None:
            if self.at is not None:
                raise ValueError(f"{self.metric} is read at nothing: leave `at` out")
        elif self.at is None:
            raise ValueError(f"{self.metric} needs `at`: the {kind} that it is read at")
        elif abs(round(self.at * 100) - self.at * 100) > 1e-9:
            raise ValueError(f"`at` is {self.at}, which is no multiple of 0.01")
        return self

    @model_validator(mode="after")
    def _has_a_place(self) -> GateRule:
        if self.slice is not None:
            if self.class_name is not None:
                raise ValueError("give class_name or slice: a slice is not cut by class")
            if self.metric not in SLICE_METRIC_NAMES:
                raise ValueError(
                    f"a slice has no {self.metric}; it has {', '.join(SLICE_METRIC_NAMES)}"
                )
        if self.class_name is not None and self.metric == "calibration_error":
            raise ValueError("calibration_error is of all classes together: leave class_name out")
        return self


class GatePolicy(_Policy):
    """What a model must show before it is exported. An empty policy is refused.

    Without `confidence` a rule looks at the measured value alone. With it, a rule holds when the
    whole interval of that confidence lies on the right side, fails when it lies on the wrong one
    (with Holm's correction for the number of rules), and can't be told otherwise.
    """

    rules: tuple[GateRule, ...] = Field(min_length=1, description="all of them must hold")
    no_champion: Literal["pass", "fail"] | None = Field(
        default=None,
        description="how champion rules answer while there is no champion; must be said with them",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = Field(
        default=None, description="of the intervals that rules are judged by; absent: none"
    )
    min_boxes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="ground truth boxes below which a rule can't be told"
    )
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        default=1000, description="draws of half of the images, for the intervals"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of these draws")

    @model_validator(mode="after")
    def _champion_explicit(self) -> GatePolicy:
        if self.no_champion is None and any(rule.champion for rule in self.rules):
            raise ValueError(
                "rules compare with a champion: say in no_champion what they answer while there is "
                "none, pass or fail"
            )
        return self

    def needs_intervals(self) -> bool:
        """Tells whether any rule is judged by an interval."""
        return self.confidence is not None and not all(rule.point_estimate for rule in self.rules)
