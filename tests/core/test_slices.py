import dataclasses

import numpy as np
import pytest
from evaluation_cases import assert_same_evidence, label_map, of_images, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import canonical, concatenate, evaluate
from kfdet.core.measurement import measure
from kfdet.core.slices import ABSENT, image_parts, objects_by_part
from kfdet.errors import ConfigError
from kfdet.schema.metrics import SLICE_NUMBERS, MeasurementConfig

LABELS = label_map("circle", "square", "triangle")
cases = st.builds(
    random_data,
    st.integers(0, 10**6),
    images=st.integers(1, 10),
    crowd=st.sampled_from([0.0, 0.3]),
    ties=st.booleans(),
)


def with_features(data, features):
    return dataclasses.replace(
        data, images=dataclasses.replace(data.images, features=tuple(features))
    )


def measured(data, **config):
    return measure(
        data, label_map=LABELS, engine="hotcoco", config=MeasurementConfig.model_validate(config)
    )


@settings(max_examples=40, deadline=None)
@given(data=cases)
def test_a_slice_by_a_feature_is_an_evaluation_of_its_images(data):
    found = measured(data).details
    for camera in ("north", "south")[: len(data.images)]:
        ids = [i for i, one in enumerate(data.images.features) if one["camera"] == camera]
        alone = evaluate(of_images(data, ids), label_map=LABELS)
        part = found.of_slice("camera", camera)
        if len(data.images) < 2:
            assert part is None
            continue
        assert part.images == len(ids)
        assert part.boxes == int((~of_images(data, ids).ground_truth.is_crowd).sum())
        for name in ("ap", "ap50", "ap75", "ar_100"):
            expected = alone.overall.value(name)
            assert part.value(name) == (None if expected is None else pytest.approx(expected))


@settings(max_examples=25, deadline=None)
@given(data=cases)
def test_objects_are_counted_as_the_evaluation_counts_them(data):
    counted = objects_by_part(data, image_parts(data))
    measured_parts = {(part.by, part.name): part.boxes for part in measured(data).details.slices}
    assert counted == measured_parts


@settings(max_examples=25, deadline=None)
@given(data=cases, order=st.randoms(use_true_random=False), parts=st.sampled_from([1, 2, 5]))
def test_no_bit_of_what_is_measured_depends_on_shards_or_their_order(data, order, parts):
    ids = data.images.image_id.tolist()
    order.shuffle(ids)
    shards = [of_images(data, np.array(ids[k::parts], np.int64)) for k in range(parts)]
    order.shuffle(shards)
    whole, merged = measured(data), measured(concatenate(shards))
    assert merged.details == whole.details
    assert_same_evidence(merged.evidence, whole.evidence)


@settings(max_examples=40, deadline=None)
@given(data=cases)
def test_slices_of_boxes_hold_the_recall_of_their_objects(data):
    found = measured(data)
    data = found.diagnosis.data
    truth, real = data.ground_truth, ~data.ground_truth.is_crowd
    small = real & (truth.area < 16**2)
    part = found.details.of_slice("box_size", "below 16 px")
    assert part.boxes == small.sum()
    assert part.images == len(set(truth.image_id[small].tolist()))
    if small.any():
        assert part.recall == pytest.approx(1 - found.diagnosis.outcomes.miss[small].mean())
    else:
        assert all(part.value(name) is None for name in ("ap", "recall", "ar_100"))


def test_one_slice_of_everything_has_the_metrics_of_the_set():
    data = random_data(5, images=20, crowd=0.2)
    data = with_features(data, [{"night": "no"}] * 20)
    found = measured(data, slices=["night"])
    (part,) = (one for one in found.details.slices if one.by == "night")
    for name in ("ap", "ap50", "ap75", "ar_100"):
        assert part.value(name) == pytest.approx(found.evaluation.overall.value(name))
    best = found.details.score.best
    assert (part.precision, part.recall, part.f1) == pytest.approx(
        (best.precision, best.recall, best.f1)
    )
    assert [one.ap for one in part.ap_by_iou] == pytest.approx(
        [one.ap for one in found.details.ap_by_iou]
    )
    assert part.precision_at_recall == found.details.score.precision_at_recall
    assert part.recall_at_precision == found.details.score.recall_at_precision
    assert set(SLICE_NUMBERS) <= set(type(part).model_fields)


def by_feature(features, keys="auto"):
    data = canonical(with_features(random_data(1, images=len(features)), features))
    return {part.by: part for part in image_parts(data, keys=keys)}


def test_features_with_one_value_or_very_many_are_left_out_by_themselves():
    features = [{"camera": "a", "id": str(i), "side": "LR"[i % 2]} for i in range(30)]
    assert list(by_feature(features)) == ["objects_in_image", "side"]


def test_a_feature_of_many_numbers_is_cut_into_ranges_when_asked_for():
    part = by_feature([{"hour": str(i)} for i in range(40)], keys=["hour"])["hour"]
    assert part.names == ("0 to 9", "10 to 19", "20 to 29", "30 to 39")
    assert np.bincount(part.place).tolist() == [10, 10, 10, 10]


def test_many_texts_leave_the_rare_ones_together():
    features = [{"town": f"t{i % 60:02d}"} for i in range(100)]
    part = by_feature(features, keys=["town"])["town"]
    assert len(part.names) == 50
    assert part.names[-1] == "11 other values"
    assert len(part.place) == 100


def test_digits_that_no_number_of_64_bits_holds_are_text():
    long = "9" * 5000
    part = by_feature([{"hash": long}, {"hash": "7"}, {"hash": long}])["hash"]
    assert part.names == ("7", long)
    huge = [{"hash": str(10**30 + i)} for i in range(60)]
    assert len(by_feature(huge, keys=["hash"])["hash"].names) == 50


def test_images_without_the_feature_are_a_slice_of_their_own():
    part = by_feature([{"camera": "a"}, {}, {"camera": "b"}])["camera"]
    assert part.names == ("a", "b", ABSENT)
    assert part.place.tolist() == [0, 2, 1]


def test_an_unknown_feature_is_an_error_with_the_nearest_name():
    with pytest.raises(ConfigError, match='no image has the feature "camra".*camera'):
        by_feature([{"camera": "a"}], keys=["camra"])
