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

    def of_class(self, name: str) -> ClassMetrics | None:
        return next((entry for entry in self.classes if entry.name == name), None)
