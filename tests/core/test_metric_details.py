import numpy as np
import pytest
from evaluation_cases import label_map, of_images, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import canonical, evaluate
from kfdet.core.error_analysis import ScoreCurve, match, score_curve
from kfdet.core.measurement import measure
from kfdet.schema.base import parse_json
from kfdet.schema.metrics import Details, MeasurementConfig

LABELS = label_map("circle", "square", "triangle")


def detailed(data):
    found = measure(data, label_map=LABELS, engine="hotcoco", config=MeasurementConfig())
    return found.details, found.evaluation


cases = st.builds(random_data, st.integers(0, 10**6), images=st.integers(0, 12))


@settings(max_examples=40, deadline=None)
@given(data=cases)
def test_ap_by_iou_has_coco_statistics_as_its_parts(data):
    found, evaluation = detailed(data)
    values = {one.iou: one.ap for one in found.ap_by_iou}
    assert values[0.5] == evaluation.overall.ap50
    assert values[0.75] == evaluation.overall.ap75
    if evaluation.overall.ap is not None:
        assert np.mean(list(values.values())) == pytest.approx(evaluation.overall.ap)
    for one, statistics in zip(found.classes, evaluation.per_class, strict=True):
        assert one.ap_by_iou[0].ap == statistics.ap50


@settings(max_examples=40, deadline=None)
@given(data=cases)
def test_slices_of_one_kind_hold_every_object_once(data):
    found, _ = detailed(data)
    objects = int((~data.ground_truth.is_crowd).sum())
    for by in ("box_size", "box_aspect_ratio", "objects_in_image"):
        parts = [one for one in found.slices if one.by == by]
        assert sum(one.boxes for one in parts) == objects
        misses = sum(round(one.boxes * (1 - one.recall)) for one in parts if one.boxes)
        assert misses == sum(found.errors.misses.values())


@settings(max_examples=20, deadline=None)
@given(data=cases)
def test_a_slice_of_images_has_the_ap_of_those_images_alone(data):
    data = canonical(data)
    found, _ = detailed(data)
    truth = data.ground_truth
    counts = np.bincount(truth.image_id[~truth.is_crowd], minlength=len(data.images))
    single = evaluate(of_images(data, np.flatnonzero(counts == 1)), label_map=LABELS).overall
    part = next(one for one in found.slices if (one.by, one.name) == ("objects_in_image", "1"))
    assert part.ap == (None if single.ap is None else pytest.approx(single.ap))
    assert part.images == int((counts == 1).sum())


@pytest.mark.parametrize("of", [20, 40, 100])
def test_a_value_that_is_exactly_a_hundredth_is_reached(of):
    parts = np.arange(1, of + 1)
    curve = ScoreCurve(
        score=1 - parts / (of + 1), precision=1 - parts / (2 * of), recall=parts / of, f1=parts / of
    )
    best = curve.trade_off(objects=of).precision_at_recall
    for step in range(101):
        if step * of % 100 == 0 and step:
            assert best[step] == 1 - (step * of // 100) / (2 * of)


@settings(max_examples=40, deadline=None)
@given(data=cases)
def test_trade_offs_are_points_of_the_curve_and_monotone(data):
    found, _ = detailed(data)
    for one in (found.score, *(entry.score for entry in found.classes)):
        for values in (one.precision_at_recall, one.recall_at_precision):
            assert values is None or list(values) == sorted(values, reverse=True)
        if one.best is not None:
            assert all(point.f1 <= one.best.f1 for point in one.points)


@settings(max_examples=40, deadline=None)
@given(data=cases, at=st.integers(0, 100).map(lambda step: step / 100))
def test_precision_at_a_recall_is_the_best_of_all_thresholds_that_reach_it(data, at):
    data = canonical(data)
    found, _ = detailed(data)
    curve = score_curve(match(data, label_map=LABELS), data)
    if found.score.precision_at(at) is None:
        assert data.ground_truth.is_crowd.all()
        return
    assert found.score.precision_at(at) == curve.precision[curve.recall >= at].max(initial=0.0)
    assert found.score.recall_at(at) == curve.recall[curve.precision >= at].max(initial=0.0)


def test_a_recall_between_two_hundredths_is_refused():
    found, _ = detailed(random_data(4))
    with pytest.raises(ValueError, match="no multiple of 0.01"):
        found.score.precision_at(0.955)


def test_counts_agree_with_one_another():
    data = random_data(4, images=40)
    found, _ = detailed(data)
    matrix = np.array(found.confusion.matrix)
    objects = int((~data.ground_truth.is_crowd).sum())
    assert matrix[:-1].sum() == objects
    assert found.errors.hits + sum(found.errors.misses.values()) == objects
    assert found.confusion.labels == ("circle", "square", "triangle", "background")
    assert 0 <= found.calibration.expected_error <= 1


@settings(max_examples=20, deadline=None)
@given(data=cases)
def test_what_is_read_is_what_was_written(data):
    found, _ = detailed(data)
    assert parse_json(Details, found.canonical_json(), where="here") == found
