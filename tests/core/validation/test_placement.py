from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from kfdet.core.shapes import shapes_image
from kfdet.core.validation.dataset_checks import placement_faults
from kfdet.core.validation.placement import PLACEMENTS, best_placement, edge_thumbnail
from kfdet.core.validation.tally import SplitTally

# What has to be done to boxes to undo each mistake.
UNDONE_BY = {name: name for name in PLACEMENTS} | {
    "turned by 90 degrees": "turned by 270 degrees",
    "turned by 270 degrees": "turned by 90 degrees",
}


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = shapes_image(seed=(seed,))
    grey = Image.open(io.BytesIO(drawn.jpeg)).convert("L")
    return edge_thumbnail(np.asarray(grey)), drawn.boxes_xyxy_px[:, [1, 0, 3, 2]] / 128


@pytest.mark.parametrize("mistake", PLACEMENTS)
def test_the_mistake_that_boxes_were_written_with_is_told(mistake: str):
    wins = Counter()
    for seed in range(40):
        thumbnail, boxes = scene(seed)
        wins[
            best_placement(
                thumbnail, PLACEMENTS[mistake](boxes.astype(np.float64)).astype(np.float32)
            )
        ] += 1
    assert wins[UNDONE_BY[mistake]] > 0.8 * 40


def test_two_of_the_same_mistakes_undo_one_another():
    boxes = np.array([[0.1, 0.2, 0.3, 0.6]])
    for name, move in PLACEMENTS.items():
        np.testing.assert_allclose(PLACEMENTS[UNDONE_BY[name]](move(boxes)), boxes, err_msg=name)


def test_symmetric_boxes_and_images_without_edges_decide_nothing():
    thumbnail, _ = scene(0)
    middle = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
    assert best_placement(thumbnail, middle) is None
    flat = np.full((100, 100), 90, np.uint8)
    assert best_placement(flat, np.array([[0.1, 0.2, 0.3, 0.6]], np.float32)) is None
    assert best_placement(flat, np.zeros((0, 4), np.float32)) is None


def tally(wins: dict) -> dict:
    return {"val": SplitTally(placements=Counter(wins))}


SWAPPED = "with x and y swapped"


@pytest.mark.parametrize(
    ("wins", "found"),
    [
        ({(False, SWAPPED): 40, (False, "as recorded"): 10}, True),
        ({(False, SWAPPED): 25}, False),
        ({(False, SWAPPED): 40, (False, "as recorded"): 60}, False),
        ({(False, SWAPPED): 40, (False, "mirrored"): 39}, False),
        ({(False, "as recorded"): 500, (True, "turned by 90 degrees"): 12}, True),
        ({(False, "as recorded"): 500, (True, "as recorded"): 12}, False),
        ({}, False),
    ],
)
def test_a_split_is_named_when_another_placement_clearly_wins(wins: dict, found: bool):
    faults = [fault for _, fault in placement_faults(tally(wins))]
    assert [fault.code for fault in faults] == ["boxes-misplaced"] * found


def test_the_finding_says_how_often_and_how():
    ((place, fault),) = placement_faults(tally({(False, SWAPPED): 40, (False, "as recorded"): 10}))
    assert fault.seen == "on 40 of 50 images the boxes fit best with x and y swapped"
    assert place.split == "val"
