"""Files that mean something else than COCO's format says are recognised, and proper ones never are."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco_doubts import doubts
from kfdet.core.coco_results import parse_reference, parse_results

WIDTH, HEIGHT = 640, 480


def topics(truth_boxes, seen_boxes, *, scores=None, size=(WIDTH, HEIGHT)):
    truth = {
        "images": [{"id": 1, "width": size[0], "height": size[1]}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "bbox": box}
            for k, box in enumerate(truth_boxes, 1)
        ],
        "categories": [{"id": 1, "name": "circle"}],
    }
    seen = [
        {"image_id": 1, "category_id": 1, "bbox": box, "score": score}
        for box, score in zip(seen_boxes, scores or [0.5] * len(seen_boxes), strict=True)
    ]
    reference = parse_reference(json.dumps(truth), where="truth.json")
    found = parse_results(json.dumps(seen), reference=reference, where="seen.json")
    return [(one.topic, one.finding, one.evidence) for one in doubts(reference, found)]


def normalised(box):
    return [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT]


def corners(box):
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


@st.composite
def inside(draw):
    """A box of 2 px and more inside the image."""
    x, y = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    return [x, y, draw(st.integers(2, WIDTH - x)), draw(st.integers(2, HEIGHT - y))]


boxes = st.lists(inside(), max_size=12)


@settings(max_examples=200, deadline=None)
@given(truth=boxes, seen=boxes, chance=st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_proper_files_raise_no_doubt(truth, seen, chance):
    assert topics(truth, seen, scores=chance[: len(seen)]) == []


PROPER = [[300, 200, 100, 100], [500, 300, 120, 150], [10, 20, 200, 300], [400, 100, 30, 60]]


def test_normalised_boxes_are_recognised_in_either_file():
    small = [normalised(box) for box in PROPER]
    ((topic, finding, evidence),) = topics(PROPER, small)
    assert topic == "boxes_normalised"
    assert finding == "The boxes of the results look normalised."
    assert evidence == "Of 4 boxes, none reaches beyond 1 px, in images of 640 x 480 px."
    assert [finding for _, finding, _ in topics(small, small)] == [
        "The boxes of the ground truth look normalised.",
        "The boxes of the results look normalised.",
    ]


def test_corners_are_recognised_in_either_file():
    ((topic, finding, evidence),) = topics(PROPER, [corners(box) for box in PROPER])
    assert topic == "boxes_as_corners"
    assert finding == "The boxes of the results look like [xmin, ymin, xmax, ymax]."
    assert "Of 4 boxes, 3 reach beyond their image" in evidence
    ((_, finding, _),) = topics([corners(box) for box in PROPER], PROPER)
    assert finding.startswith("The boxes of the ground truth")


def test_a_detector_that_reaches_beyond_the_border_is_not_doubted():
    assert topics(PROPER, [[600, 400, 80, 120], [10, 20, 20, 20], [-5, -5, 20, 20]]) == []


def test_without_sizes_of_images_nothing_is_said_of_boxes():
    assert topics(PROPER, [normalised(box) for box in PROPER], size=(0, 0)) == []


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([87, 12, 0.5, 3], "3 scores of 4 from 3 to 87."),
        ([-2, 0.5, 0.1, 0], "1 score of 4 from -2"),
    ],
)
def test_scores_that_are_no_shares_are_told(scores, words):
    ((topic, _, evidence),) = topics(PROPER, PROPER, scores=scores)
    assert topic == "scores_outside"
    assert evidence.startswith(words)
