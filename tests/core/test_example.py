from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.example import ExampleError, parse_example, serialise_example

VALUES = st.one_of(
    st.lists(st.binary(max_size=12), max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(lambda v: np.array(v, np.int64)),
    st.lists(st.floats(width=32), max_size=4).map(lambda v: np.array(v, np.float32)),
)
FEATURES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)


def same(one: object, other: object) -> bool:
    if isinstance(one, list):
        return one == other
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@given(FEATURES)
def test_features_round_trip_with_their_types(features: dict):
    parsed = parse_example(serialise_example(features))
    assert parsed.keys() == features.keys()
    assert all(same(values, parsed[name]) for name, values in features.items())


@given(FEATURES)
def test_equal_features_give_equal_bytes_in_any_order(features: dict):
    backwards = dict(reversed(features.items()))
    assert serialise_example(features) == serialise_example(backwards)


@pytest.mark.parametrize("payload", [b"\xff\xff", b"not a message", b"\n\x05ab"])
def test_bytes_that_are_no_example_are_refused(payload: bytes):
    with pytest.raises(ExampleError):
        parse_example(payload)


def test_a_feature_without_a_kind_is_missing():
    # features { feature { key: "a" value {} } }
    assert parse_example(bytes.fromhex("0a070a050a01611200")) == {}


def test_plain_lists_of_integers_are_int64():
    assert parse_example(serialise_example({"n": [1, 2]}))["n"].dtype == np.int64
