from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.validation.catalogue import BY_CODE, CATALOGUE, severities
from kfdet.core.validation.findings import Fault, FindingLog, Place, failure_text
from kfdet.errors import ConfigError
from kfdet.schema.dataset import Findings

CODES = ("box-no-area", "box-tiny", "image-blank", "image-mode-unusual")
EVENTS = st.lists(st.tuples(st.sampled_from(CODES), st.integers(0, 5)), max_size=60)


def log_of(events: list[tuple[str, int]], cap: int = 3) -> FindingLog:
    log = FindingLog(cap=cap)
    for code, record in events:
        log.add(Place(file="f", record=record), Fault(code=code, seen=f"{record}", expected="x"))
    return log


@given(EVENTS, st.lists(st.integers(0, 60), max_size=4))
def test_merging_any_division_in_order_gives_what_one_log_holds(events: list, cuts: list[int]):
    borders = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    merged = FindingLog(cap=3)
    for begin, end in itertools.pairwise(borders):
        merged.merge(log_of(events[begin:end]))
    whole = log_of(events)
    assert merged.counts == whole.counts
    assert merged.first == whole.first


@given(EVENTS, EVENTS, EVENTS)
def test_merging_is_associative(a: list, b: list, c: list):
    left = log_of(a)
    left.merge(log_of(b))
    left.merge(log_of(c))
    right = log_of(b)
    right.merge(log_of(c))
    whole = log_of(a)
    whole.merge(right)
    assert (left.counts, left.first) == (whole.counts, whole.first)


def test_all_are_counted_and_the_first_are_kept_worst_first():
    log = log_of([("image-blank", n) for n in range(5)] + [("box-no-area", n) for n in range(4)])
    found = log.findings(severities({}))
    assert found.counts == {"box-no-area": 4, "image-blank": 5}
    assert (found.errors, found.warnings, found.infos) == (4, 5, 0)
    assert [f.code for f in found.findings] == ["box-no-area"] * 3 + ["image-blank"] * 3
    assert [f.record for f in found.findings] == [0, 1, 2, 0, 1, 2]


def test_severities_can_be_changed_and_findings_turned_off():
    log = log_of([("image-blank", 0), ("box-no-area", 0), ("box-tiny", 0)])
    found = log.findings(
        severities({"image-blank": "error", "box-no-area": "info", "box-tiny": "off"})
    )
    assert [(f.code, f.severity) for f in found.findings] == [
        ("image-blank", "error"),
        ("box-no-area", "info"),
    ]
    assert (found.errors, found.warnings, found.infos) == (1, 0, 1)


def test_a_severity_for_a_code_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match='Did you mean "box-no-area"'):
        severities({"box-noarea": "warning"})


def test_findings_survive_their_file():
    found = log_of([("image-blank", 0)]).findings(severities({}))
    assert Findings.model_validate_json(found.pretty_json()) == found


def test_the_failure_names_counts_and_first_places():
    log = log_of([("box-no-area", 7), ("box-no-area", 8), ("image-blank", 1)])
    text = failure_text(log.findings(severities({})))
    assert text.startswith("2 errors in the data:\n  box-no-area (2): f record 7: 7")
    assert BY_CODE["box-no-area"].remedy in text
    assert "image-blank" not in text


def test_a_failure_names_the_first_places_of_a_code():
    log = FindingLog()
    for record in range(5):
        log.add(Place(file="f", record=record), Fault(code="box-no-area", seen="x", expected="y"))
    text = failure_text(log.findings(severities({})))
    assert [f"f record {record}:" in text for record in range(5)] == [True] * 3 + [False] * 2
    assert text.count(BY_CODE["box-no-area"].remedy) == 1


def test_the_catalogue_is_complete_and_in_plain_sentences():
    assert len(BY_CODE) == len(CATALOGUE)
    for check in CATALOGUE:
        assert check.why.endswith(".")
        assert check.remedy.endswith(".")
        assert not check.what.endswith(".")
        assert check.code == check.code.lower()


def test_every_code_is_named_in_a_test():
    texts = "".join(path.read_text() for path in Path(__file__).parents[2].rglob("test_*.py"))
    assert [code for code in BY_CODE if f'"{code}"' not in texts] == []


def test_what_a_record_says_is_cut_and_can_be_printed_on_a_terminal():
    log = FindingLog()
    place = Place(file="f", split="train", record=0, source_id="a\x1b[31m\n\u202eb" + "x" * 10**6)
    log.add(place, Fault(code="box-no-area", seen="\x07" + "y" * 10**6, expected="ü ☃"))
    (finding,) = log.findings(severities({})).findings
    assert finding.source_id.startswith("a\\x1b[31m\\n\\u202ebxxx")
    assert finding.source_id.endswith("... (1,000,009)")
    assert finding.expected == "ü ☃"
    for text in (finding.source_id, finding.seen, failure_text(log.findings(severities({})))):
        assert len(text) < 1200
        assert text.replace("\n", "").isprintable()
