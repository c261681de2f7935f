import pytest
from checks import check_page, parsed, text_of
from run_cases import run_config, run_metrics, run_record

from kfdet.report.index import build


def links(html: str) -> list[str | None]:
    return [attributes.get("href") for tag, attributes in parsed(html).tags if tag == "a"]


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("pass", "It is published as shapes version 3"),
        ("fail", "did not pass the gate"),
        ("insufficient_evidence", "could not tell"),
    ],
)
def test_the_verdict_is_said_with_its_reasons(verdict: str, sentence: str) -> None:
    html = build(run_record(verdict=verdict))
    check_page(html)
    text = text_of(html)
    assert sentence in text
    assert "ap 0.82 against 0.5" in text
    assert ("version 3" in text) == (verdict == "pass")


def test_a_run_that_failed_names_the_stage_and_claims_no_verdict() -> None:
    html = build(run_record(failed="train"))
    check_page(html)
    text = text_of(html)
    assert "train failed" in text
    assert "nothing was let out" in text
    assert "passed the gate" not in text


def test_every_report_is_linked_from_the_picture_and_the_table() -> None:
    html = build(run_record(), files=[("log", "logs/pipeline.log")])
    found = links(html)
    assert found.count("reports/train.html") == 2
    assert "run.json" in found
    assert "logs/pipeline.log" in found


def test_metrics_and_every_setting_are_on_the_page_when_known() -> None:
    text = text_of(build(run_record(run_config(peak=0.0042)), metrics=run_metrics(0.8125)))
    assert "0.812" in text
    assert "training.learning_rate.peak 0.0042" in text
    assert "at most 0.01 below the champion" in text
