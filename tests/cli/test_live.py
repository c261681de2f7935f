import io
from typing import Any

import pytest
from rich.console import Console
from run_cases import HOSTILE, run_record

from kfdet.cli.live import LiveView, final_table, verdict_panel
from kfdet.schema.run_record import STAGES, StageEvent


class Clock:
    """Time that moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def event(kind: str, stage: str, **fields: Any) -> StageEvent:
    return StageEvent(kind=kind, stage=stage, time=0.0, **fields)  # type: ignore[arg-type]


def progress(stage: str, done: int, total: int, message: str = "", **figures: float) -> StageEvent:
    return event(
        "progress", stage, done=done, total=total, unit="steps", message=message, figures=figures
    )


def terminal(width: int = 110) -> Console:
    return Console(file=io.StringIO(), record=True, force_terminal=True, width=width, height=40)


def shown(view: LiveView, console: Console) -> dict[str, str]:
    """The words of each stage's line as a terminal shows it now."""
    console.export_text(clear=True)
    console.print(view._frame())
    lines = [line.split(maxsplit=2) for line in console.export_text().splitlines()]
    return {words[1]: " ".join(words[2].split()) for words in lines if len(words) == 3}


def written(console: Console) -> list[str]:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return [" ".join(line.split()) for line in stream.getvalue().splitlines()]


def test_every_stage_has_a_line_from_the_start() -> None:
    console = terminal()
    view = LiveView(STAGES, console=console, clock=Clock())
    lines = shown(view, console)
    assert [lines.get(stage) for stage in STAGES] == ["waiting"] * len(STAGES)


def test_a_running_stage_shows_step_loss_speed_time_left_and_age() -> None:
    console, clock = terminal(), Clock()
    view = LiveView(STAGES, console=console, clock=clock)
    view.stage("train", "running")
    clock.now += 12.0
    view.event(progress("train", 120, 300, loss=0.5123, steps_per_s=22.41, eta_s=8.0))
    line = shown(view, console)["train"]
    for words in ("120/300 steps", "loss 0.5123", "22.4 steps/s", "8.0 s left", "12 s"):
        assert words in line


def test_the_time_left_is_told_from_the_pace_where_the_stage_does_not_tell() -> None:
    console, clock = terminal(), Clock()
    view = LiveView(["select"], console=console, clock=clock)
    view.event(progress("select", 0, 100))
    clock.now += 10.0
    view.event(progress("select", 20, 100))
    assert "40 s left" in shown(view, console)["select"]


def test_tasks_at_work_at_once_are_added_up() -> None:
    console, clock = terminal(), Clock()
    view = LiveView(["evaluate"], console=console, clock=clock)
    view.event(progress("evaluate", 10, 50, "shard 1/2"))
    view.event(progress("evaluate", 15, 50, "shard 2/2"))
    clock.now += 1.0
    view.event(progress("evaluate", 20, 50, "shard 1/2"))
    line = shown(view, console)["evaluate"]
    assert "35/100 steps" in line
    assert "2 tasks" in line


def test_what_became_of_a_stage_stays() -> None:
    console, clock = terminal(), Clock()
    view = LiveView(STAGES, console=console, clock=clock)
    view.stage("validate", "running")
    clock.now += 3.2
    view.stage("validate", "done", "600 images")
    view.stage("render", "cached", "300 steps")
    view.stage("train", "failed", "loss is NaN", 7.0)
    lines = shown(view, console)
    assert lines["validate"] == "600 images 3.2 s"
    assert lines["render"] == "300 steps (from cache)"
    assert lines["train"] == "loss is NaN 7.0 s"


def test_a_failure_event_marks_the_stage_with_its_first_line() -> None:
    console = terminal()
    view = LiveView(STAGES, console=console, clock=Clock())
    view.stage("validate", "running")
    view.event(event("failed", "validate", message="12 faults:\n  - one\n  - two"))
    assert shown(view, console)["validate"].startswith("12 faults:")


@pytest.mark.parametrize("width", [20, 40, 60, 84, 200])
def test_a_line_never_breaks_whatever_the_width(width: int) -> None:
    console = terminal(width)
    view = LiveView(STAGES, console=console, clock=Clock())
    view.stage("validate", "done", "a very long key figure " * 20)
    view.event(progress("train", 1, 3, loss=0.5, steps_per_s=3.0, eta_s=8.0))
    console.print(view._frame())
    assert len(console.export_text().splitlines()) == len(STAGES) + 1


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match='no status "finished"'):
        LiveView(STAGES, console=terminal(), clock=Clock()).stage("train", "finished")


def test_markup_in_messages_is_text() -> None:
    console = terminal()
    view = LiveView(STAGES, console=console, clock=Clock())
    view.stage("train", "done", "[red]not red[/red]", 1.0)
    assert "[red]not red[/red]" in shown(view, console)["train"]


def test_the_view_on_a_terminal_redraws_and_leaves_nothing_of_a_run_that_ended_well() -> None:
    console, clock = terminal(), Clock()
    with LiveView(["validate"], console=console, clock=clock) as view:
        view.stage("validate", "running")
        view.tick()
        view.stage("validate", "done", "600 images")
    assert view._live is not None
    assert view._live.transient
    with LiveView(["validate"], console=console, clock=clock) as view:
        view.stage("validate", "running")
    assert view._live is not None
    assert not view._live.transient


def test_without_a_terminal_every_change_is_one_line() -> None:
    console, clock = Console(file=io.StringIO(), width=60), Clock()
    with LiveView(STAGES, console=console, clock=clock) as view:
        view.stage("validate", "running")
        view.tick()
        clock.now += 3.2
        view.stage(
            "validate", "done", "a key figure that is longer than the line of sixty letters", 3.2
        )
        view.stage(
            "validate", "done", "a key figure that is longer than the line of sixty letters", 3.2
        )
        view.stage("render", "cached", "[b]300[/b] steps")
    assert written(console) == [
        "validate started",
        "validate done in 3.2 s: a key figure that is longer than the line of sixty letters",
        "render from cache: [b]300[/b] steps",
    ]


def test_without_a_terminal_progress_is_rationed() -> None:
    console, clock = Console(file=io.StringIO(), width=80), Clock()
    view = LiveView(["train"], console=console, clock=clock)
    for step in range(100):
        view.event(progress("train", step, 100, loss=0.5))
        clock.now += 0.5
    lines = written(console)
    assert lines[:2] == ["train started", "train 0/100 steps loss 0.5"]
    assert len(lines) == 1 + 5


def test_the_final_table_has_status_result_and_report_of_every_stage() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(final_table(run_record(failed="train")))
    lines = written(console)
    assert f"train ✗ failed 6.0 s train key figure {HOSTILE}" in lines
    assert f"validate ✓ done 1.5 s validate key figure {HOSTILE} reports/validate.html" in lines
    assert "select – skipped" in lines
    assert "all 1 min 36 s" in lines


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (run_record(), ["PASS", "ap 0.82 against 0.5", "published as shapes version 3"]),
        (run_record(verdict="fail"), ["FAIL", "ap 0.82 against 0.5"]),
        (run_record(verdict="insufficient_evidence"), ["INSUFFICIENT EVIDENCE"]),
        (run_record(failed="train"), ["NO VERDICT", "stage train"]),
    ],
)
def test_the_verdict_is_said_with_its_reasons(record: Any, words: list[str]) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(verdict_panel(record))
    text = "\n".join(written(console))
    for word in words:
        assert word in text
    assert ("published" in text) == (record.published_version is not None)


OBEYED = "\x1b[2J\u202ecat\r[/bold]"
SHOWN = "\\x1b[2J\\u202ecat\\r[/bold]"


def test_a_terminal_shows_names_and_does_not_obey_them() -> None:
    record = run_record(verdict="fail")
    stages = tuple(one.model_copy(update={"key_figure": OBEYED}) for one in record.stages)
    record = record.model_copy(update={"reasons": (OBEYED,), "error": OBEYED, "stages": stages})
    console = Console(file=io.StringIO(), width=200)
    with LiveView(STAGES, console=console) as view:
        view.event(event("note", "train", message=OBEYED))
        view.event(event("failed", "train", message=OBEYED))
        view.stage("merge", "done", OBEYED)
    console.print(final_table(record))
    console.print(verdict_panel(record))
    text = "\n".join(written(console))
    assert text.count(SHOWN) == 3 + 9 + 2
    assert "\x1b" not in text
    assert "\u202e" not in text
