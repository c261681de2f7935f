import numpy as np
import pytest
from evaluation_cases import label_map, of_images, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images, canonical, evaluate
from kfdet.core.uncertainty import standard_errors, weighted_ap

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


def assert_same_ap(found, expected):
    theirs = [np.nan if one.ap is None else one.ap for one in expected.per_class]
    np.testing.assert_allclose(found, theirs, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 8), ties=st.booleans())
def test_with_weights_of_one_it_is_coco_ap(seed, images, ties):
    data = canonical(random_data(seed, images=images, ties=ties))
    found = weighted_ap(data, np.ones((1, images)), label_map=LABELS)[0]
    assert_same_ap(found, evaluate(data, label_map=LABELS))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), weights=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_weight_is_as_good_as_so_many_copies_of_the_image(seed, weights):
    if not any(weights):
        return
    data = canonical(random_data(seed, images=5, ties=False))
    found = weighted_ap(data, np.array([weights], np.float64), label_map=LABELS)[0]
    assert_same_ap(found, evaluate(repeated(data, np.array(weights)), label_map=LABELS))


def test_more_images_give_a_smaller_error():
    few = standard_errors(random_data(1, images=40), label_map=LABELS)
    many = standard_errors(random_data(1, images=640), label_map=LABELS)
    assert few.overall is not None
    assert many.overall is not None
    # A sixteenth of the variance, so about a quarter of the error.
    assert 0.1 < many.overall / few.overall < 0.5


def test_equal_seeds_give_equal_errors():
    data = random_data(2, images=20)
    assert standard_errors(data, label_map=LABELS) == standard_errors(data, label_map=LABELS)


def test_a_perfect_model_has_no_error():
    data = random_data(3, images=20, crowd=0.0)
    truth = data.ground_truth
    apart = np.arange(len(truth))[:, None] * 1000.0 + np.array([0, 0, 40.0, 50.0])
    perfect = EvaluationData(
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
    assert standard_errors(perfect, label_map=LABELS).overall == pytest.approx(0.0, abs=1e-12)


def test_what_is_undefined_has_no_error():
    errors = standard_errors(random_data(1, classes=1, images=20), label_map=LABELS)
    assert errors.per_class[0] is not None
    assert errors.per_class[1:] == (None, None)
    nothing = standard_errors(of_images(random_data(1), []), label_map=LABELS)
    assert nothing.overall is None
