"""The metrics against pycocotools, which is the definition."""

import contextlib
import dataclasses
import io
import sys

import numpy as np
import pytest
from evaluation_cases import label_map, of_images, random_data, shard_result
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import (
    Detections,
    EvaluationData,
    GroundTruth,
    canonical,
    class_metrics,
    concatenate,
    evaluate,
    metrics_document,
)
from kfdet.errors import ArtifactError, ConfigError, DataError
from kfdet.schema.metrics import METRIC_NAMES, CocoSettings

LABELS = label_map("circle", "square", "triangle")

cases = st.builds(
    random_data,
    st.integers(0, 10**6),
    images=st.integers(0, 8),
    classes=st.integers(1, 3),
    crowd=st.sampled_from([0.0, 0.2, 1.0]),
    ties=st.booleans(),
    area_given=st.booleans(),
    degenerate=st.booleans(),
)


def stock_statistics(data: EvaluationData) -> list[float]:
    """The 12 numbers as pycocotools' own loadRes and summarize give them, from plain dicts."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, seen = data.ground_truth, data.detections

    def xywh(box: np.ndarray) -> list[float]:
        a, b, c, d = (float(side) for side in box)
        return [a, b, c - a, d - b]

    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {
            "info": {},
            "images": [{"id": int(i)} for i in data.images.image_id],
            "categories": [{"id": c.id, "name": c.name} for c in LABELS.classes],
            "annotations": [
                {
                    "id": i + 1,
                    "image_id": int(truth.image_id[i]),
                    "category_id": int(truth.class_id[i]),
                    "bbox": xywh(truth.boxes_xyxy_px[i]),
                    "area": float(truth.area[i]),
                    "iscrowd": int(truth.is_crowd[i]),
                }
                for i in range(len(truth))
            ],
        }
        reference.createIndex()
        results = [
            {
                "image_id": int(seen.image_id[i]),
                "category_id": int(seen.class_id[i]),
                "bbox": xywh(seen.boxes_xyxy_px[i]),
                "score": float(seen.score[i]),
            }
            for i in range(len(seen))
        ]
        evaluator = COCOeval(reference, reference.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return list(evaluator.stats)


@settings(max_examples=60, deadline=None)
@given(data=cases)
def test_the_twelve_statistics_are_those_of_pycocotools_to_the_bit(data):
    found = evaluate(data, label_map=LABELS).overall
    if len(data.detections) == 0:
        # Stock pycocotools can't load an empty list of results.
        assert all(found.value(name) in (None, 0.0) for name in METRIC_NAMES)
        return
    expected = [None if value == -1 else value for value in stock_statistics(data)]
    assert [found.value(name) for name in METRIC_NAMES] == expected


@settings(max_examples=60, deadline=None)
@given(data=cases)
def test_both_engines_give_the_same_bits(data):
    ours = evaluate(data, label_map=LABELS, engine="hotcoco")
    theirs = evaluate(data, label_map=LABELS, engine="pycocotools")
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.overall == theirs.overall
    assert ours.per_class == theirs.per_class
    assert (ours.engine, theirs.engine) == ("hotcoco", "pycocotools")


chosen_settings = st.builds(
    CocoSettings,
    iou_thresholds=st.lists(
        st.sampled_from([0.1, 0.3, 0.5, 0.65, 0.75, 0.9, 1.0]), min_size=1, unique=True
    ).map(sorted),
    areas=st.dictionaries(
        st.sampled_from(["tiny", "small", "rest"]),
        st.sampled_from([(0.0, 300.0), (500.0, 2000.0), (2000.0, 1e10)]),
    ).filter(lambda areas: len(set(areas.values())) == len(areas)),
    max_detections=st.sampled_from([(1, 10, 100), (1,), (2, 5), (1, 3, 300)]),
)


def stock_arrays(data: EvaluationData, chosen: CocoSettings) -> list[np.ndarray]:
    """Precision, recall and scores as pycocotools has them for other settings, -1 where undefined."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    reference, result = COCO(), COCO()
    for coco, boxes in ((reference, data.ground_truth), (result, data.detections)):
        corners = boxes.boxes_xyxy_px.astype(np.float64)
        coco.dataset = {
            "images": [{"id": int(i)} for i in data.images.image_id],
            "categories": [{"id": c.id, "name": c.name} for c in LABELS.classes],
            "annotations": [
                {
                    "id": i + 1,
                    "image_id": int(boxes.image_id[i]),
                    "category_id": int(boxes.class_id[i]),
                    "bbox": [*corners[i, :2].tolist(), *(corners[i, 2:] - corners[i, :2]).tolist()],
                    "area": float(boxes.area[i])
                    if coco is reference
                    else float((corners[i, 2:] - corners[i, :2]).prod()),
                    "iscrowd": int(boxes.is_crowd[i]) if coco is reference else 0,
                    **({} if coco is reference else {"score": float(boxes.score[i])}),
                }
                for i in range(len(boxes))
            ],
        }
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        result.createIndex()
        job = COCOeval(reference, result, "bbox")
        job.params.iouThrs = np.array(chosen.iou_thresholds)
        job.params.areaRng = [list(bounds) for bounds in chosen.area_ranges_px2]
        job.params.areaRngLbl = list(chosen.area_names)
        job.params.maxDets = list(chosen.max_detections)
        job.evaluate()
        job.accumulate()
    return [job.eval[name] for name in ("precision", "recall", "scores")]


@settings(max_examples=60, deadline=None)
@given(data=cases, chosen=chosen_settings)
def test_with_other_settings_the_arrays_are_still_those_of_pycocotools(data, chosen):
    expected = stock_arrays(data, chosen)
    for engine in ("hotcoco", "pycocotools"):
        found = evaluate(data, label_map=LABELS, engine=engine, settings=chosen)
        for name, theirs in zip(("precision", "recall", "scores"), expected, strict=True):
            mine = getattr(found, name)
            assert not (mine == -1).any()
            np.testing.assert_array_equal(np.nan_to_num(mine, nan=-1.0), theirs)
        assert all(found.overall.value(name) != -1 for name in METRIC_NAMES)
        assert found.overall.ap == (
            None if (expected[0][..., 0, -1] == -1).all()
            else np.mean(expected[0][..., 0, -1][expected[0][..., 0, -1] > -1])
        )  # fmt: skip


def test_names_stay_true_with_other_settings():
    data = random_data(4, images=12)
    chosen = CocoSettings(
        iou_thresholds=(0.3, 0.75), areas={"tiny": (0, 600), "large": (600, 1e10)},
        max_detections=(1, 5, 50),
    )  # fmt: skip
    found = evaluate(data, label_map=LABELS, settings=chosen)
    document = metrics_document(
        found, data, shard_result(data), label_map=LABELS, evidence_digest="e" * 64
    )
    assert document.settings == chosen
    missing = {name for name in METRIC_NAMES if document.overall.value(name) is None}
    assert missing == {"ap50", "ap_small", "ap_medium", "ar_10", "ar_100", "ar_small", "ar_medium"}
    assert set(document.overall.more) == {"ap_tiny", "ar_tiny", "ar_5", "ar_50"}
    assert set(document.classes[0].metrics.more) == set(document.overall.more)
    assert document.overall.value("ar_5") <= document.overall.value("ar_50")
    assert sum(document.boxes_by_area.values()) >= document.boxes


@settings(max_examples=60, deadline=None)
@given(data=cases, parts=st.sampled_from([1, 2, 3, 7]), order=st.randoms(use_true_random=False))
def test_any_partition_in_any_order_of_arrival_gives_the_same_bits(data, parts, order):
    ids = data.images.image_id.tolist()
    order.shuffle(ids)
    shards = [of_images(data, np.array(ids[k::parts], np.int64)) for k in range(parts)]
    order.shuffle(shards)
    whole, merged = (
        evaluate(data, label_map=LABELS),
        evaluate(concatenate(shards), label_map=LABELS),
    )
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(merged, name))
    assert whole.overall == merged.overall


@settings(max_examples=60, deadline=None)
@given(data=cases, score=st.sampled_from([0.05, 0.3, 0.95]), class_id=st.integers(1, 3))
def test_a_false_alarm_never_raises_ap(data, score, class_id):
    if not len(data.images):
        return
    seen = data.detections
    far_away = np.array([[5000.0, 5000.0, 5040.0, 5040.0]], np.float32)
    worse = EvaluationData(
        images=data.images,
        ground_truth=data.ground_truth,
        detections=Detections(
            image_id=np.append(seen.image_id, data.images.image_id[-1]),
            class_id=np.append(seen.class_id, class_id),
            score=np.append(seen.score, np.float32(score)),
            boxes_xyxy_px=np.concatenate([seen.boxes_xyxy_px, far_away]),
        ),
    )
    before, after = evaluate(data, label_map=LABELS), evaluate(worse, label_map=LABELS)
    for name in METRIC_NAMES:
        old, new = before.overall.value(name), after.overall.value(name)
        assert (old is None) == (new is None)
        assert old is None or new <= old


def test_perfect_detections_score_one():
    data = random_data(3, crowd=0.0)
    truth = data.ground_truth
    perfect = EvaluationData(
        images=data.images,
        ground_truth=GroundTruth(
            image_id=truth.image_id,
            class_id=truth.class_id,
            is_crowd=truth.is_crowd,
            area=np.full(len(truth), 2000.0),
            # Apart from one another, so that no box can match two objects.
            boxes_xyxy_px=np.arange(len(truth))[:, None] * 1000.0 + np.array([0, 0, 40.0, 50.0]),
        ),
        detections=data.detections,
    )
    truth = perfect.ground_truth
    perfect = EvaluationData(
        images=perfect.images,
        ground_truth=truth,
        detections=Detections(
            image_id=truth.image_id,
            class_id=truth.class_id,
            score=np.full(len(truth), 0.9, np.float32),
            boxes_xyxy_px=truth.boxes_xyxy_px.astype(np.float32),
        ),
    )
    overall = evaluate(perfect, label_map=LABELS).overall
    assert overall.ap == pytest.approx(1.0)
    assert overall.ar_100 == 1.0
    assert overall.ap_small is None
    assert overall.ap_medium == pytest.approx(1.0)


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_a_score_of_minus_one_is_a_score(engine):
    data = random_data(3)
    shown = data.detections
    logits = dataclasses.replace(shown, score=np.full(len(shown), -1.0, np.float32))
    found = evaluate(dataclasses.replace(data, detections=logits), label_map=LABELS, engine=engine)
    assert np.array_equal(np.isnan(found.scores), np.isnan(found.precision))
    for entry in class_metrics(found, data, label_map=LABELS):
        assert all(-1 <= score <= 0 for curve in entry.curves for score in curve.score)


def test_without_ground_truth_every_number_is_undefined():
    data = random_data(1, classes=1)
    empty = of_images(data, [])
    blind = EvaluationData(
        images=data.images, ground_truth=empty.ground_truth, detections=data.detections
    )
    for engine in ("hotcoco", "pycocotools"):
        overall = evaluate(blind, label_map=LABELS, engine=engine).overall
        assert all(overall.value(name) is None for name in METRIC_NAMES)


def test_without_detections_what_is_defined_is_zero():
    data = random_data(1, crowd=0.0)
    none = of_images(data, []).detections
    for engine in ("hotcoco", "pycocotools"):
        found = evaluate(
            EvaluationData(images=data.images, ground_truth=data.ground_truth, detections=none),
            label_map=LABELS,
            engine=engine,
        )
        assert found.overall.ap == 0.0
        assert found.overall.ar_100 == 0.0


def test_images_without_detections_count():
    data = random_data(5, crowd=0.0)
    partly = EvaluationData(
        images=data.images,
        ground_truth=data.ground_truth,
        detections=of_images(data, [0, 1]).detections,
    )
    alone = evaluate(of_images(data, [0, 1]), label_map=LABELS).overall
    among = evaluate(partly, label_map=LABELS).overall
    assert 0 < among.ar_100 < alone.ar_100


def test_detections_of_classes_outside_the_label_map_count_for_nothing(capfd):
    data = random_data(2, classes=3, unlisted_class=True)
    listed = data.detections.class_id <= 3
    assert not listed.all()
    seen = data.detections
    without = EvaluationData(
        images=data.images,
        ground_truth=data.ground_truth,
        detections=Detections(
            image_id=seen.image_id[listed],
            class_id=seen.class_id[listed],
            score=seen.score[listed],
            boxes_xyxy_px=seen.boxes_xyxy_px[listed],
        ),
    )
    ours = evaluate(data, label_map=LABELS)
    assert ours.overall == evaluate(without, label_map=LABELS).overall
    assert evaluate(data, label_map=LABELS, engine="pycocotools").overall == ours.overall
    assert capfd.readouterr() == ("", "")


def test_class_metrics_count_objects_images_and_detections():
    data = canonical(random_data(4, images=12))
    evaluation = evaluate(data, label_map=LABELS)
    for k, entry in enumerate(class_metrics(evaluation, data, label_map=LABELS)):
        mine = (data.ground_truth.class_id == k + 1) & ~data.ground_truth.is_crowd
        assert entry.boxes == mine.sum()
        assert entry.images == len(set(data.ground_truth.image_id[mine].tolist()))
        assert entry.detections == (data.detections.class_id == k + 1).sum()
        assert entry.metrics == evaluation.per_class[k]
        assert [curve.iou for curve in entry.curves] == [0.5, 0.75]
        assert np.mean(entry.curves[0].precision) == entry.metrics.ap50


def test_a_class_without_objects_has_no_curves():
    data = random_data(4, classes=1)
    entries = class_metrics(evaluate(data, label_map=LABELS), data, label_map=LABELS)
    assert entries[0].curves
    assert not entries[1].curves
    assert entries[1].metrics.ap is None


def test_a_missing_engine_is_a_configuration_error_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ConfigError, match=r"pip install kfdet\[pycocotools\]"):
        evaluate(random_data(0), label_map=LABELS, engine="pycocotools")


def test_an_image_listed_twice_is_refused():
    data = random_data(0)
    with pytest.raises(ArtifactError, match="image 3 is listed twice"):
        evaluate(concatenate([data, of_images(data, [3])]), label_map=LABELS)


def test_boxes_of_unlisted_images_are_refused():
    data = random_data(0)
    fewer = EvaluationData(
        images=of_images(data, [0, 1]).images,
        ground_truth=of_images(data, [0]).ground_truth,
        detections=data.detections,
    )
    with pytest.raises(ArtifactError, match="a detection box belongs to image 2"):
        evaluate(fewer, label_map=LABELS)


def test_ground_truth_outside_the_label_map_is_refused():
    with pytest.raises(ArtifactError, match="class id 2, which the label map lacks"):
        evaluate(random_data(0), label_map=label_map("circle"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_score_is_an_error_and_no_number(bad):
    data = random_data(0)
    data.detections.score[0] = bad
    with pytest.raises(DataError, match="score of a detection is NaN or infinite"):
        evaluate(data, label_map=LABELS)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        Detections(
            image_id=np.zeros(2, np.int64),
            class_id=np.zeros(1, np.int64),
            score=np.zeros(2, np.float32),
            boxes_xyxy_px=np.zeros((2, 4), np.float32),
        )
