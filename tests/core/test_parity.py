import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.detected import Detected
from kfdet.core.parity import compare
from kfdet.schema.detector_config import NmsConfig
from kfdet.schema.run_config import ParityConfig

TOLERANCE = ParityConfig(score_tolerance=1e-3, box_tolerance_px=0.05)
NMS = NmsConfig(score_threshold=0.05, max_detections=10)


def detected(seed=0, count=6):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 90, (count, 2))
    return Detected(
        boxes_yxyx_px=np.concatenate([corners, corners + rng.uniform(5, 30, (count, 2))], axis=1)
        .astype(np.float32),
        class_ids=rng.integers(1, 4, count),
        scores=np.sort(rng.uniform(0.2, 1, count).astype(np.float32))[::-1],
    )  # fmt: skip


def changed(one, **columns):
    same = {"boxes_yxyx_px": one.boxes_yxyx_px, "class_ids": one.class_ids, "scores": one.scores}
    return Detected(**{**same, **columns})


def proof(left, right):
    return compare([left], [right], tolerance=TOLERANCE, nms=NMS)


def test_equal_answers_pass_with_no_difference():
    answer = proof(detected(), detected())
    assert answer.passed
    assert (answer.max_score_difference, answer.max_box_difference_px) == (0, 0)
    assert answer.detections == 6


@given(st.integers(0, 10_000), st.permutations(range(6)))
def test_the_order_of_near_equal_scores_does_not_matter(seed, order):
    one = changed(detected(seed), scores=np.full(6, 0.5, np.float32))
    other = changed(
        one, boxes_yxyx_px=one.boxes_yxyx_px[order], class_ids=one.class_ids[list(order)]
    )
    assert proof(one, other).passed


@given(st.integers(0, 10_000), st.floats(0.06, 1.0))
def test_a_box_that_is_off_by_more_than_the_tolerance_fails(seed, shift):
    one = detected(seed)
    boxes = one.boxes_yxyx_px.copy()
    boxes[2] += np.float32(shift)
    answer = proof(one, changed(one, boxes_yxyx_px=boxes))
    assert not answer.passed
    assert answer.mismatches or answer.max_box_difference_px > TOLERANCE.box_tolerance_px


def test_a_score_that_is_off_fails_and_shows_by_how_much():
    one = detected()
    scores = one.scores.copy()
    scores[0] -= np.float32(0.01)
    answer = proof(one, changed(one, scores=scores))
    assert not answer.passed
    assert abs(answer.max_score_difference - 0.01) < 1e-6


def test_another_class_is_a_mismatch_on_both_sides():
    one = detected()
    classes = one.class_ids.copy()
    classes[0] = 9
    answer = proof(one, changed(one, class_ids=classes))
    assert (answer.passed, answer.mismatches) == (False, 2)


def test_a_missing_detection_is_a_mismatch():
    one = detected()
    assert proof(one, one.above(float(one.scores[-2]))).mismatches == 1
    assert proof(one.above(float(one.scores[-2])), one).mismatches == 1


def test_a_detection_at_the_threshold_may_be_missing():
    one = detected()
    scores = one.scores.copy()
    scores[-1] = 0.0505
    edge = changed(one, scores=scores)
    assert proof(edge, edge.above(0.06)).passed
    assert proof(edge.above(0.06), edge).passed


def test_the_last_place_of_a_full_list_may_differ():
    full = detected(count=10)
    boxes = full.boxes_yxyx_px.copy()
    boxes[-1] = [0, 0, 5, 5]
    assert proof(full, changed(full, boxes_yxyx_px=boxes)).passed


def test_nothing_compared_proves_nothing():
    nobody = detected().above(2.0)
    assert not proof(nobody, nobody).passed
    assert not compare([], [], tolerance=TOLERANCE, nms=NMS).passed


def test_answers_that_are_no_numbers_fail():
    one = detected()
    scores = one.scores.copy()
    scores[0] = np.nan
    broken = changed(one, scores=scores)
    assert not proof(broken, broken).passed
    assert not proof(one, broken).passed
