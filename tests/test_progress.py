"""A stage's frame: events for the run, one message for a person, and the right exit code."""

import json

import pytest

from kfdet.errors import DataError
from kfdet.progress import EVENTS_VARIABLE, Progress
from kfdet.schema.run_record import StageEvent


@pytest.fixture
def events(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))

    def read():
        return [
            StageEvent.model_validate(json.loads(line))
            for line in path.read_text().split("\n")
            if line
        ]

    return read


def test_a_stage_that_ends_well_is_framed(events):
    with Progress.from_environment("train") as progress:
        progress.update(5, total=5, unit="steps", loss=0.5)
        progress.note("hello")
        progress.report("/r.html")
    kinds = [event.kind for event in events()]
    assert kinds == ["started", "progress", "note", "report", "finished"]
    assert events()[1].figures == {"loss": 0.5}


def test_an_explained_error_becomes_its_exit_code_and_no_traceback(events, capsys):
    with pytest.raises(SystemExit) as end, Progress.from_environment("validate"):
        raise DataError("is bad", where="shard", remedy="Mend it.")
    assert end.value.code == 10
    assert events()[-1].kind == "failed"
    assert events()[-1].message == "shard: is bad. Mend it."
    assert events()[-1].figures == {"exit_code": 10}
    assert "[validate] failed: shard: is bad." in capsys.readouterr().err


def test_an_interruption_ends_with_130_and_keeps_its_message(events):
    with pytest.raises(SystemExit) as end, Progress.from_environment("train"):
        raise KeyboardInterrupt("saved step 50")
    assert end.value.code == 130
    assert events()[-1].message == "saved step 50"


def test_an_unexpected_error_is_passed_on_with_its_traceback(events):
    with pytest.raises(ZeroDivisionError), Progress.from_environment("merge"):
        raise ZeroDivisionError("division by zero")
    assert events()[-1].message == "ZeroDivisionError: division by zero"


def test_frequent_updates_are_rationed_and_the_last_one_is_not(events):
    progress = Progress.from_environment("train")
    for step in range(1, 1001):
        progress.update(step, total=1000, unit="steps")
    told = [event.done for event in events()]
    assert len(told) < 100
    assert told[-1] == 1000


def test_without_a_file_nothing_is_written(monkeypatch, capsys):
    monkeypatch.delenv(EVENTS_VARIABLE, raising=False)
    with Progress.from_environment("gate") as progress:
        progress.note("only a line")
    assert capsys.readouterr().err == "[gate] only a line\n"


def test_what_a_stage_says_of_data_is_shown_and_not_obeyed(events, capsys):
    with pytest.raises(SystemExit), Progress.from_environment("validate") as progress:
        progress.note("saw \x1b[2J")
        raise DataError("is \u202ebad", where="a\nb")
    said = capsys.readouterr().err
    assert "[validate] saw \\x1b[2J\n" in said
    assert "[validate] failed: a\\nb: is \\u202ebad.\n" in said
    assert [event.message for event in events()][1:] == ["saw \\x1b[2J", "a\\nb: is \\u202ebad."]
