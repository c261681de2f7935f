import numpy as np
import pytest
from evaluation_cases import label_map, of_images, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import (
    Detections,
    EvaluationData,
    GroundTruth,
    Images,
    canonical,
    evaluate,
)
from kfdet.core.error_analysis import (
    FALSE_ALARM_CAUSES,
    MISS_CAUSES,
    confusion_matrix,
    match,
    outcomes,
    reliability,
    score_curve,
)

LABELS = label_map("circle", "square", "triangle")
cases = st.builds(
    random_data,
    st.integers(0, 10**6),
    images=st.integers(1, 8),
    crowd=st.sampled_from([0.0, 0.3]),
    ties=st.booleans(),
    degenerate=st.booleans(),
).map(canonical)


def one_image(
    objects: list[tuple[int, list[float]]],
    answers: list[tuple[int, float, list[float]]],
    *,
    crowd: tuple[int, ...] = (),
) -> EvaluationData:
    """Objects are (class, box), answers (class, score, box), boxes [xmin, ymin, xmax, ymax] px."""
    return EvaluationData(
        images=Images(
            image_id=np.array([0]),
            source_id=("a",),
            file=("f",),
            record=np.array([0]),
            width_px=np.array([400]),
            height_px=np.array([400]),
        ),
        ground_truth=GroundTruth(
            image_id=np.zeros(len(objects), np.int64),
            class_id=np.array([c for c, _ in objects], np.int64),
            is_crowd=np.isin(np.arange(len(objects)), crowd),
            area=np.full(len(objects), 5000.0),
            boxes_xyxy_px=np.array([b for _, b in objects], np.float64).reshape(-1, 4),
        ),
        detections=Detections(
            image_id=np.zeros(len(answers), np.int64),
            class_id=np.array([c for c, _, _ in answers], np.int64),
            score=np.array([s for _, s, _ in answers], np.float32),
            boxes_xyxy_px=np.array([b for _, _, b in answers], np.float32).reshape(-1, 4),
        ),
    )


BOX = [0.0, 0.0, 100.0, 100.0]
NEAR = [0.0, 0.0, 100.0, 90.0]
LOOSE = [60.0, 0.0, 160.0, 100.0]
FAR = [300.0, 300.0, 340.0, 340.0]


@settings(max_examples=60, deadline=None)
@given(data=cases)
def test_hits_are_those_that_the_coco_engine_counts(data):
    matching = match(data, label_map=LABELS)
    evaluation = evaluate(data, label_map=LABELS)
    for k, label in enumerate(LABELS.classes):
        objects = (data.ground_truth.class_id == label.id) & ~data.ground_truth.is_crowd
        if not objects.any():
            continue
        hits = (matching.truth_of >= 0) & (data.detections.class_id == label.id)
        assert hits.sum() / objects.sum() == evaluation.recall[0, k, 0, -1]


@settings(max_examples=60, deadline=None)
@given(data=cases)
def test_the_score_curve_has_the_area_that_the_coco_engine_finds(data):
    """Interpolated at the 101 recall points, our curve is the engine's own."""
    matching = match(data, label_map=LABELS)
    evaluation = evaluate(data, label_map=LABELS)
    for k, label in enumerate(LABELS.classes):
        if evaluation.per_class[k].ap50 is None:
            continue
        # The engine ranks ties one after another; the curve takes them at once.
        scores = data.detections.score[matching.counted & (data.detections.class_id == label.id)]
        if len(set(scores.tolist())) != scores.size:
            continue
        curve = score_curve(matching, data, class_id=label.id)
        envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
        at = np.searchsorted(curve.recall, np.linspace(0, 1, 101), side="left")
        area = np.append(envelope, 0.0)[np.minimum(at, envelope.size)].mean()
        assert area == pytest.approx(evaluation.per_class[k].ap50, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(data=cases, score=st.sampled_from([0.0, 0.3, 0.5, 0.95]))
def test_a_threshold_gives_the_matches_of_the_detections_above_it(data, score):
    seen = data.detections
    kept = seen.score.astype(np.float64) >= score
    above = EvaluationData(
        images=data.images,
        ground_truth=data.ground_truth,
        detections=Detections(
            image_id=seen.image_id[kept],
            class_id=seen.class_id[kept],
            score=seen.score[kept],
            boxes_xyxy_px=seen.boxes_xyxy_px[kept],
        ),
    )
    whole = outcomes(match(data, label_map=LABELS), data, score=score)
    alone = outcomes(match(above, label_map=LABELS), above, score=0.0)
    np.testing.assert_array_equal(whole.hit[kept], alone.hit)
    np.testing.assert_array_equal(whole.false_alarm[kept], alone.false_alarm)
    np.testing.assert_array_equal(whole.miss, alone.miss)
    assert not whole.hit[~kept].any()


@settings(max_examples=40, deadline=None)
@given(data=cases, score=st.sampled_from([0.0, 0.5]))
def test_every_object_is_hit_or_missed_and_every_error_has_one_cause(data, score):
    found = outcomes(match(data, label_map=LABELS), data, score=score)
    objects = (~data.ground_truth.is_crowd).sum()
    assert found.hit.sum() + found.miss.sum() == objects
    assert not (found.hit & found.false_alarm).any()
    np.testing.assert_array_equal(found.false_alarm_cause >= 0, found.false_alarm)
    np.testing.assert_array_equal(found.miss_cause >= 0, found.miss)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), score=st.sampled_from([0.0, 0.3, 0.5]))
def test_the_confusion_matrix_is_that_of_hotcoco_without_crowds_and_ties(seed, score):
    import hotcoco

    data = canonical(random_data(seed, crowd=0.0, ties=False))
    # Engines differ in which of two objects wins that overlap a detection alike: keep them apart.
    data.ground_truth.boxes_xyxy_px[:] += np.arange(len(data.ground_truth))[:, None] * 0.01
    listed = data.detections.class_id <= 3
    truth, seen = data.ground_truth, data.detections
    sides = seen.boxes_xyxy_px.astype(np.float64)
    reference = hotcoco.COCO.from_arrays(
        [{"id": int(i)} for i in data.images.image_id],
        [{"id": c.id, "name": c.name} for c in LABELS.classes],
        truth.image_id,
        truth.class_id,
        np.hstack(
            [truth.boxes_xyxy_px[:, :2], truth.boxes_xyxy_px[:, 2:] - truth.boxes_xyxy_px[:, :2]]
        ),
    )
    rows = np.column_stack(
        [seen.image_id, sides[:, :2], sides[:, 2:] - sides[:, :2], seen.score, seen.class_id]
    )
    theirs = hotcoco.COCOeval(reference, reference.load_res(rows[listed]), "bbox").confusion_matrix(
        iou_thr=0.5, min_score=score
    )["matrix"]
    np.testing.assert_array_equal(confusion_matrix(data, label_map=LABELS, score=score), theirs)


@settings(max_examples=40, deadline=None)
@given(data=cases, score=st.sampled_from([0.0, 0.5]))
def test_the_confusion_matrix_counts_every_object_once(data, score):
    matrix = confusion_matrix(data, label_map=LABELS, score=score)
    for k, label in enumerate(LABELS.classes):
        objects = (data.ground_truth.class_id == label.id) & ~data.ground_truth.is_crowd
        assert matrix[k].sum() == objects.sum()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((1, 0.5, NEAR), "duplicate"),
        ((2, 0.5, NEAR), "wrong_class"),
        ((1, 0.5, LOOSE), "badly_placed"),
        ((2, 0.5, LOOSE), "both"),
        ((1, 0.5, FAR), "background"),
    ],
)
def test_a_false_alarm_has_its_cause(answer, cause):
    data = one_image([(1, BOX)], [(1, 0.9, BOX), answer])
    found = outcomes(match(data, label_map=LABELS), data, score=0.1)
    assert found.hit.tolist() == [True, False]
    assert FALSE_ALARM_CAUSES[found.false_alarm_cause[1]] == cause


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([(1, 0.2, BOX)], "low_score"),
        ([(2, 0.9, NEAR)], "wrong_class"),
        ([(1, 0.9, LOOSE)], "badly_placed"),
        ([(1, 0.9, FAR)], "unseen"),
        ([], "unseen"),
    ],
)
def test_a_miss_has_its_cause(answers, cause):
    data = one_image([(1, BOX)], answers)
    found = outcomes(match(data, label_map=LABELS), data, score=0.5)
    assert found.miss.tolist() == [True]
    assert MISS_CAUSES[found.miss_cause[0]] == cause


def test_the_highest_score_takes_the_object_first():
    data = one_image([(1, BOX)], [(1, 0.5, BOX), (1, 0.9, NEAR)])
    assert match(data, label_map=LABELS).truth_of.tolist() == [-1, 0]


def test_a_detection_on_a_crowd_counts_neither_way():
    data = one_image([(1, BOX), (1, FAR)], [(1, 0.9, NEAR), (1, 0.8, NEAR)], crowd=(0,))
    matching = match(data, label_map=LABELS)
    assert not matching.counted.any()
    found = outcomes(matching, data, score=0.0)
    assert (found.hit.sum(), found.false_alarm.sum(), found.miss.tolist()) == (0, 0, [False, True])
    assert confusion_matrix(data, label_map=LABELS, score=0.0).sum() == 1


def test_beyond_a_hundred_of_a_class_in_an_image_detections_do_not_count():
    data = one_image([(1, BOX)], [(1, 0.9 - 0.001 * i, FAR) for i in range(100)] + [(1, 0.1, BOX)])
    matching = match(data, label_map=LABELS)
    assert matching.counted.sum() == 100
    assert matching.truth_of[100] == -1


def test_the_best_operating_point_is_the_highest_f1():
    data = one_image(
        [(1, BOX), (1, FAR)],
        [(1, 0.9, BOX), (1, 0.8, FAR), (2, 0.3, BOX), (2, 0.2, FAR)],
    )
    curve = score_curve(match(data, label_map=LABELS), data)
    best = curve.best()
    assert best is not None
    assert curve.score[best] == pytest.approx(0.8)
    assert (curve.precision[best], curve.recall[best], curve.f1[best]) == (1.0, 1.0, 1.0)


def test_equal_scores_are_kept_or_dropped_together():
    data = one_image([(1, BOX)], [(1, 0.5, FAR), (1, 0.5, BOX)])
    curve = score_curve(match(data, label_map=LABELS), data)
    assert curve.score.tolist() == [0.5]
    assert curve.precision.tolist() == [0.5]


def test_without_a_hit_there_is_no_operating_point():
    for data in (one_image([(1, BOX)], [(1, 0.9, FAR)]), one_image([(1, BOX)], [])):
        assert score_curve(match(data, label_map=LABELS), data).best() is None


def test_reliability_is_the_share_of_hits_in_a_range_of_scores():
    data = one_image([(1, BOX)], [(1, 0.95, BOX), (1, 0.91, FAR), (1, 0.15, FAR)])
    found = reliability(match(data, label_map=LABELS), data)
    assert found.detections.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.hit_share[9] == 0.5
    assert found.mean_score[9] == pytest.approx(0.93)
    assert np.isnan(found.hit_share[5])


def test_nothing_at_all_can_be_analysed():
    data = of_images(random_data(0), [])
    matching = match(data, label_map=LABELS)
    assert outcomes(matching, data, score=0.0).hit.size == 0
    assert confusion_matrix(data, label_map=LABELS, score=0.0).sum() == 0
    assert reliability(matching, data).detections.sum() == 0
