"""Paths and gs:// addresses, told apart in one place."""

import glob

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kfdet.errors import ConfigError
from kfdet.storage.locations import Address, absolute, is_remote, join, literal_prefix, matches


@pytest.mark.parametrize("text", ["a", "/a/b", "./a:b", "a:/b", "C", "a//b", "*.tfrecord"])
def test_a_path_is_local(text):
    assert not is_remote(text)


def test_an_address_is_remote():
    assert is_remote("gs://bucket/x")
    assert str(Address.parse("gs://bucket/a/b")) == "gs://bucket/a/b"
    assert Address.parse("gs://bucket") == Address("bucket", "")
    assert Address.parse("gs://bucket/a/") == Address("bucket", "a/")


@pytest.mark.parametrize(
    ("text", "said"),
    [("s3://b/x", 'begins with "s3://"'), ("hdfs://h/x", "hdfs"), ("gs:/b/x", "gs://bucket/name")],
)
def test_another_place_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        is_remote(text)


def test_locations_are_joined():
    assert join("gs://b/a/", "c", "d") == join("gs://b/a", "c", "d") == "gs://b/a/c/d"
    assert join("a", "b") == "a/b"
    assert absolute("gs://b/a") == "gs://b/a"
    assert absolute("/a") == "/a"


@pytest.mark.parametrize(
    ("name", "pattern", "found"),
    [
        ("a/train-1", "a/train-*", True),
        ("a/b/train-1", "a/train-*", False),
        ("a/b/train-1", "a/**/train-?", True),
        ("a/train-1", "a/**/train-?", True),
        ("a/.train-1", "a/*", False),
        ("a/.b/c", "a/**/c", False),
        ("a/train-1", "a/train-[12]", True),
        ("a/train-1", "a/train-1", True),
        ("a/train-1/x", "a/train-1", False),
        ("a/b/train-1", "a/**", True),
        ("a/.b/train-1", "a/**", False),
        ("a", "a/**", False),
    ],
)
def test_patterns_mean_what_glob_means(name, pattern, found, tmp_path):
    assert matches(name, pattern) is found
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    there = glob.glob(str(tmp_path / pattern), recursive=True)
    assert (str(tmp_path / name) in there) is found


@given(st.text("ab*?[]/", max_size=8), st.text("ab/", max_size=8))
@example("/**", "")
def test_what_matches_begins_with_the_literal_prefix(pattern, name):
    if matches(name, pattern):
        assert name.startswith(literal_prefix(pattern))
