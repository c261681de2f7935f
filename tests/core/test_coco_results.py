"""COCO files in, pycocotools' numbers out, from the very same files."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import EvaluationData, evaluate
from kfdet.core.coco_results import parse_reference, parse_results
from kfdet.errors import DataError

TRUTH = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}, {"id": 3}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 10, 20, 20], "area": 300},
        {"id": 2, "image_id": 3, "category_id": 5, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
    "categories": [{"id": 5, "name": "square"}, {"id": 2, "name": "circle"}],
}
SEEN = [{"image_id": 7, "category_id": 2, "bbox": [10, 10, 20, 20], "score": 0.9}]


def evaluated(truth, seen):
    reference = parse_reference(json.dumps(truth), where="truth.json")
    found = parse_results(json.dumps(seen), reference=reference, where="seen.json")
    data = EvaluationData(
        images=reference.images, ground_truth=reference.ground_truth, detections=found
    )
    return evaluate(data, label_map=reference.label_map)


def stock(folder, truth, seen):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "seen.json").write_text(json.dumps(seen))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(folder / "truth.json"))
        job = COCOeval(reference, reference.loadRes(str(folder / "seen.json")), "bbox")
        job.evaluate()
        job.accumulate()
        job.summarize()
    return job


sides = st.one_of(st.integers(0, 120), st.floats(0, 300, allow_nan=False))


@st.composite
def files(draw):
    ids = draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=5, unique=True))
    categories = draw(st.lists(st.integers(0, 90), min_size=1, max_size=3, unique=True))

    def entry():
        x, y, w, h = (draw(sides) for _ in range(4))
        return {
            "image_id": draw(st.sampled_from(ids)),
            "category_id": draw(st.sampled_from(categories)),
            "bbox": [x, y, w, h],
        }

    annotations = []
    for number in range(draw(st.integers(0, 8))):
        one = entry()
        area = draw(st.one_of(st.just(one["bbox"][2] * one["bbox"][3]), st.floats(0, 20000)))
        annotations.append(one | {"id": number + 1, "area": area, "iscrowd": draw(st.booleans())})
    seen = []
    for _ in range(draw(st.integers(1, 10))):
        one = entry()
        if annotations and draw(st.booleans()):
            near = draw(st.sampled_from(annotations))
            one |= {key: near[key] for key in ("image_id", "category_id")}
            x, y, w, h = near["bbox"]
            one["bbox"] = [x + draw(st.sampled_from([0, 0.1, 3])), y, w, h]
        seen.append(one | {"score": draw(st.sampled_from([0.1, 0.25, 0.5, 0.1 + 1e-12, 0.9]))})
    truth = {
        "images": [{"id": number} for number in ids],
        "annotations": [one | {"iscrowd": int(one["iscrowd"])} for one in annotations],
        "categories": [{"id": number, "name": f"c{number}"} for number in categories],
    }
    return truth, seen


@settings(max_examples=150, deadline=None)
@given(case=files())
def test_the_numbers_are_those_of_pycocotools_on_the_same_files(tmp_path_factory, case):
    truth, seen = case
    theirs = stock(tmp_path_factory.mktemp("coco"), truth, seen)
    mine = evaluated(truth, seen)
    assert [-1.0 if value is None else value for value in mine.overall.named().values()] == list(
        theirs.stats
    )
    for name in ("precision", "recall", "scores"):
        expected = theirs.eval[name]
        np.testing.assert_array_equal(np.nan_to_num(getattr(mine, name), nan=-1.0), expected)


def test_images_are_numbered_in_ascending_order_of_id_and_keep_their_names():
    reference = parse_reference(json.dumps(TRUTH), where="t")
    assert reference.images.source_id == ("3", "7")
    assert reference.images.file == ("", "a.jpg")
    assert reference.ground_truth.image_id.tolist() == [1, 0]
    assert reference.ground_truth.area.tolist() == [300.0, 81.0]
    assert [(label.id, label.name) for label in reference.label_map.classes] == [
        (2, "circle"), (5, "square"),
    ]  # fmt: skip


def test_category_ids_from_zero_are_moved_up():
    zero = TRUTH | {
        "categories": [{"id": 0, "name": "circle"}, {"id": 5, "name": "square"}],
        "annotations": [TRUTH["annotations"][0] | {"category_id": 0}],
    }
    result = evaluated(zero, [SEEN[0] | {"category_id": 0}])
    assert result.overall.ap == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 9}, "detection 1: image_id 9 is no image"),
        ({"image_id": "7"}, "detection 1: image_id '7' is no image"),
        ({"category_id": 1}, r"detection 1 \(image 7\): category_id 1 is no category .* has 2, 5"),
        ({"bbox": [1, 2, 3]}, r"detection 1 \(image 7\): bbox is \[1, 2, 3\]"),
        ({"bbox": [1, 2, -3, 4]}, "negative side"),
        ({"bbox": [1, 2, float("inf"), 4]}, "all finite"),
        ({"score": float("nan")}, r"detection 1 \(image 7\): score is nan"),
        ({"score": None}, "score is None"),
        ({"score": True}, "score is True"),
        ({"image_id": True}, "image_id True is no image"),
        ({"image_id": 7.5}, "image_id 7.5 is no image"),
        ({"image_id": "7"}, "whose ids are numbers"),
        ({"bbox": None, "segmentation": {"size": [1, 1], "counts": "0"}}, "bbox is None"),
        ({"bbox": [1, 2, 3, True]}, "bbox is"),
        ({"bbox": [10**400, 2, 3, 4]}, "detection 1"),
    ],
)
def test_a_faulty_detection_is_named(change, words):
    reference = parse_reference(json.dumps(TRUTH), where="t")
    text = json.dumps([SEEN[0], SEEN[0] | change])
    with pytest.raises(DataError, match=words) as failure:
        parse_results(text, reference=reference, where="seen.json")
    assert str(failure.value).startswith("seen.json: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 9}, "annotation 1: image_id 9 is no image of the file"),
        ({"category_id": 9}, "annotation 1: category_id 9 is no category of the file"),
        ({"bbox": []}, "annotation 1: bbox is"),
        ({"area": -1}, "annotation 1: area is -1"),
        ({"iscrowd": 2}, "annotation 1: iscrowd is 2"),
        ({"id": 2}, "annotation 2: the id is given more than once"),
    ],
)
def test_a_faulty_annotation_is_named(change, words):
    first, second = TRUTH["annotations"]
    with pytest.raises(DataError, match=words):
        parse_reference(json.dumps(TRUTH | {"annotations": [first | change, second]}), where="t")


@pytest.mark.parametrize("huge", [1e308, 1e200, -1e16])
def test_a_box_that_no_image_holds_is_named_in_either_file(huge):
    reference = parse_reference(json.dumps(TRUTH), where="truth.json")
    seen = [*SEEN, SEEN[0] | {"bbox": [huge, 0, abs(huge), 5]}]
    with pytest.raises(
        DataError, match=r"detection 1 \(image 7\): bbox is .* which no image holds"
    ):
        parse_results(json.dumps(seen), reference=reference, where="seen.json")
    objects = [TRUTH["annotations"][0] | {"bbox": [0, 0, abs(huge), abs(huge)]}]
    with pytest.raises(DataError, match=r"annotation 1: bbox is .* which no image holds"):
        parse_reference(json.dumps(TRUTH | {"annotations": objects}), where="truth.json")


@pytest.mark.parametrize("side", [10**30, -1])
def test_a_side_that_no_image_has_is_named(side):
    images = [{"id": 7, "width": 5, "height": side}, {"id": 3}]
    with pytest.raises(DataError, match=rf"image 7: height is {side}, expected pixels"):
        parse_reference(json.dumps(TRUTH | {"images": images}), where="truth.json")


def test_an_annotation_with_the_id_0_counts_like_any_other(tmp_path):
    """pycocotools takes a hit on it for none, since 0 is how it writes that there is no match."""
    truth = TRUTH | {"annotations": [TRUTH["annotations"][0] | {"id": 0, "iscrowd": 0}]}
    assert evaluated(truth, SEEN).overall.ap == pytest.approx(1.0)
    assert stock(tmp_path, truth, SEEN).stats[0] == 0.0


def test_masks_without_boxes_are_refused_by_name():
    reference = parse_reference(json.dumps(TRUTH), where="t")
    mask = {"image_id": 7, "category_id": 2, "segmentation": [[0, 0, 9, 9, 0, 9]], "score": 0.5}
    with pytest.raises(DataError, match="masks are not measured, boxes are"):
        parse_results(json.dumps([mask]), reference=reference, where="s")


@pytest.mark.parametrize("first", [2**53, 2**63, -(2**70)])
def test_category_ids_that_no_float_tells_apart_stay_apart(first):
    ids = [first, first + 1, first + 2]
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": number, "name": f"class {k}"} for k, number in enumerate(ids)],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": number, "bbox": [10 * k, 0, 9, 9]}
            for k, number in enumerate(ids, 1)
        ],
    }
    seen = [
        {"image_id": 1, "category_id": one["category_id"], "bbox": one["bbox"], "score": 0.9}
        for one in truth["annotations"]
    ]
    reference = parse_reference(json.dumps(truth), where="truth")
    found = parse_results(json.dumps(seen), reference=reference, where="seen")
    assert found.class_id.tolist() == reference.ground_truth.class_id.tolist() == [1, 2, 3]
    assert [label.name for label in reference.label_map.classes] == [
        "class 0",
        "class 1",
        "class 2",
    ]


def test_whole_numbers_written_with_a_point_are_ids():
    data = json.loads(json.dumps(TRUTH))
    data["images"][0]["id"] = 7.0
    assert evaluated(data, [SEEN[0] | {"image_id": 7.0, "category_id": 2.0}]).overall.ap == (
        pytest.approx(1.0)
    )


def test_ids_of_images_may_be_text():
    text = {"images": [{"id": "b"}, {"id": "a"}], "categories": TRUTH["categories"],
            "annotations": [TRUTH["annotations"][0] | {"image_id": "b"}]}  # fmt: skip
    assert evaluated(text, [SEEN[0] | {"image_id": "b"}]).overall.ap == pytest.approx(1.0)
    reference = parse_reference(json.dumps(text), where="t")
    assert reference.images.source_id == ("a", "b")
    with pytest.raises(DataError, match="its first image_id is 7, the ground truth's is 'a'"):
        parse_results(json.dumps(SEEN * 2), reference=reference, where="s")


def test_ids_of_both_kinds_are_refused():
    mixed = TRUTH | {"images": [*TRUTH["images"], {"id": "a"}]}
    with pytest.raises(DataError, match="some ids of images are text and some are numbers"):
        parse_reference(json.dumps(mixed), where="t")


def test_what_else_is_said_of_an_image_can_be_cut_by():
    truth = json.loads(json.dumps(TRUTH))
    truth["images"][0] |= {"weather": "rain", "licence": 3, "gps": [1, 2], "mean": 0.5}
    assert parse_reference(json.dumps(truth), where="t").images.features == (
        {},
        {"weather": "rain", "licence": "3"},
    )


def test_results_of_another_data_set_are_recognised():
    reference = parse_reference(json.dumps(TRUTH), where="t")
    foreign = [SEEN[0] | {"image_id": 100 + i} for i in range(3)]
    with pytest.raises(DataError, match="another data set: its first image_id is 100"):
        parse_results(json.dumps(foreign), reference=reference, where="s")


def test_exchanged_files_are_recognised():
    with pytest.raises(DataError, match="give it as --detections"):
        parse_reference(json.dumps(SEEN), where="t")
    reference = parse_reference(json.dumps(TRUTH), where="t")
    with pytest.raises(DataError, match="is a JSON object"):
        parse_results(json.dumps(TRUTH), reference=reference, where="s")


def test_many_faults_are_counted_and_the_first_are_shown():
    reference = parse_reference(json.dumps(TRUTH), where="t")
    bad = [SEEN[0], *(SEEN[0] | {"score": None} for _ in range(25))]
    with pytest.raises(DataError, match=r"25 faults(.|\n)*and 15 more"):
        parse_results(json.dumps(bad), reference=reference, where="s")


def test_no_detections_at_all_is_an_answer():
    assert evaluated(TRUTH, []).overall.ap == 0.0
