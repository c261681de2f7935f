import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.overlaps import Boxes, find_overlaps

corners = st.sampled_from([0.0, 0.1, 1 / 3, 7.0, 8.0, 1e-7, 1e9, -3.5]) | st.floats(-1e6, 1e6)
lengths = st.sampled_from([0.0, 1e-9, 0.2, 8.0, 1e9]) | st.floats(0, 1e6)
boxes = st.lists(st.tuples(st.integers(0, 3), corners, corners, lengths, lengths), max_size=12).map(
    sorted
)


def columns(rows) -> Boxes:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Boxes(image=table[:, 0].astype(np.int64), xywh=table[:, 1:])


@settings(max_examples=200, deadline=None)
@given(seen=boxes, truth=boxes, crowd=st.booleans())
def test_every_pair_with_an_overlap_is_found_with_the_overlap_of_pycocotools(seen, truth, crowd):
    from pycocotools import mask

    found = find_overlaps(columns(seen), columns(truth), crowd=np.full(len(truth), crowd))
    expected = [
        (d, g, share)
        for d, one in enumerate(seen)
        for g, other in enumerate(truth)
        if one[0] == other[0]
        and (share := float(mask.iou([list(one[1:])], [list(other[1:])], [int(crowd)])[0, 0])) > 0
    ]
    rows = zip(found.detection.tolist(), found.truth.tolist(), found.iou.tolist(), strict=True)
    assert list(rows) == expected


def test_boxes_out_of_order_are_refused():
    with pytest.raises(ValueError, match="ascending order of image"):
        Boxes(image=np.array([1, 0]), xywh=np.zeros((2, 4)))
