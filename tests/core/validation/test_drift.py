from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.validation.drift import difference, drift_faults
from kfdet.core.validation.tally import SplitTally

COUNTS = st.lists(st.integers(0, 200), min_size=4, max_size=4).map(np.array)


@given(COUNTS, COUNTS)
def test_the_distance_is_symmetric_and_a_share(one: np.ndarray, other: np.ndarray):
    there, back = difference(one, other), difference(other, one)
    assert there.distance == pytest.approx(back.distance)
    assert 0 <= there.distance <= 1
    assert there.significant == back.significant


@given(COUNTS)
def test_a_sample_does_not_differ_from_itself(counts: np.ndarray):
    assert difference(counts, counts).distance == 0
    assert not difference(counts, counts).significant


def test_samples_of_one_population_seldom_differ_significantly():
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(12))
    found = [
        difference(rng.multinomial(300, share), rng.multinomial(80, share)).significant
        for _ in range(2000)
    ]
    assert sum(found) <= 10


def test_a_shifted_population_is_found():
    rng = np.random.default_rng(0)
    light = np.histogram(rng.normal(120, 20, 400), bins=32, range=(0, 256))[0]
    dark = np.histogram(rng.normal(90, 20, 100), bins=32, range=(0, 256))[0]
    assert difference(light, dark).is_drift


def test_few_images_are_no_evidence_however_different():
    assert not difference(np.array([400, 0]), np.array([0, 3])).significant
    many_boxes_of_few_images = difference(
        np.array([400, 0]), np.array([0, 300]), weights=(0.01, 0.01)
    )
    assert not many_boxes_of_few_images.significant


def test_a_small_difference_is_no_drift_however_certain():
    found = difference(np.array([50_000, 50_000]), np.array([53_000, 47_000]))
    assert found.significant
    assert not found.is_drift


def tally(*, cats: int, dogs: int, empty: int = 0) -> SplitTally:
    return SplitTally(
        images=cats + dogs + empty,
        images_without_boxes=empty,
        boxes=cats + dogs,
        class_boxes=Counter({1: cats, 2: dogs}),
    )


def codes(**tallies: SplitTally) -> list[tuple[str, str]]:
    return [(p.split, f.code) for p, f in drift_faults(tallies, {1: "cat", 2: "dog"})]


def test_a_split_with_other_classes_is_named():
    usual = tally(cats=300, dogs=100)
    assert codes(train=usual, val=tally(cats=70, dogs=30), test=tally(cats=20, dogs=80)) == [
        ("test", "drift-classes")
    ]


def test_a_split_with_other_shares_of_empty_images_is_named():
    usual = tally(cats=300, dogs=100)
    assert codes(train=usual, val=tally(cats=75, dogs=25, empty=60)) == [
        ("val", "drift-empty-images")
    ]


def test_without_train_there_is_nothing_to_compare():
    assert codes(val=tally(cats=1, dogs=1)) == []


@pytest.mark.parametrize(
    ("code", "histogram", "usual", "other"),
    [
        ("drift-box-sizes", "box_side_px", (20, 60), (80, 200)),
        ("drift-box-shapes", "box_aspect_ratio", (0.8, 1.2), (2, 4)),
        ("drift-brightness", "brightness", (100, 150), (10, 60)),
    ],
)
def test_a_split_with_other_boxes_or_other_light_is_named(code: str, histogram: str, usual, other):
    rng = np.random.default_rng(0)

    def made(low: float, high: float, count: int) -> SplitTally:
        found = tally(cats=count, dogs=count)
        getattr(found, histogram).add(rng.uniform(low, high, 2 * count))
        return found

    assert codes(train=made(*usual, 300), val=made(*usual, 100), test=made(*other, 100)) == [
        ("test", code)
    ]
