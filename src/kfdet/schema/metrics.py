"""What `merge` gives: the metrics of one model on one set of images."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator

from kfdet.errors import did_you_mean
from kfdet.schema.base import Document, Schema, Sha256, UnitInterval

Metric = UnitInterval | None
METRIC_NAMES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
# What settings may add: of the objects of an area, or with so many detections.
_ADDED = re.compile(r"(ap|ar)_(?!at_iou$)[a-z][a-z0-9_]{0,30}|ar_[1-9][0-9]{0,4}")


def is_statistic(name: str) -> bool:
    """Tells whether a metric is one of the 12, or one that settings may add to them."""
    return name in METRIC_NAMES or _ADDED.fullmatch(name) is not None


def _statistic(name: str) -> str:
    if is_statistic(name):
        return name
    raise ValueError(
        f'no metric is called "{name}"; expected {listed_statistics()}. '
        f"{did_you_mean(name, METRIC_NAMES)}".rstrip()
    )


def listed_statistics() -> str:
    """Returns the names that `is_statistic` knows, in words."""
    return (
        f"{', '.join(METRIC_NAMES)}, or ap_AREA, ar_AREA or ar_COUNT of the areas and counts that "
        "the evaluation has"
    )


MetricName = Annotated[str, AfterValidator(_statistic)]
MOST_IOUS = 16
MOST_AREAS = 15
LARGEST_AREA_PX2 = 1e10
AreaName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
AreaRange = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]


def _coco_ious() -> tuple[float, ...]:
    """Returns the ten thresholds with the very bits that pycocotools has: numpy's linspace."""
    step = (0.95 - 0.5) / 9
    return (*(i * step + 0.5 for i in range(9)), 0.95)


class CocoSettings(Schema):
    """What the statistics are taken over. The defaults are COCO's."""

    iou_thresholds: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=_coco_ious(),
        min_length=1,
        max_length=MOST_IOUS,
        description="overlaps that a hit needs, ascending; AP is the mean over them",
    )
    areas: dict[AreaName, AreaRange] = Field(
        default={
            "small": (0.0, 32.0**2),
            "medium": (32.0**2, 96.0**2),
            "large": (96.0**2, LARGEST_AREA_PX2),
        },
        max_length=MOST_AREAS,
        description="name to lowest and highest area in px^2; all objects together always count too",
    )
    max_detections: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        default=(1, 10, 100),
        min_length=1,
        max_length=MOST_AREAS,
        description="detections of a class that count in an image, ascending; AR is given at each, "
        "the rest at the last",
    )

    @field_validator("iou_thresholds", mode="after")
    @classmethod
    def _ascending_ious(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        # 0.65 in decimal is not the number that COCO counts with.
        exact = (
            next((own for own in _coco_ious() if abs(own - value) < 1e-9), value)
            for value in values
        )
        return _ascending(tuple(exact))

    @field_validator("max_detections", mode="after")
    @classmethod
    def _ascending_counts(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return _ascending(values)

    @field_validator("areas", mode="after")
    @classmethod
    def _sensible_areas(cls, values: dict[str, AreaRange]) -> dict[str, AreaRange]:
        for name, (low, high) in values.items():
            if name == "all":
                raise ValueError('"all" is always there, and means every area')
            if name == "at_iou":
                raise ValueError('"at_iou" is no name for an area: ap_at_iou is another metric')
            if low >= high:
                raise ValueError(f'"{name}" ends at {high:g} px^2, where it does not begin yet')
        if len(set(values.values())) < len(values):
            raise ValueError("two areas are the same: give each range one name")
        return values

    @property
    def area_names(self) -> tuple[str, ...]:
        """All ranges: `all`, then those that are named, from the smallest on."""
        return ("all", *(name for name, _ in self._in_order()))

    @property
    def area_ranges_px2(self) -> tuple[AreaRange, ...]:
        """The ranges of `area_names`."""
        return ((0.0, LARGEST_AREA_PX2), *(bounds for _, bounds in self._in_order()))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The statistics that these settings define."""
        return tuple(n for n in (*METRIC_NAMES, *self.more_names) if not self.lacks(n))

    @property
    def more_names(self) -> tuple[str, ...]:
        """The statistics that these settings add to the 12."""
        areas = [name for name in self.area_names if name != "all"]
        added = (
            *(f"{kind}_{area}" for area in areas for kind in ("ap", "ar")),
            *(f"ar_{count}" for count in self.max_detections),
        )
        return tuple(name for name in added if name not in METRIC_NAMES)

    def lacks(self, metric: str) -> str:
        """Returns what of these settings a metric needs and has not; empty where nothing is lacking.

        Args:
            metric: One that `is_statistic`.
        """
        kind, _, part = metric.partition("_")
        if kind in ("ap50", "ap75") and not any(
            abs(iou - int(kind[2:]) / 100) < 1e-9 for iou in self.iou_thresholds
        ):
            return f"evaluation.iou_thresholds has no {int(kind[2:]) / 100:g}"
        if part.isdecimal() and int(part) not in self.max_detections:
            return f"evaluation.max_detections has no {part}"
        if part and not part.isdecimal() and part not in self.areas:
            return f'evaluation.areas has no "{part}"'
        return ""

    def _in_order(self) -> list[tuple[str, AreaRange]]:
        # JSON may have the names in any order.
        return sorted(self.areas.items(), key=lambda item: (*item[1], item[0]))

    @property
    def are_coco(self) -> bool:
        return self == COCO


Numbers = TypeVar("Numbers", tuple[float, ...], tuple[int, ...])


def _ascending(values: Numbers) -> Numbers:
    if list(values) != sorted(set(values)):
        raise ValueError("must ascend, each value once")
    return values


COCO = CocoSettings()


class MeasurementConfig(CocoSettings):
    """What an evaluation is asked for: `evaluation` in the run configuration, in part."""

    slices: Literal["auto"] | tuple[str, ...] = Field(
        default="auto",
        description="features of the records, by their keys, that the images are cut by for results "
        "by slice; `auto` takes every feature with one value of text or whole number in a record "
        "and 2 to 20 values in all",
    )

    def settings(self) -> CocoSettings:
        return CocoSettings(
            iou_thresholds=self.iou_thresholds,
            areas=self.areas,
            max_detections=self.max_detections,
        )


class CocoStatistics(Schema):
    """The 12 COCO statistics and more, in [0, 1]; null where no ground truth or no setting defines them.

    With other settings than COCO's the names keep their meaning: `ap` is the mean over the IoU
    thresholds of the settings, `ap50` is null unless 0.5 is one of them, `ap_small` is of the area
    called small, `ar_10` is null unless 10 is one of the counts; and everything but the counted AR is
    at the largest count.

    Attributes:
        ap: Average precision, mean over the IoU thresholds and the classes.
        ap50, ap75: At one IoU threshold, 0.5 or 0.75.
        ap_small, ap_medium, ap_large: Of the objects of that area.
        ar_1, ar_10, ar_100: Highest recall with so many detections of a class in an image, mean over
            the IoU thresholds and the classes.
        ar_small, ar_medium, ar_large: Of the objects of that area.
        more: What the settings add to the 12, such as `ar_5` or `ap_tiny`.

    Source: COCO detection evaluation; areas split at 32^2 and 96^2 px, IoU 0.5:0.95:0.05.
    """

    ap: Metric
    ap50: Metric
    ap75: Metric
    ap_small: Metric
    ap_medium: Metric
    ap_large: Metric
    ar_1: Metric
    ar_10: Metric
    ar_100: Metric
    ar_small: Metric
    ar_medium: Metric
    ar_large: Metric
    more: dict[str, Metric] = Field(default_factory=dict)

    def value(self, name: str) -> Metric:
        """Returns the metric of that name; KeyError for one that is not there."""
        if name not in METRIC_NAMES:
            return self.more[name]
        result: Metric = getattr(self, name)
        return result

    def named(self) -> dict[str, Metric]:
        """Returns every metric by its name, the 12 first."""
        return {name: self.value(name) for name in (*METRIC_NAMES, *self.more)}


class PrecisionRecallCurve(Schema):
    """Interpolated precision at the 101 recall points 0, 0.01 ... 1, area all, 100 detections.

    Attributes:
        iou: IoU threshold of the match.
        precision: 101 values; 0 beyond the highest recall reached.
        score: 101 values; the lowest score that reaches the recall, 0 beyond.
    """

    iou: UnitInterval
    precision: tuple[UnitInterval, ...] = Field(min_length=101, max_length=101)
    score: tuple[float, ...] = Field(min_length=101, max_length=101)


class OperatingPoint(Schema):
    """What is right and what is found when detections at or above a score are kept, at IoU 0.5.

    Attributes:
        score: Detections at or above it are kept.
        precision: Share of them that hit.
        recall: Share of the objects that are hit.
        f1: Harmonic mean of both.
    """

    score: float
    precision: UnitInterval
    recall: UnitInterval
    f1: UnitInterval


RECALL_STEPS = 101
Hundredths = Annotated[
    tuple[UnitInterval, ...], Field(min_length=RECALL_STEPS, max_length=RECALL_STEPS)
]


class TradeOff(Schema):
    """How precision and recall trade off, at IoU 0.5.

    Attributes:
        precision_at_recall: At recall 0, 0.01 ... 1, the highest precision at that recall or above, 0
            where it is never reached; null without any object.
        recall_at_precision: At precision 0, 0.01 ... 1, the highest recall at that precision or
            above, 0 where it is never reached; null without any object.
    """

    precision_at_recall: Hundredths | None
    recall_at_precision: Hundredths | None

    def precision_at(self, recall: float) -> Metric:
        """Returns the highest precision at that recall or above, 0 where it is never reached.

        Args:
            recall: In [0, 1], a multiple of 0.01.
        """
        return _hundredth(self.precision_at_recall, recall)

    def recall_at(self, precision: float) -> Metric:
        """Returns the highest recall at that precision or above, 0 where it is never reached.

        Args:
            precision: In [0, 1], a multiple of 0.01.
        """
        return _hundredth(self.recall_at_precision, precision)


class ScoreDetails(TradeOff):
    """Attributes:
    best: The point of the highest F1; null without any hit.
    points: Along the score, at 0, 0.05 ... 1.
    """

    best: OperatingPoint | None
    points: tuple[OperatingPoint, ...]


def _hundredth(values: tuple[float, ...] | None, at: float) -> Metric:
    step = round(at * (RECALL_STEPS - 1))
    if not 0 <= step < RECALL_STEPS or abs(step / (RECALL_STEPS - 1) - at) > 1e-9:
        raise ValueError(f"{at} is no multiple of 0.01 from 0 to 1")
    return None if values is None else values[step]


class ApAtIou(Schema):
    """Attributes:
    iou: The overlap that a hit needs.
    ap: AP there, mean over the classes where there is more than one.
    """

    iou: UnitInterval
    ap: Metric


class ClassDetails(Schema):
    """Attributes:
    id: Id in the label map.
    name: Name in the label map.
    ap_by_iou: AP at each IoU threshold.
    score: Along the score, of this class alone.
    """

    id: int
    name: str
    ap_by_iou: tuple[ApAtIou, ...]
    score: ScoreDetails


class Confusion(Schema):
    """Attributes:
    score: Detections at or above it are counted.
    labels: Classes, and the background last.
    matrix: Rows are the truth, columns the answer; the background's row are false alarms on
        nothing, its column objects that were missed.
    """

    score: float
    labels: tuple[str, ...]
    matrix: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...]


class ErrorDetails(Schema):
    """Attributes:
    score: Detections at or above it are counted.
    hits: Detections that hit an object, at IoU 0.5.
    false_alarms, misses: Cause to count, as kfdet.core.error_analysis defines them.
    ap50_gains: Kind of error to what AP50 would gain if it were mended (TIDE), over all scores;
        null where 0.5 is no threshold of the settings.
    ap_gains: The same for AP, the mean over the IoU thresholds.
    """

    score: float
    hits: Annotated[int, Field(ge=0)]
    false_alarms: dict[str, Annotated[int, Field(ge=0)]]
    misses: dict[str, Annotated[int, Field(ge=0)]]
    ap50_gains: dict[str, UnitInterval] | None
    ap_gains: dict[str, UnitInterval]


class CalibrationBin(Schema):
    """Detections with low <= score < high; the last bin is closed.

    Attributes:
        low, high: Range of scores.
        detections: How many there are.
        mean_score: Of them; null without any.
        hit_share: Share of them that hit, at IoU 0.5; null without any.
    """

    low: UnitInterval
    high: UnitInterval
    detections: Annotated[int, Field(ge=0)]
    mean_score: float | None
    hit_share: Metric


class Calibration(Schema):
    """Attributes:
    bins: Ten ranges of the score.
    expected_error: Expected calibration error: mean distance of score and share of hits, weighted by
        detections; null without any.
    """

    bins: tuple[CalibrationBin, ...]
    expected_error: float | None


# What a slice has one number of.
SLICE_NUMBERS = ("ap", "ap50", "ap75", "ar_100", "precision", "recall", "f1")


class Slice(TradeOff):
    """A part of the set.

    A slice of images has everything in them. A slice of boxes has the objects whose box belongs to
    it, the detections that take one of them at the lowest IoU threshold, and those of the other
    detections whose own box belongs to it.

    Attributes:
        by: What it is cut by: `box_size` and `box_aspect_ratio` cut boxes; `objects_in_image` and
            features of the records, by their keys, cut images.
        name: Its values, in words.
        images: Images in it; for a slice of boxes those with one of its objects.
        boxes: Ground truth boxes in it, crowd boxes not counted.
        precision, recall, f1: At the operating score, at IoU 0.5.
        ap, ap50, ap75, ar_100: As over the whole set; null without objects, or where the settings
            don't define them.
        ap_by_iou: AP at each IoU threshold.
    """

    by: str
    name: str
    images: Annotated[int, Field(ge=0)]
    boxes: Annotated[int, Field(ge=0)]
    recall: Metric
    precision: Metric
    f1: Metric
    ap: Metric
    ap50: Metric
    ap75: Metric
    ar_100: Metric
    ap_by_iou: tuple[ApAtIou, ...]

    def value(self, name: str) -> Metric:
        """Returns the number of that name; KeyError for one that slices don't have."""
        if name not in SLICE_NUMBERS:
            raise KeyError(name)
        result: Metric = getattr(self, name)
        return result


class Details(Schema):
    """What is behind the statistics.

    Attributes:
        operating_score: Of the highest F1 over all classes; null without any hit.
        ap_by_iou: AP at each IoU threshold.
        score: Over all classes together, each detection counted once.
        classes: In the order of the label map.
        confusion: What objects were taken for, at the operating score.
        errors: What false alarms and misses are, and what they cost.
        calibration: How far a score keeps its word.
        slices: Results by parts of the set.
    """

    operating_score: float | None
    ap_by_iou: tuple[ApAtIou, ...]
    score: ScoreDetails
    classes: tuple[ClassDetails, ...]
    confusion: Confusion
    errors: ErrorDetails
    calibration: Calibration
    slices: tuple[Slice, ...]

    def of_slice(self, by: str, name: str) -> Slice | None:
        return next((part for part in self.slices if (part.by, part.name) == (by, name)), None)

    def of_class(self, name: str) -> ClassDetails | None:
        return next((entry for entry in self.classes if entry.name == name), None)


class ClassMetrics(Schema):
    """Attributes:
    id: Id in the label map.
    name: Name in the label map.
    boxes: Ground truth boxes behind the numbers, crowd boxes not counted.
    boxes_by_area: The same by the areas of the settings.
    images: Images with at least one of them.
    detections: Detections of this class.
    metrics: The 12 statistics of this class alone.
    curves: At IoU 0.5 and 0.75, where there is ground truth.
    """

    id: int
    name: str
    boxes: Annotated[int, Field(ge=0)]
    images: Annotated[int, Field(ge=0)]
    detections: Annotated[int, Field(ge=0)]
    metrics: CocoStatistics
    curves: tuple[PrecisionRecallCurve, ...]
    boxes_by_area: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)


class Metrics(Document):
    """Attributes:
    engine: The COCO engine that computed the statistics.
    engine_version: Its version.
    split: The split that was evaluated.
    images: Images evaluated, also those without detections or objects.
    boxes: Ground truth boxes, crowd boxes not counted.
    detections: All detections, of any score.
    shards: Evaluation tasks that shared the split.
    overall: The 12 COCO statistics, means over the classes.
    classes: In the order of the label map.
    split_digest: Digest of the split's manifest: metrics compare only where it is equal.
    checkpoint_digest: Digest of the checkpoint that made the detections.
    evidence_digest: Digest of the folder `evidence` written beside the metrics; null where there is
        none.
    settings: What the statistics are taken over; metrics compare only where they are equal.
    boxes_by_area: Boxes by the areas of the settings.
    details: What is behind the statistics; null where only the statistics were computed.
    """

    engine: Literal["hotcoco", "pycocotools"]
    engine_version: str
    split: Literal["train", "val", "test"]
    split_digest: Sha256
    checkpoint_digest: Sha256
    images: Annotated[int, Field(ge=0)]
    boxes: Annotated[int, Field(ge=0)]
    detections: Annotated[int, Field(ge=0)]
    shards: Annotated[int, Field(ge=1)]
    overall: CocoStatistics
    classes: tuple[ClassMetrics, ...]
    evidence_digest: Sha256 | None = None
    settings: CocoSettings = COCO
    boxes_by_area: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    details: Details | None = None

    def of_class(self, name: str) -> ClassMetrics | None:
        return next((entry for entry in self.classes if entry.name == name), None)
