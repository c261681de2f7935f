"""COCO detection metrics from columns of boxes, by either of two engines that agree to the bit.

The columns may come from any partition of the images and in any order: before the engine runs, rows
are put in ascending order of image id. Rows of one image keep their order, which is what decides
between equal scores.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from kfdet.core.ordering import ascending, descending
from kfdet.core.overlaps import Boxes, Overlaps, find_overlaps
from kfdet.errors import ArtifactError, ConfigError, DataError
from kfdet.schema.dataset import LabelMap
from kfdet.schema.evaluation import ShardResult
from kfdet.schema.metrics import (
    COCO,
    METRIC_NAMES,
    ClassMetrics,
    CocoSettings,
    CocoStatistics,
    Details,
    Metrics,
    PrecisionRecallCurve,
)

Engine = Literal["hotcoco", "pycocotools"]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

RECALL_POINTS: tuple[float, ...] = tuple(np.linspace(0.0, 1.0, 101).tolist())
AREAS: tuple[str, ...] = COCO.area_names
MAX_DETECTIONS: tuple[int, ...] = COCO.max_detections
CURVE_IOUS: tuple[float, ...] = (0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images that were looked at, with or without boxes.

    Attributes:
        image_id: int64[I], position in the split.
        source_id: The record's own id, any text.
        file: Location of the TFRecord shard.
        record: int64[I], index of the record within its file.
        width_px, height_px: int64[I], size of the stored image.
        features: Other features of each record with one value, as text; None where they are not
            known.
    """

    image_id: Int64
    source_id: tuple[str, ...]
    file: tuple[str, ...]
    record: Int64
    width_px: Int64
    height_px: Int64
    features: tuple[Mapping[str, str], ...] | None = None

    def __post_init__(self) -> None:
        _same_length(self)

    def __len__(self) -> int:
        return len(self.image_id)

    def rows_of(self, image_id: Int64) -> Int64:
        """Returns the rows of listed images; of images in ascending order of id only."""
        ids = self.image_id
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
            return image_id - int(ids[0])
        rows: Int64 = np.searchsorted(ids, image_id)
        return rows


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """Attributes:
    image_id, class_id: int64[G].
    is_crowd: bool[G].
    area: float64[G], px^2; decides between small, medium and large.
    boxes_xyxy_px: float64[G, 4], [xmin, ymin, xmax, ymax] in pixels of the original image.
    sizes_wh_px: float64[G, 2], width and height where boxes were given by them: in floating point
        (x + w) - x is not always w. None: the distance of the corners.
    """

    image_id: Int64
    class_id: Int64
    is_crowd: Bool
    area: Float64
    boxes_xyxy_px: Float64
    sizes_wh_px: Float64 | None = None

    def __post_init__(self) -> None:
        _same_length(self)

    def __len__(self) -> int:
        return len(self.image_id)


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Attributes:
    image_id, class_id: int64[D].
    score: float32[D]; float64[D] where they come from a COCO file.
    boxes_xyxy_px: float32 or float64[D, 4], [xmin, ymin, xmax, ymax] in pixels of the original image.
    sizes_wh_px: float64[D, 2] or None, as for the ground truth.
    """

    image_id: Int64
    class_id: Int64
    score: Float32 | Float64
    boxes_xyxy_px: Float32 | Float64
    sizes_wh_px: Float64 | None = None

    def __post_init__(self) -> None:
        _same_length(self)

    def __len__(self) -> int:
        return len(self.image_id)


Columns = TypeVar("Columns", Images, GroundTruth, Detections)


@dataclass(frozen=True, kw_only=True)
class EvaluationData:
    """What an evaluation looks at: images, their ground truth and what the model saw in them."""

    images: Images
    ground_truth: GroundTruth
    detections: Detections

    @functools.cached_property
    def truth_xywh(self) -> Float64:
        """float64[G, 4], as `boxes_xywh` gives them."""
        return boxes_xywh(self.ground_truth)

    @functools.cached_property
    def seen_xywh(self) -> Float64:
        """float64[D, 4], as `boxes_xywh` gives them."""
        return boxes_xywh(self.detections)

    @functools.cached_property
    def overlaps(self) -> Overlaps:
        """The pairs of boxes that overlap; of data in canonical order only."""
        truth, seen = self.ground_truth, self.detections
        return find_overlaps(
            Boxes(image=seen.image_id, xywh=self.seen_xywh),
            Boxes(image=truth.image_id, xywh=self.truth_xywh),
            crowd=truth.is_crowd,
        )

    @functools.cached_property
    def rank(self) -> Int64:
        """Each detection's place among those of its image and class, by score, from zero."""
        seen = self.detections
        return places(seen.image_id, seen.class_id, seen.score)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The answer of a COCO engine.

    T, A and M are the IoU thresholds, areas and counts of the settings, R RECALL_POINTS, K the label
    map's classes.

    Attributes:
        overall: The 12 statistics, means over the classes that have ground truth.
        per_class: The same for each class of the label map, in its order.
        precision: float64[T, R, K, A, M], interpolated; NaN where there is no ground truth.
        recall: float64[T, K, A, M], highest reached; NaN where there is no ground truth.
        scores: float64[T, R, K, A, M], lowest score that reaches the recall; 0 beyond it.
    """

    engine: Engine
    engine_version: str
    settings: CocoSettings
    overall: CocoStatistics
    per_class: tuple[CocoStatistics, ...]
    precision: Float64
    recall: Float64
    scores: Float64


def concatenate(parts: Sequence[EvaluationData]) -> EvaluationData:
    """Joins parts that hold disjoint images, in canonical order.

    Args:
        parts: At least one; in any order.

    Returns:
        The same value for any order of the same parts.
    """
    return canonical(
        EvaluationData(
            images=_joined([part.images for part in parts]),
            ground_truth=_joined([part.ground_truth for part in parts]),
            detections=_joined([part.detections for part in parts]),
        )
    )


def canonical(data: EvaluationData) -> EvaluationData:
    """Returns the rows in ascending order of image id; rows of one image keep their order."""
    columns = (data.images, data.ground_truth, data.detections)
    if all((np.diff(one.image_id) >= 0).all() for one in columns):
        return data
    return EvaluationData(
        images=_in_order(data.images),
        ground_truth=_in_order(data.ground_truth),
        detections=_in_order(data.detections),
    )


def taken(columns: Columns, rows: Int64 | Bool) -> Columns:
    """Returns some rows of columns, in the order asked for.

    Args:
        columns: Images, ground truth or detections.
        rows: int64[N] indices, or bool[rows].
    """
    chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    values: dict[str, Any] = {}
    for field in fields(columns):
        column = getattr(columns, field.name)
        if isinstance(column, tuple):
            column = tuple(column[i] for i in chosen.tolist())
        elif column is not None:
            column = column[chosen]
        values[field.name] = column
    return type(columns)(**values)


def _joined(parts: Sequence[Columns]) -> Columns:
    values: dict[str, Any] = {}
    for field in fields(parts[0]):
        columns = [getattr(part, field.name) for part in parts]
        if any(column is None for column in columns):
            values[field.name] = None
        elif isinstance(columns[0], tuple):
            values[field.name] = tuple(itertools.chain.from_iterable(columns))
        else:
            values[field.name] = np.concatenate(columns)
    return type(parts[0])(**values)


def _in_order(columns: Columns) -> Columns:
    return taken(columns, np.argsort(columns.image_id, kind="stable"))


def places(image_id: Int64, group_id: Int64, score: Float32 | Float64) -> Int64:
    """Returns each row's place among those of its image and group, by score, from zero.

    Args:
        image_id: int64[N].
        group_id: int64[N].
        score: [N]; of equal ones the first row comes first.
    """
    order = descending(score)
    order = order[ascending(group_id[order])]
    order = order[ascending(image_id[order])]
    image, group = image_id[order], group_id[order]
    same = (image[1:] == image[:-1]) & (group[1:] == group[:-1])
    starts = np.append(True, ~same)[: order.size]
    first = np.maximum.accumulate(np.where(starts, np.arange(order.size), 0))
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size) - first
    return rank


def evaluate(
    data: EvaluationData,
    *,
    label_map: LabelMap,
    engine: Engine = "hotcoco",
    settings: CocoSettings = COCO,
) -> Evaluation:
    """Computes the COCO metrics of a set of images.

    Args:
        data: In any order. Detections of classes outside the label map count for nothing, as in
            COCO; ground truth of such classes is an error.
        label_map: The classes; their order is the order of `Evaluation.per_class`.
        engine: Which engine; both give the same bits.
        settings: What the statistics are taken over.

    Raises:
        ArtifactError: An image is listed twice, or a box belongs to no image or to no class.
        DataError: A score or a box is NaN or infinite.
        ConfigError: The engine is unknown or not installed.

    Source: COCO detection evaluation, pycocotools 2.0.11.
    """
    data = canonical(data)
    _check(data, label_map)
    data = _listed_classes(data, label_map)
    if engine == "hotcoco":
        version, arrays = _run_hotcoco(data, label_map, settings)
    elif engine == "pycocotools":
        version, arrays = _run_pycocotools(data, label_map, settings)
    else:
        raise ConfigError(f'unknown engine "{engine}"', expected="hotcoco or pycocotools")
    precision, recall, scores = arrays
    return Evaluation(
        engine=engine,
        engine_version=version,
        settings=settings,
        overall=_statistics(precision, recall, settings),
        per_class=tuple(
            _statistics(precision[:, :, k : k + 1], recall[:, k : k + 1], settings)
            for k in range(len(label_map.classes))
        ),
        precision=precision,
        recall=recall,
        scores=scores,
    )


def metrics_document(
    evaluation: Evaluation,
    data: EvaluationData,
    shard: ShardResult,
    *,
    label_map: LabelMap,
    evidence_digest: str,
    details: Details | None = None,
) -> Metrics:
    """Returns the metrics as the document that passes to the gate.

    Args:
        evaluation: The answer of `evaluate` for the same data and label map.
        data: Images, ground truth and detections of all shards.
        shard: What any of the shards says of split, model and number of shards.
        label_map: The classes, whose order is kept.
        evidence_digest: Of the evidence that is kept beside the metrics.
        details: What is behind the statistics.
    """
    return Metrics(
        engine=evaluation.engine,
        engine_version=evaluation.engine_version,
        split=shard.split,
        split_digest=shard.split_digest,
        checkpoint_digest=shard.checkpoint_digest,
        images=len(data.images),
        boxes=int(np.count_nonzero(~data.ground_truth.is_crowd)),
        detections=len(data.detections),
        shards=shard.num_shards,
        overall=evaluation.overall,
        classes=class_metrics(evaluation, data, label_map=label_map),
        evidence_digest=evidence_digest,
        settings=evaluation.settings,
        boxes_by_area=_boxes_by_area(data.ground_truth, evaluation.settings),
        details=details,
    )


def class_metrics(
    evaluation: Evaluation, data: EvaluationData, *, label_map: LabelMap
) -> tuple[ClassMetrics, ...]:
    """Returns each class's metrics, counts and curves at the IoUs of CURVE_IOUS.

    Args:
        evaluation: The answer of `evaluate` for the same data and label map.
        data: Images, ground truth and detections.
        label_map: The classes, whose order is kept.
    """
    truth = data.ground_truth
    ids, counts = np.unique(data.detections.class_id, return_counts=True)
    detections = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    result = []
    for k, label in enumerate(label_map.classes):
        mine = taken(truth, (truth.class_id == label.id) & ~truth.is_crowd)
        result.append(
            ClassMetrics(
                id=label.id,
                name=label.name,
                boxes=len(mine),
                boxes_by_area=_boxes_by_area(mine, evaluation.settings),
                images=len(np.unique(mine.image_id)),
                detections=detections.get(label.id, 0),
                metrics=evaluation.per_class[k],
                curves=_curves(evaluation, k),
            )
        )
    return tuple(result)


def _boxes_by_area(truth: GroundTruth, settings: CocoSettings) -> dict[str, int]:
    area = truth.area[~truth.is_crowd]
    return {
        name: int(np.count_nonzero((area >= low) & (area <= high)))
        for name, (low, high) in settings.areas.items()
    }


def _curves(evaluation: Evaluation, k: int) -> tuple[PrecisionRecallCurve, ...]:
    curves = []
    for iou in CURVE_IOUS:
        t = iou_index(evaluation.settings, iou)
        if t is None or np.isnan(precision := evaluation.precision[t, :, k, 0, -1]).any():
            continue
        curves.append(
            PrecisionRecallCurve(
                iou=iou,
                precision=tuple(precision.tolist()),
                score=tuple(evaluation.scores[t, :, k, 0, -1].tolist()),
            )
        )
    return tuple(curves)


def iou_index(settings: CocoSettings, iou: float) -> int | None:
    """Returns the place of a threshold among those of the settings; None when it is none of them."""
    near = (t for t, own in enumerate(settings.iou_thresholds) if abs(own - iou) < 1e-9)
    return next(near, None)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a statistic is the mean of.

    Attributes:
        is_recall: Of the highest recall; else of the interpolated precision.
        area: Place of the area among those of the settings.
        ious: Places of the IoU thresholds.
        count: Detections of a class that count in an image.
    """

    is_recall: bool
    area: int
    ious: slice
    count: int


def measure_of(metric: str, settings: CocoSettings) -> Measure | None:
    """Returns what a statistic is the mean of; None where the settings don't define it.

    Args:
        metric: One that `is_statistic`.
        settings: What the statistics are taken over.
    """
    if settings.lacks(metric):
        return None
    kind, _, part = metric.partition("_")
    t = iou_index(settings, int(kind[2:]) / 100) if kind[2:] else None
    return Measure(
        is_recall=kind == "ar",
        area=0 if not part or part.isdecimal() else settings.area_names.index(part),
        ious=slice(None) if t is None else slice(t, t + 1),
        count=int(part) if part.isdecimal() else settings.max_detections[-1],
    )


def coco_statistics(
    settings: CocoSettings, value: Callable[[Measure], float | None]
) -> CocoStatistics:
    """Returns every statistic that settings define.

    Args:
        settings: What the statistics are taken over.
        value: Gives the number, in [0, 1], of what a statistic is the mean of.
    """

    def named(metric: str) -> float | None:
        measure = measure_of(metric, settings)
        return None if measure is None else value(measure)

    return CocoStatistics(
        **{name: named(name) for name in METRIC_NAMES},
        more={name: named(name) for name in settings.more_names},
    )


def _statistics(precision: Float64, recall: Float64, settings: CocoSettings) -> CocoStatistics:
    """Averages as pycocotools' summarize does, in the same order of summation."""

    def value(one: Measure) -> float | None:
        m = settings.max_detections.index(one.count)
        if one.is_recall:
            return _mean(recall[one.ious, :, one.area, m])
        return _mean(precision[one.ious, :, :, one.area, m])

    return coco_statistics(settings, value)


def _mean(values: Float64) -> float | None:
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if defined.size else None


def _run_hotcoco(
    data: EvaluationData, label_map: LabelMap, settings: CocoSettings
) -> tuple[str, list[Float64]]:
    import hotcoco

    truth, seen = data.ground_truth, data.detections
    reference = hotcoco.COCO.from_arrays(
        [{"id": image_id} for image_id in data.images.image_id.tolist()],
        _categories(label_map),
        truth.image_id,
        truth.class_id,
        data.truth_xywh,
        area=truth.area,
        iscrowd=truth.is_crowd,
    )
    rows = np.empty((len(seen), 7), np.float64)
    rows[:, 0] = seen.image_id
    rows[:, 1:5] = data.seen_xywh
    rows[:, 5] = seen.score
    rows[:, 6] = seen.class_id
    evaluator = hotcoco.COCOeval(reference, reference.load_res(rows), "bbox")
    _set_up(evaluator, settings)
    evaluator.evaluate()
    evaluator.accumulate()
    return hotcoco.__version__, _arrays(evaluator.eval)


def _set_up(evaluator: Any, settings: CocoSettings) -> None:
    evaluator.params.iouThrs = np.array(settings.iou_thresholds)
    evaluator.params.areaRng = [list(bounds) for bounds in settings.area_ranges_px2]
    evaluator.params.areaRngLbl = list(settings.area_names)
    evaluator.params.maxDets = list(settings.max_detections)


def _run_pycocotools(
    data: EvaluationData, label_map: LabelMap, settings: CocoSettings
) -> tuple[str, list[Float64]]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as failure:
        raise ConfigError(
            "the engine pycocotools is not installed",
            remedy="Install it with `pip install kfdet[pycocotools]`, or use the engine hotcoco: "
            "it gives the same bits.",
        ) from failure
    truth, seen = data.ground_truth, data.detections
    images = [{"id": image_id} for image_id in data.images.image_id.tolist()]
    # Ids begin at 1: pycocotools takes a match with id 0 for no match.
    reference, result = COCO(), COCO()
    reference.dataset = {
        "images": images,
        "categories": _categories(label_map),
        "annotations": [
            {"id": i, "image_id": image, "category_id": k, "bbox": b, "area": a, "iscrowd": int(c)}
            for i, (image, k, b, a, c) in enumerate(
                zip(
                    truth.image_id.tolist(),
                    truth.class_id.tolist(),
                    data.truth_xywh.tolist(),
                    truth.area.tolist(),
                    truth.is_crowd.tolist(),
                    strict=True,
                ),
                start=1,
            )
        ],
    }
    result.dataset = {
        "images": images,
        "categories": _categories(label_map),
        "annotations": [
            {"id": i, "image_id": image, "category_id": k, "bbox": b, "area": b[2] * b[3],
             "iscrowd": 0, "score": s}
            for i, (image, k, b, s) in enumerate(
                zip(
                    seen.image_id.tolist(),
                    seen.class_id.tolist(),
                    data.seen_xywh.tolist(),
                    seen.score.astype(np.float64).tolist(),
                    strict=True,
                ),
                start=1,
            )
        ],
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        result.createIndex()
        evaluator = COCOeval(reference, result, "bbox")
        _set_up(evaluator, settings)
        evaluator.evaluate()
        evaluator.accumulate()
    # It does not say its version itself, and reading it from outside loads an e-mail parser.
    from importlib import metadata

    return metadata.version("pycocotools"), _arrays(evaluator.eval)


def _arrays(answer: Any) -> list[Float64]:
    """Returns precision, recall and scores with NaN where the engines say -1, for undefined."""
    names = ("precision", "recall", "scores")
    precision, recall, scores = (np.array(answer[name], np.float64) for name in names)
    # A score may well be -1; it is undefined where the precision is.
    scores[precision == -1] = np.nan
    precision[precision == -1] = np.nan
    recall[recall == -1] = np.nan
    return [precision, recall, scores]


def _categories(label_map: LabelMap) -> list[dict[str, Any]]:
    return [{"id": label.id, "name": label.name} for label in label_map.classes]


def boxes_xywh(columns: GroundTruth | Detections, rows: Int64 | None = None) -> Float64:
    """Returns float64[N, 4], [xmin, ymin, width, height] in pixels, as COCO's engines take them.

    Args:
        columns: The boxes.
        rows: int64[N], which of them; all when None.
    """
    corners, sizes = columns.boxes_xyxy_px, columns.sizes_wh_px
    if rows is not None:
        corners, sizes = corners[rows], None if sizes is None else sizes[rows]
    answer = corners.astype(np.float64)
    if sizes is None:
        answer[:, 2:] -= answer[:, :2]
    else:
        answer[:, 2:] = sizes
    return answer


def _check(data: EvaluationData, label_map: LabelMap) -> None:
    ids = data.images.image_id
    doubled = ids[1:][ids[1:] == ids[:-1]]
    if doubled.size:
        raise ArtifactError(
            f"image {int(doubled[0])} is listed twice", expected="every image exactly once"
        )
    for name, of_image in (
        ("ground truth", data.ground_truth.image_id),
        ("detection", data.detections.image_id),
    ):
        foreign = np.setdiff1d(of_image, ids)
        if foreign.size:
            raise ArtifactError(
                f"a {name} box belongs to image {int(foreign[0])}, which is not listed",
                expected="boxes of listed images only",
            )
    known = [label.id for label in label_map.classes]
    unknown = np.setdiff1d(data.ground_truth.class_id, known)
    if unknown.size:
        raise ArtifactError(
            f"a ground truth box has class id {int(unknown[0])}, which the label map lacks",
            expected=f"one of {known}",
        )
    of_data = "The data changed after validate, which refuses such boxes: validate them again."
    of_model = "A model that answers so has diverged: look at its training losses."
    for name, numbers, remedy in (
        ("a ground truth box", data.ground_truth.boxes_xyxy_px, of_data),
        ("the area of a ground truth box", data.ground_truth.area, of_data),
        ("the box of a detection", data.detections.boxes_xyxy_px, of_model),
        ("the score of a detection", data.detections.score, of_model),
    ):
        if not np.isfinite(numbers).all():
            raise DataError(
                f"{name} is NaN or infinite",
                expected="finite numbers",
                remedy=remedy,
            )


def _listed_classes(data: EvaluationData, label_map: LabelMap) -> EvaluationData:
    """Drops detections of unlisted classes, which COCO ignores and hotcoco warns of, one by one."""
    seen = data.detections
    kept = np.isin(seen.class_id, [label.id for label in label_map.classes])
    if kept.all():
        return data
    return EvaluationData(
        images=data.images, ground_truth=data.ground_truth, detections=taken(seen, kept)
    )


def _same_length(columns: Images | GroundTruth | Detections) -> None:
    values = {field.name: getattr(columns, field.name) for field in fields(columns)}
    lengths = {name: len(column) for name, column in values.items() if column is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of different lengths: {lengths}")
