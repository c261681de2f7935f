import dataclasses

import numpy as np
import pytest
from evaluation_cases import label_map, of_images, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images, canonical, evaluate
from kfdet.core.evidence import gather_evidence
from kfdet.core.uncertainty import Subject, draw_halves, spreads, standard_errors
from kfdet.core.weighted import weighted_metric
from kfdet.schema.metrics import METRIC_NAMES

LABELS = label_map("circle", "square", "triangle")


def repeated(data: EvaluationData, times: np.ndarray) -> EvaluationData:
    """The data set in which each image lies as often as its weight says, under new ids."""
    drawn = np.repeat(data.images.image_id, times)
    images, truths, seens = [], [], []
    for new, old in enumerate(drawn):
        one = of_images(data, [old])
        images.append((new, one.images))
        truths.append((new, one.ground_truth))
        seens.append((new, one.detections))
    new_ids = [np.full(len(part), new) for new, part in truths]
    return EvaluationData(
        images=Images(
            image_id=np.arange(drawn.size),
            source_id=tuple(map(str, drawn)),
            file=("f",) * drawn.size,
            record=np.arange(drawn.size),
            width_px=np.full(drawn.size, 300),
            height_px=np.full(drawn.size, 300),
        ),
        ground_truth=GroundTruth(
            image_id=np.concatenate(new_ids),
            class_id=np.concatenate([part.class_id for _, part in truths]),
            is_crowd=np.concatenate([part.is_crowd for _, part in truths]),
            area=np.concatenate([part.area for _, part in truths]),
            boxes_xyxy_px=np.concatenate([part.boxes_xyxy_px for _, part in truths]),
        ),
        detections=Detections(
            image_id=np.concatenate([np.full(len(part), new) for new, part in seens]),
            class_id=np.concatenate([part.class_id for _, part in seens]),
            score=np.concatenate([part.score for _, part in seens]),
            boxes_xyxy_px=np.concatenate([part.boxes_xyxy_px for _, part in seens]),
        ),
    )


def evidence_of(data: EvaluationData):
    return gather_evidence(data, label_map=LABELS)


def errors_of(data: EvaluationData):
    return standard_errors(evidence_of(data), label_map=LABELS)


def assert_same(found, expected, metric):
    theirs = [one.value(metric) for one in expected.per_class]
    np.testing.assert_allclose(
        found[:, 0], [np.nan if value is None else value for value in theirs], atol=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 8),
    ties=st.booleans(),
    crowd=st.sampled_from([0.0, 0.3]),
)
def test_with_weights_of_one_every_metric_is_cocos(seed, images, ties, crowd):
    data = canonical(random_data(seed, images=images, ties=ties, crowd=crowd))
    expected, evidence = evaluate(data, label_map=LABELS), evidence_of(data)
    for metric in METRIC_NAMES:
        found = weighted_metric(evidence, np.ones((images, 1)), metric=metric, class_ids=[1, 2, 3])
        assert_same(found, expected, metric)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    weights=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    metric=st.sampled_from(METRIC_NAMES),
)
def test_a_weight_is_as_good_as_so_many_copies_of_the_image(seed, weights, metric):
    if not any(weights):
        return
    data = canonical(random_data(seed, images=5, ties=False))
    found = weighted_metric(
        evidence_of(data), np.array([weights], np.float64).T, metric=metric, class_ids=[1, 2, 3]
    )
    assert_same(found, evaluate(repeated(data, np.array(weights)), label_map=LABELS), metric)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), begin=st.integers(0, 15), length=st.integers(1, 10))
def test_resamples_do_not_depend_on_their_company(seed, begin, length):
    """So that any division of them among workers gives the same bits."""
    evidence = evidence_of(random_data(seed, images=8))
    weights = draw_halves(8, resamples=25, seed=seed)
    for metric in ("ap", "ap_small", "ar_10"):
        whole = weighted_metric(evidence, weights, metric=metric, class_ids=[1, 2, 3])
        part = weighted_metric(
            evidence, weights[:, begin : begin + length], metric=metric, class_ids=[1, 2, 3]
        )
        np.testing.assert_array_equal(part, whole[:, begin : begin + length])


def test_a_difference_from_oneself_has_no_spread_and_is_tighter_than_the_parts():
    data = random_data(5, images=60)
    evidence = evidence_of(data)
    worse = evidence_of(
        EvaluationData(
            images=data.images,
            ground_truth=data.ground_truth,
            detections=Detections(
                image_id=data.detections.image_id,
                class_id=data.detections.class_id,
                score=data.detections.score,
                boxes_xyxy_px=data.detections.boxes_xyxy_px
                + np.random.default_rng(0)
                .choice([0, 0, 0, 2], (len(data.detections), 1))
                .astype(np.float32),
            ),
        )
    )
    subject = Subject(metric="ap")
    options = {"class_ids": [1, 2, 3], "resamples": 200, "seed": 3}
    assert spreads([subject], evidence, evidence, **options)[subject].standard_error == 0.0
    alone = spreads([subject], evidence, **options)[subject].standard_error
    paired = spreads([subject], evidence, worse, **options)[subject].standard_error
    assert 0 < paired < alone


def test_more_images_give_a_smaller_error():
    few = errors_of(random_data(1, images=40))
    many = errors_of(random_data(1, images=640))
    assert few.overall is not None
    assert many.overall is not None
    # A sixteenth of the variance, so about a quarter of the error.
    assert 0.1 < many.overall / few.overall < 0.5


def test_equal_seeds_give_equal_errors():
    data = random_data(2, images=20)
    assert errors_of(data) == errors_of(data)


def perfect_model() -> EvaluationData:
    data = random_data(3, images=20, crowd=0.0)
    truth = data.ground_truth
    apart = np.arange(len(truth))[:, None] * 1000.0 + np.array([0, 0, 40.0, 50.0])
    return EvaluationData(
        images=data.images,
        ground_truth=GroundTruth(
            image_id=truth.image_id,
            class_id=truth.class_id,
            is_crowd=truth.is_crowd,
            area=truth.area,
            boxes_xyxy_px=apart,
        ),
        detections=Detections(
            image_id=truth.image_id,
            class_id=truth.class_id,
            score=np.full(len(truth), 0.9, np.float32),
            boxes_xyxy_px=apart.astype(np.float32),
        ),
    )


def test_a_perfect_model_has_no_error():
    assert errors_of(perfect_model()).overall == pytest.approx(0.0, abs=1e-12)


def test_the_last_step_of_recall_is_an_error_that_halves_do_not_show():
    options = {"class_ids": [1, 2, 3], "resamples": 50, "seed": 0}
    every = perfect_model()
    found = every.detections
    # Each class misses its first object: curves end one hit earlier, as precise as before.
    kept = np.ones(len(found), np.bool_)
    kept[[np.flatnonzero(found.class_id == k)[0] for k in (1, 2, 3)]] = False
    rest = Detections(
        image_id=found.image_id[kept], class_id=found.class_id[kept],
        score=found.score[kept], boxes_xyxy_px=found.boxes_xyxy_px[kept],
    )  # fmt: skip
    all_found = evidence_of(every)
    less = evidence_of(dataclasses.replace(every, detections=rest))
    step = 0.01 / np.sqrt(12)
    for metric, curves in (("ap50", 3), ("ap", 30), ("ar_100", None)):
        subject = Subject(metric=metric)
        alone = spreads([subject], all_found, **options)[subject].standard_error
        assert alone == pytest.approx(step / np.sqrt(curves) if curves else 0.0, abs=1e-12)
        apart = spreads([subject], all_found, less, **options)[subject].standard_error
        assert apart >= (np.sqrt(2) * step / np.sqrt(curves) if curves else 0.0)


def test_what_is_undefined_has_no_error():
    errors = errors_of(random_data(1, classes=1, images=20))
    assert errors.per_class[0] is not None
    assert errors.per_class[1:] == (None, None)
    nothing = errors_of(of_images(random_data(1), []))
    assert nothing.overall is None
