"""What `check` gives: whether data and configuration can reach the gate, before anything is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kfdet.schema.base import Document, Schema, Sha256, UnitInterval
from kfdet.schema.dataset import Count, Finding, Histogram, Split
from kfdet.schema.detector_config import AnchorConfig
from kfdet.schema.gate_policy import PolicyMetric
from kfdet.schema.metrics import ApAtIou, CocoStatistics, Metric

FeasibilityVerdict = Literal["can_pass", "at_risk", "cannot_pass"]
SizeRange = Literal["all", "small", "medium", "large"]
NonNegative = Annotated[float, Field(ge=0)]


class Losses(Schema):
    """Objects that even a detector that answers the ground truth does not find.

    Attributes:
        unfindable: Boxes without area inside their image: nothing overlaps them.
        suppressed: Taken by non-maximum suppression, since a kept one of the class overlaps them.
        over_limit: Beyond `nms.max_detections` of their image.
    """

    unfindable: Count
    suppressed: Count
    over_limit: Count


class ClassCeilings(Schema):
    """Attributes:
    boxes: Ground truth boxes in the split, crowd boxes not counted.
    images: Images with at least one of them.
    ceiling, perfect, oracle, recall_50, perfect_recall_50, ap_by_iou: As in `Ceilings`, of this
        class alone.
    """

    id: int
    name: str
    boxes: Count
    images: Count
    losses: Losses
    ceiling: CocoStatistics
    perfect: CocoStatistics
    oracle: CocoStatistics
    recall_50: Metric
    perfect_recall_50: Metric
    ap_by_iou: tuple[ApAtIou, ...]
    boxes_by_area: dict[str, Count] = Field(default_factory=dict)


class Ceilings(Schema):
    """How high the COCO statistics of a split can be.

    Attributes:
        split_digest: Metrics of the same split compare with these.
        ceiling: What no detector can exceed with these settings of suppression and of detections
            kept, wherever it puts its boxes.
        perfect: What a detector scores that answers the ground truth itself, after suppression and
            the limit of detections. A detector whose boxes deviate can lie a little above it.
        oracle: The ground truth as detections, through decoding, resize and evaluation alone: 1,
            or `oracle_reasons` say why not.
        recall_50, perfect_recall_50: Share of all objects that can be found at IoU 0.5, by any
            detector and by the perfect one.
        ap_by_iou: What AP can't exceed at each of COCO's thresholds.
        classes: In the order of the label map.
        boxes_by_area: Boxes by the areas of the settings.
    """

    split: Split
    split_digest: Sha256
    images: Count
    boxes: Count
    ceiling: CocoStatistics
    perfect: CocoStatistics
    oracle: CocoStatistics
    oracle_reasons: tuple[str, ...]
    recall_50: Metric
    perfect_recall_50: Metric
    ap_by_iou: tuple[ApAtIou, ...]
    classes: tuple[ClassCeilings, ...]
    boxes_by_area: dict[str, Count] = Field(default_factory=dict)

    def of_class(self, name: str) -> ClassCeilings | None:
        return next((entry for entry in self.classes if entry.name == name), None)


class ResizeFit(Schema):
    """What the resize makes of a split's images and boxes.

    Attributes:
        padding_share: Mean share of the model's input that is padding.
        enlarged, reduced: Images that the resize enlarges, or reduces.
        mean_scale: Mean factor from image pixels to input pixels.
        tiny_boxes: Boxes with a side below `tiny_side_px` after the resize.
        box_side_px: Histogram of sqrt(box area) in pixels of the input.
        width_by_height, height_by_width: Histograms of the boxes' shapes after the resize.
        most_boxes: In the fullest image.
        crowded_images: Images with more boxes than are kept: `max_instances` in train,
            `nms.max_detections` in val and test.
    """

    split: Split
    images: Count
    boxes: Count
    padding_share: UnitInterval
    enlarged: Count
    reduced: Count
    mean_scale: NonNegative
    tiny_side_px: NonNegative
    tiny_boxes: Count
    box_side_px: Histogram
    width_by_height: Histogram
    height_by_width: Histogram
    most_boxes: Count
    crowded_images: Count


class ClassSizes(Schema):
    """Attributes:
    box_side_px: Histogram of sqrt(box area) after the resize, of the training split.
    """

    name: str
    boxes: Count
    box_side_px: Histogram


class AnchorRecall(Schema):
    """How well anchors fit the training boxes of a class and a range of sizes.

    Attributes:
        class_name: Null for all classes together.
        size: COCO's ranges of area, in pixels of the original image.
        mean_best_iou: Mean overlap of a box with its best anchor; null without boxes.
        matched: Share that overlaps an anchor by 0.5 or more: the best possible recall.
        trained: Share that trains at least one anchor, with the best one forced; null where no box
            was looked at.
    """

    class_name: str | None
    size: SizeRange
    boxes: Count
    mean_best_iou: Metric
    matched: Metric
    trained: Metric


class AnchorSuggestion(Schema):
    """Settings that fit better.

    Attributes:
        anchors_total: Anchors of an image.
        gain: Of `matched` over the configured anchors.
    """

    anchors: AnchorConfig
    min_level: int
    max_level: int
    anchors_total: Count
    matched: UnitInterval
    mean_best_iou: UnitInterval
    gain: float


class AnchorFit(Schema):
    """Attributes:
    sides_px: Sides of the square anchors, in pixels of the input, ascending.
    anchors_total: Anchors of an image.
    forced_images: Images that `trained` rests on.
    rows: All classes together first, then each class; every range of sizes.
    suggestion: Null where the configured anchors are as good as any.
    """

    sides_px: tuple[float, ...]
    anchors_total: Count
    forced_images: Count
    rows: tuple[AnchorRecall, ...]
    suggestion: AnchorSuggestion | None


class RuleFeasibility(Schema):
    """One threshold or one comparison of the gate, before there is a model.

    Attributes:
        rule: In words, as the gate words it.
        threshold: What is to be reached; null for a comparison without a champion.
        margin: Of a comparison: how far below the champion is allowed, negative where a gain is
            asked for; null for a threshold.
        outcome: `out_of_reach` can't hold; `at_risk` may not, for the `reason`.
        ceiling, perfect: Of the rule's metric; null where it is undefined or has none.
        boxes: Ground truth boxes that the metric rests on.
        confidence: Of the intervals that follow: the policy's, or 0.95 where it has none.
        by_interval: Whether the gate judges the rule by such an interval.
        standard_error: Of the metric, or of a difference, near the threshold, by simulation.
        half_width: Of the interval.
        detectable: Smallest true margin over the threshold that shows with a power of 0.8.
        needed: Measured value from which the rule holds by its interval.
        more_images: More images of the same kind that make the half-width as small as the margin
            asked for; null where nothing says how small it must be.
    """

    rule: str
    metric: PolicyMetric
    class_name: str | None
    threshold: float | None
    margin: float | None
    outcome: Literal["reachable", "at_risk", "out_of_reach"]
    reason: str
    remedy: str
    ceiling: Metric
    perfect: Metric
    boxes: Count
    confidence: UnitInterval
    by_interval: bool
    standard_error: NonNegative | None = None
    half_width: NonNegative | None = None
    detectable: NonNegative | None = None
    needed: float | None = None
    more_images: int | None = None


class Measurement(Document):
    """What a few training steps and a few images of inference took.

    Attributes:
        startup_time_s: From the start of the process to the end of the first step.
        measured_steps: Steps behind `step_time_s`, the first ones left out.
        image_time_s: Of inference, for one image; with weights that know nothing, so that there
            is little to suppress.
        memory_bytes: Largest resident memory of the process while it trained.
        device_memory_bytes: Largest memory on the accelerator; null without one.
        checkpoint_bytes: Of the weights and of what the optimizer keeps.
    """

    device: str
    parameters: Count
    startup_time_s: NonNegative
    measured_steps: Count
    step_time_s: NonNegative
    image_time_s: NonNegative
    memory_bytes: Count
    device_memory_bytes: Count | None
    checkpoint_bytes: Count


class Estimates(Schema):
    """What the run will take on the machine that was measured.

    Attributes:
        measured_steps: Training steps that the speed rests on, the first ones left out.
        step_time_s: Of one training step.
        startup_time_s: Import, building and compiling, once for each stage with TensorFlow.
        selection_time_s: Every checkpoint on the val split.
        evaluation_time_s: The test split.
        memory_bytes: Largest resident memory of a training.
        device_memory_bytes: Largest memory on the accelerator; null without one.
        disk_bytes: All the checkpoints together.
        free_disk_bytes: Where they will lie.
    """

    device: str
    parameters: Count
    measured_steps: Count
    step_time_s: NonNegative
    startup_time_s: NonNegative
    training_time_s: NonNegative
    selection_time_s: NonNegative
    evaluation_time_s: NonNegative
    total_time_s: NonNegative
    memory_bytes: Count
    device_memory_bytes: Count | None
    checkpoints: Count
    checkpoint_bytes: Count
    disk_bytes: Count
    free_disk_bytes: Count | None


class Feasibility(Document):
    """Attributes:
    verdict: `cannot_pass`: a rule can't hold whatever is trained. `at_risk`: it may not, for the
        reasons named. `can_pass`: nothing stands in the way that can be seen beforehand.
    reasons: Of the verdict, the gravest first.
    counts: Finding code to number of all findings, also those beyond the cap.
    findings: Of the kind `fit`; `file` names the setting or the shard.
    estimates: Null where nothing was measured.
    """

    verdict: FeasibilityVerdict
    reasons: tuple[str, ...]
    ceilings: Ceilings
    rules: tuple[RuleFeasibility, ...]
    resize: tuple[ResizeFit, ...]
    class_sizes: tuple[ClassSizes, ...]
    anchors: AnchorFit
    counts: dict[str, Count]
    findings: tuple[Finding, ...]
    estimates: Estimates | None = None
