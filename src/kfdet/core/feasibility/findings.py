"""What does not fit: settings against data, each with its setting or its places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import Int64
from kfdet.core.feasibility.objects import SplitObjects, input_boxes, sides_wh
from kfdet.core.feasibility.oracle import Kept
from kfdet.core.feasibility.resize import TINY_SIDE_PX, boxes_per_image, limit_of, tiny
from kfdet.core.validation.catalogue import BY_CODE
from kfdet.core.validation.findings import CAP
from kfdet.schema.dataset import Finding, LabelMap, Split
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.feasibility import (
    AnchorFit,
    Ceilings,
    Estimates,
    ResizeFit,
    RuleFeasibility,
)
from kfdet.schema.training_config import TrainingConfig

_DOUBTFUL_SHARE = 0.05
_LOST_SHARE = 0.02
_DOUBTFUL_PADDING = 0.3
_ENLARGED = 1.5
_HIGH_SCORE = 0.1
_FEW_BOXES = 10


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One kind of finding, with as many places as were found.

    Attributes:
        first: The first places, CAP at most.
        count: Of all.
    """

    code: str
    first: tuple[Finding, ...]
    count: int


def about_setting(
    code: str,
    setting: str,
    *,
    seen: str,
    expected: str,
    remedy: str | None = None,
    split: Split | None = None,
) -> Doubt:
    """Returns the doubt about one setting."""
    finding = Finding(
        code=code,
        severity=BY_CODE[code].severity,
        split=split,
        file=setting,
        seen=seen,
        expected=expected,
        remedy=remedy or BY_CODE[code].remedy,
    )
    return Doubt(code=code, first=(finding,), count=1)


def rule_doubts(rules: Sequence[RuleFeasibility]) -> Iterator[Doubt]:
    """Yields the rules that can't hold, may not hold, or are decided by chance."""
    for rule in rules:
        codes = {"out_of_reach": "rule-out-of-reach", "at_risk": "rule-at-risk"}
        code = codes.get(rule.outcome)
        if code is None and rule.margin is not None and not rule.by_interval and rule.remedy:
            code = "rule-decided-by-chance"
        if code:
            yield about_setting(
                code, "gate.rules", seen=f"{rule.rule}: {rule.reason}",
                expected="a rule that a good model can meet", remedy=rule.remedy, split="test",
            )  # fmt: skip


def ceiling_doubts(
    ceilings: Ceilings, kept: Kept, objects: SplitObjects, detector: DetectorConfig
) -> Iterator[Doubt]:
    """Yields what suppression and evaluation cost a perfect detector."""
    for reason in ceilings.oracle_reasons:
        yield about_setting(
            "oracle-below-one", f"dataset.{ceilings.split}", seen=reason, split=ceilings.split,
            expected="ap 1 for the ground truth as detections",
        )  # fmt: skip
    counted = max(1, int(np.count_nonzero(objects.counted)))
    lost = np.flatnonzero(kept.suppressed)
    if lost.size / counted > _LOST_SHARE:
        yield _at_boxes(
            "objects-suppressed", objects, lost,
            expected=f"overlap of at most {detector.nms.iou_threshold:g}, nms.iou_threshold",
            seen=f"overlaps a box of its class by more; so do {lost.size / counted:.1%} of the boxes",
        )  # fmt: skip
    if detector.nms.score_threshold > _HIGH_SCORE:
        yield about_setting(
            "score-threshold-high", "detector.nms.score_threshold",
            seen=f"{detector.nms.score_threshold:g}", expected=f"at most {_HIGH_SCORE:g}",
        )  # fmt: skip


def resize_doubts(
    objects: SplitObjects, measured: ResizeFit, detector: DetectorConfig, *, label_map: LabelMap
) -> Iterator[Doubt]:
    """Yields what the resize does to a split, and images with more boxes than are kept."""
    yield from _crowded(objects, measured, detector)
    yield from _small(objects, detector, label_map=label_map)
    if objects.split == "train" and measured.padding_share > _DOUBTFUL_PADDING:
        yield about_setting(
            "padding", "detector.input_size", split="train",
            seen=f"{measured.padding_share:.0%} of the model's input is padding",
            expected=f"at most {_DOUBTFUL_PADDING:.0%}",
        )  # fmt: skip
    if objects.split == "train" and measured.mean_scale > _ENLARGED:
        yield about_setting(
            "images-enlarged", "detector.input_size", split="train",
            seen=f"images grow {measured.mean_scale:.1f} times", expected="images at their size",
        )  # fmt: skip


def anchor_doubts(found: AnchorFit) -> Iterator[Doubt]:
    """Yields classes that the anchors miss, and boxes that no anchor learns."""
    for row in found.rows:
        if row.class_name is None or row.size != "all" or row.boxes < _FEW_BOXES:
            continue
        missed = 1 - (row.matched if row.matched is not None else 1.0)
        if missed > _DOUBTFUL_SHARE:
            suggestion = found.suggestion
            yield about_setting(
                "anchors-miss-boxes", "detector.anchors", split="train",
                seen=f'{missed:.0%} of the boxes of "{row.class_name}" overlap no anchor by 0.5; '
                f"anchors have sides from {found.sides_px[0]:.0f} to {found.sides_px[-1]:.0f} px "
                "of the input",
                expected=f"at most {_DOUBTFUL_SHARE:.0%}",
                remedy=suggestion_words(found) if suggestion else
                "No better anchors can be said: raise detector.input_size.",
            )  # fmt: skip
        if row.trained is not None and row.trained < 1 - _LOST_SHARE:
            yield about_setting(
                "boxes-without-anchor", "detector.anchors", split="train",
                seen=f'{1 - row.trained:.1%} of the boxes of "{row.class_name}" train no anchor',
                expected="an anchor for each",
            )  # fmt: skip


def suggestion_words(found: AnchorFit) -> str:
    """Returns the suggested anchors as a sentence, empty without a suggestion."""
    best = found.suggestion
    if best is None:
        return ""
    ratios = ", ".join(f"{ratio:g}" for ratio in best.anchors.aspect_ratios)
    return (
        f"Set detector.anchors to {{aspect_ratios: [{ratios}], num_scales: "
        f"{best.anchors.num_scales}, size: {best.anchors.size:g}}}, with levels {best.min_level} "
        f"to {best.max_level}: {best.matched:.1%} of the boxes are then matched."
    )


def training_doubts(
    training: TrainingConfig, estimates: Estimates | None, *, images: int
) -> Iterator[Doubt]:
    """Yields a training that is too short, or does not fit on the disk."""
    epochs = training.steps * training.batch_size / max(1, images)
    if epochs < 1:
        yield about_setting(
            "less-than-an-epoch", "training.steps", split="train",
            seen=f"{training.steps:,} steps of {training.batch_size} images see {epochs:.0%} of them",
            expected="every image at least once",
            remedy=f"Set training.steps to {-(-images // training.batch_size):,} or more.",
        )  # fmt: skip
    if (
        estimates is not None
        and estimates.free_disk_bytes is not None
        and estimates.disk_bytes > estimates.free_disk_bytes
    ):
        yield about_setting(
            "disk-too-small", "training.checkpoint_every",
            seen=f"{estimates.checkpoints:,} checkpoints of {estimates.checkpoint_bytes / 1e6:,.0f} "
            f"MB, and {estimates.free_disk_bytes / 1e6:,.0f} MB free",
            expected="room for all of them",
        )  # fmt: skip


def _crowded(
    objects: SplitObjects, measured: ResizeFit, detector: DetectorConfig
) -> Iterator[Doubt]:
    if not measured.crowded_images:
        return
    limit = limit_of(objects, detector)
    train = objects.split == "train"
    setting = "max_instances" if train else "nms.max_detections"
    counts = boxes_per_image(objects)
    fullest = np.argsort(-counts, kind="stable")[: measured.crowded_images]
    beyond = int((counts[fullest] - limit).sum())
    yield _at_images(
        "too-many-objects", objects, fullest,
        seen=[f"{count:,} boxes" for count in counts[fullest].tolist()],
        expected=f"at most {limit:,}, detector.{setting}",
        remedy=f"Set detector.{setting} to {measured.most_boxes:,} or more: {beyond:,} boxes in all "
        f"{'are not trained on' if train else 'can not be found'}.",
    )  # fmt: skip


def _small(
    objects: SplitObjects, detector: DetectorConfig, *, label_map: LabelMap
) -> Iterator[Doubt]:
    small = tiny(objects, detector)
    names = {label.id: label.name for label in label_map.classes}
    counted = max(1, int(np.count_nonzero(objects.counted)))
    rows = np.flatnonzero(small)
    if rows.size / counted <= _LOST_SHARE:
        return
    sides = sides_wh(input_boxes(objects, detector))
    wanted = TINY_SIDE_PX / max(float(np.median(sides[rows].min(axis=1))), 0.1)
    smallest = rows[np.argsort(sides[rows].min(axis=1), kind="stable")]
    yield _at_boxes(
        "small-objects", objects, smallest,
        seen=[
            f"a box of {names.get(int(objects.truth.class_id[row]), '?')} of "
            f"{sides[row, 0]:.1f} x {sides[row, 1]:.1f} px after the resize"
            for row in smallest[:CAP].tolist()
        ],
        expected=f"sides of {TINY_SIDE_PX:g} px or more; {rows.size / counted:.1%} have less",
        remedy=f"Raise detector.input_size about {wanted:.1f} times for half of them, or cut the "
        "images into tiles.",
    )  # fmt: skip


def _at_boxes(
    code: str,
    objects: SplitObjects,
    rows: Int64,
    *,
    seen: str | Sequence[str],
    expected: str,
    remedy: str | None = None,
) -> Doubt:
    return _at_images(code, objects, objects.row[rows], seen=seen, expected=expected, remedy=remedy)


def _at_images(
    code: str,
    objects: SplitObjects,
    images: Int64,
    *,
    seen: str | Sequence[str],
    expected: str,
    remedy: str | None = None,
) -> Doubt:
    first = []
    for index, image in enumerate(images[:CAP].tolist()):
        first.append(
            Finding(
                code=code,
                severity=BY_CODE[code].severity,
                split=objects.split,
                file=objects.images.file[image],
                record=int(objects.images.record[image]),
                source_id=objects.images.source_id[image],
                seen=seen if isinstance(seen, str) else seen[index],
                expected=expected,
                remedy=remedy or BY_CODE[code].remedy,
            )
        )
    return Doubt(code=code, first=tuple(first), count=len(images))
