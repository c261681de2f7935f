"""Standard errors before there is a model, against those of evaluations made in another way."""

import numpy as np
import pytest
from evaluation_cases import label_map
from feasibility_cases import objects_of, scattered

from kfdet.core.coco import Detections, EvaluationData
from kfdet.core.evidence import gather_evidence
from kfdet.core.feasibility.objects import SplitObjects
from kfdet.core.feasibility.power import made_up, spread_curves
from kfdet.core.uncertainty import Subject, measured_values, spreads

LABELS = label_map("cat", "dog")
AP, AP50 = Subject(metric="ap"), Subject(metric="ap50")
CAT50 = Subject(metric="ap50", class_id=1)


def plain_detector(objects: SplitObjects, *, seed: int, found: float) -> EvaluationData:
    """Finds each object with one probability, places it with one looseness, never twice."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(objects.counted & (rng.random(len(objects.truth)) < found))
    boxes = objects.truth.boxes_xyxy_px[rows]
    size = np.tile(boxes[:, 2:] - boxes[:, :2], (1, 2))
    moved = boxes + 0.06 * size * rng.standard_normal(boxes.shape)
    wrong = rng.random(rows.size) < 0.15
    moved[wrong] += 1.2 * size[wrong]
    return EvaluationData(
        images=objects.images,
        ground_truth=objects.truth,
        detections=Detections(
            image_id=objects.truth.image_id[rows],
            class_id=objects.truth.class_id[rows],
            score=(rng.random(rows.size) * np.where(wrong, 0.7, 1)).astype(np.float32),
            boxes_xyxy_px=moved.astype(np.float32),
        ),
    )


@pytest.mark.parametrize("found", [0.5, 0.8])
def test_the_error_told_beforehand_is_near_that_of_another_detectors_bootstrap(found):
    objects = scattered(0, images=150)
    curves = spread_curves(objects, [AP, AP50, CAT50], label_map=LABELS)
    evidence = gather_evidence(plain_detector(objects, seed=1, found=found), label_map=LABELS)
    measured = spreads([AP, AP50, CAT50], evidence, class_ids=[1, 2], resamples=300, seed=0)
    values = measured_values([AP, AP50, CAT50], evidence, class_ids=[1, 2])
    for subject, spread in measured.items():
        assert spread is not None
        told = curves[subject].at(values[subject], paired=False)
        assert 0.5 < told / spread.standard_error < 2.0


def test_four_times_the_images_halve_the_error():
    few = spread_curves(scattered(1, images=60), [AP], label_map=LABELS)[AP]
    many = spread_curves(scattered(2, images=240), [AP], label_map=LABELS)[AP]
    ratio = few.at(0.5, paired=False) / many.at(0.5, paired=False)
    assert 1.4 < ratio < 2.9


def test_a_sample_of_the_images_tells_nearly_the_same():
    objects = scattered(3, images=300)
    whole = spread_curves(objects, [AP], label_map=LABELS)[AP]
    part = spread_curves(objects, [AP], label_map=LABELS, images=100)[AP]
    assert part.at(0.5, paired=False) == pytest.approx(whole.at(0.5, paired=False), rel=0.4)


def test_better_detectors_score_higher_and_a_difference_is_known_more_closely():
    curve = spread_curves(scattered(4, images=150), [AP], label_map=LABELS)[AP]
    assert curve.value[0] < 0.1
    assert curve.value[-1] > 0.9
    assert (np.diff(curve.value) > 0).all()
    assert curve.at(0.5, paired=True) < curve.at(0.5, paired=False) * 2**0.5


def test_equal_seeds_give_equal_bits():
    objects = scattered(5)
    one, two = (made_up(objects, quality=0.5, seed=7).detections for _ in range(2))
    assert (one.boxes_xyxy_px == two.boxes_xyxy_px).all()
    other = made_up(objects, quality=0.5, seed=7, model=1).detections
    assert len(other) != len(one) or (other.boxes_xyxy_px != one.boxes_xyxy_px).any()


def test_a_metric_without_ground_truth_has_no_curve():
    objects = objects_of([[(0.0, 0.0, 50.0, 50.0)], []])
    assert Subject(metric="ap_large") not in spread_curves(
        objects, [Subject(metric="ap_large")], label_map=LABELS
    )
