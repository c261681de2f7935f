"""What `merge` gives: the metrics of one model on one set of images."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from kfdet.schema.base import Document, Schema, Sha256, UnitInterval

Metric = UnitInterval | None
MetricName = Literal[
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large",
]  # fmt: skip
METRIC_NAMES: tuple[str, ...] = get_args(MetricName)


class CocoStatistics(Schema):
    """The 12 COCO statistics, in [0, 1]; null where no ground truth defines them.

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

    def value(self, name: str) -> Metric:
        """Returns the metric of that name; KeyError for an unknown one."""
        if name not in METRIC_NAMES:
            raise KeyError(name)
        result: Metric = getattr(self, name)
        return result


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
    """What is right and what is found when detections at or above a score are kept, at IoU 0.5."""

    score: float
    precision: UnitInterval
    recall: UnitInterval
    f1: UnitInterval


RECALL_STEPS = 101
Hundredths = Annotated[
    tuple[UnitInterval, ...], Field(min_length=RECALL_STEPS, max_length=RECALL_STEPS)
]


class ScoreDetails(Schema):
    """How precision and recall trade off, at IoU 0.5.

    Attributes:
        best: The point of the highest F1; null without any hit.
        points: Along the score, at 0, 0.05 ... 1.
        precision_at_recall: At recall 0, 0.01 ... 1, the highest precision at that recall or above, 0
            where it is never reached; null without any object.
        recall_at_precision: At precision 0, 0.01 ... 1, the highest recall at that precision or
            above, 0 where it is never reached; null without any object.
    """

    best: OperatingPoint | None
    points: tuple[OperatingPoint, ...]
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


def _hundredth(values: tuple[float, ...] | None, at: float) -> Metric:
    step = round(at * (RECALL_STEPS - 1))
    if not 0 <= step < RECALL_STEPS or abs(step / (RECALL_STEPS - 1) - at) > 1e-9:
        raise ValueError(f"{at} is no multiple of 0.01 from 0 to 1")
    return None if values is None else values[step]


class ApAtIou(Schema):
    iou: UnitInterval
    ap: Metric


class ClassDetails(Schema):
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
    false_alarms, misses: Cause to count, as kfdet.core.error_analysis defines them.
    ap50_gains: Kind of error to what AP50 would gain if it were mended (TIDE), over all scores.
    ap_gains: The same for AP, the mean over the IoU thresholds.
    """

    score: float
    hits: Annotated[int, Field(ge=0)]
    false_alarms: dict[str, Annotated[int, Field(ge=0)]]
    misses: dict[str, Annotated[int, Field(ge=0)]]
    ap50_gains: dict[str, UnitInterval]
    ap_gains: dict[str, UnitInterval] | None = None


class CalibrationBin(Schema):
    """Detections with low <= score < high; the last bin is closed."""

    low: UnitInterval
    high: UnitInterval
    detections: Annotated[int, Field(ge=0)]
    mean_score: float | None
    hit_share: Metric


class Calibration(Schema):
    """Attributes:
    expected_error: Mean distance of score and share of hits, weighted by detections.
    """

    bins: tuple[CalibrationBin, ...]
    expected_error: float | None


SliceMetricName = Literal["ap", "ap50", "ap75", "ar_100", "precision", "recall", "f1"]
SLICE_METRIC_NAMES: tuple[str, ...] = get_args(SliceMetricName)


class Slice(Schema):
    """A part of the set.

    A slice of images has everything in them. A slice of boxes has the objects whose box belongs to
    it, the detections that hit them, and those of the other detections whose own box belongs to it.

    Attributes:
        by: What it is cut by: `box_size` and `box_aspect_ratio` cut boxes; `objects_in_image` and
            features of the records, by their keys, cut images.
        name: Its values, in words.
        images: Images in it; for a slice of boxes those with one of its objects.
        boxes: Ground truth boxes in it, crowd boxes not counted.
        precision, recall, f1: At the operating score, at IoU 0.5.
        ap, ap50, ap75, ar_100: As over the whole set; null without objects, and null for slices of
            boxes in metrics of old.
    """

    by: str
    name: str
    images: Annotated[int, Field(ge=0)]
    boxes: Annotated[int, Field(ge=0)]
    recall: Metric
    ap: Metric = None
    ap50: Metric = None
    ap75: Metric = None
    ar_100: Metric = None
    precision: Metric = None
    f1: Metric = None

    def value(self, name: str) -> Metric:
        """Returns the metric of that name; KeyError for one that slices don't have."""
        if name not in SLICE_METRIC_NAMES:
            raise KeyError(name)
        result: Metric = getattr(self, name)
        return result


class Details(Schema):
    """What is behind the statistics.

    Attributes:
        operating_score: Of the highest F1 over all classes; null without any hit.
        score: Over all classes together, each detection counted once.
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
    boxes: Ground truth boxes behind the numbers, crowd boxes not counted.
    images: Images with at least one of them.
    detections: Detections of this class.
    """

    id: int
    name: str
    boxes: Annotated[int, Field(ge=0)]
    images: Annotated[int, Field(ge=0)]
    detections: Annotated[int, Field(ge=0)]
    metrics: CocoStatistics
    curves: tuple[PrecisionRecallCurve, ...]


class Metrics(Document):
    """Attributes:
    split_digest: Digest of the split's manifest: metrics compare only where it is equal.
    checkpoint_digest: Digest of the checkpoint that made the detections.
    evidence_digest: Digest of the folder `evidence` written beside the metrics; null in metrics of
        old, which had none.
    details: What is behind the statistics; null in metrics of old.
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
    details: Details | None = None

    def of_class(self, name: str) -> ClassMetrics | None:
        return next((entry for entry in self.classes if entry.name == name), None)
