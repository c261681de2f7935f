"""Schemas are strict, and say every fault at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.errors import ArtifactError, ConfigError
from kfdet.schema.base import Document, Schema, parse, parse_json


class Inner(Schema):
    width_px: int
    height_px: int = 1


class Outer(Document):
    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()
    share: float = 0.5


VALID = {"name": "a", "inner": {"width_px": 2}}


def test_an_unknown_key_gets_the_closest_known_one():
    with pytest.raises(ConfigError) as error:
        parse(Outer, {**VALID, "inner": {"width": 2}}, where="c.yaml")
    text = str(error.value)
    assert 'unknown key "inner.width". Did you mean "width_px"?' in text
    assert "Known keys: height_px, width_px." in text


def test_an_unknown_key_in_a_list_knows_the_keys_of_its_entries():
    with pytest.raises(ConfigError, match='Did you mean "height_px"'):
        parse(Outer, {**VALID, "many": [{"width_px": 1, "hight_px": 2}]}, where="c.yaml")


def test_all_faults_are_told_at_once_and_with_their_place():
    with pytest.raises(ConfigError) as error:
        parse(
            Outer,
            {"name": 3, "inner": {}},
            where="c.yaml",
            locate=lambda path: f"line {len(path)}: ",
        )
    text = str(error.value)
    assert text.startswith("c.yaml: 2 faults:")
    assert 'line 1: "name"' in text
    assert 'line 2: "inner.width_px" is missing' in text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number):
    with pytest.raises(ConfigError, match="finite"):
        parse(Outer, {**VALID, "share": number}, where="c.yaml")


def test_broken_json_is_told_with_line_and_column():
    with pytest.raises(ArtifactError, match="m.json: is no JSON: .* at line 2 column 1"):
        parse_json(Outer, '{"name":\n}', where="m.json", error=ArtifactError)


@given(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_reads_back_equal(name, width, share):
    value = Outer(name=name, inner=Inner(width_px=width), share=share)
    assert parse_json(Outer, value.pretty_json(), where="x") == value
    assert parse_json(Outer, value.canonical_json(), where="x").fingerprint() == value.fingerprint()


def test_the_fingerprint_does_not_depend_on_the_order_of_keys():
    one = parse(Outer, {"name": "a", "inner": {"width_px": 1, "height_px": 2}}, where="x")
    other = parse(Outer, {"inner": {"height_px": 2, "width_px": 1}, "name": "a"}, where="x")
    assert one.fingerprint() == other.fingerprint()
