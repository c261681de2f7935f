"""What `kfdet run` shows while it runs, and the table and the verdict that it ends with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, get_args

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from kfdet.cli.plain import open_table, plain
from kfdet.report.wording import duration
from kfdet.schema.run_record import RunRecord, StageEvent, StageStatus
from kfdet.visible import visible

ShownStatus = Literal["waiting", "running", "done", "cached", "failed", "skipped"]

_SIGNS: dict[str, tuple[str, str]] = {
    "waiting": ("·", "dim"), "done": ("✓", "green"), "cached": ("↺", "cyan"),
    "failed": ("✗", "bold red"), "skipped": ("–", "dim"),
}  # fmt: skip
_STATUS_WORDS: dict[StageStatus, str] = {
    "done": "done", "cached": "from cache", "failed": "failed", "skipped": "skipped",
}  # fmt: skip
_LINE_WORDS: dict[ShownStatus, str] = {
    "waiting": "waiting", "running": "started", "done": "done", "cached": "from cache",
    "failed": "failed", "skipped": "skipped",
}  # fmt: skip
_VERDICT_STYLES = {"pass": "green", "fail": "red", "insufficient_evidence": "yellow"}
_SECONDS_BETWEEN_FRAMES = 0.1
_SECONDS_BETWEEN_LINES = 10.0
_ROOM_FOR_BAR = 84


@dataclass(kw_only=True)
class _Work:
    """How far one piece of a stage is: the whole of it, or one task of a loop."""

    done: int
    total: int
    unit: str
    figures: dict[str, float]
    began: float
    first: int

    def left_s(self, now: float) -> float | None:
        """Returns the seconds that are left: as the stage says, else by the pace so far."""
        if "eta_s" in self.figures:
            return self.figures["eta_s"]
        pace = (self.done - self.first) / (now - self.began) if now > self.began else 0.0
        return (self.total - self.done) / pace if pace > 0 else None


@dataclass(kw_only=True)
class _Stage:
    name: str
    status: ShownStatus = "waiting"
    began: float = 0.0
    time_s: float | None = None
    key_figure: str = ""
    note: str = ""
    work: dict[str, _Work] = field(default_factory=dict)
    last_line: float = float("-inf")
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def progress(self, now: float) -> tuple[int, int, str] | None:
        """Returns done and total over all tasks, and what is known of the pace, in words."""
        if not self.work:
            return None
        done = sum(work.done for work in self.work.values())
        total = sum(work.total for work in self.work.values())
        words = [f"{done:,}/{total:,} {next(iter(self.work.values())).unit}".rstrip()]
        if len(self.work) > 1:
            words.append(f"{len(self.work)} tasks")
        else:
            words += _figures(next(iter(self.work.values())).figures)
        times = [work.left_s(now) for work in self.work.values() if work.done < work.total]
        known = [left for left in times if left is not None]
        if known:
            words.append(f"{duration(max(known))} left")
        return done, total, "  ".join(words)


class LiveView:
    """The stages of a run, one line each: on a terminal redrawn in place, elsewhere written once a change.

    Args:
        stages: Names in the order of the lines.
        console: Where to.
        clock: Seconds that only grow; another one in tests.
    """

    def __init__(
        self,
        stages: Sequence[str],
        *,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._clock = clock
        self._stages = {name: _Stage(name=name) for name in stages}
        self._width = max((len(name) for name in stages), default=0)
        self._started = clock()
        self._last_frame = float("-inf")
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, auto_refresh=False, get_renderable=self._frame)

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            # The table that follows says all of it again; a run that broke off may have no table.
            statuses = {stage.status for stage in self._stages.values()}
            self._live.transient = error is None and not statuses & {"running", "failed"}
            self._live.stop()

    def stage(
        self,
        stage: str,
        status: ShownStatus | str,
        key_figure: str = "",
        time_s: float | None = None,
    ) -> None:
        """Says what became of a stage.

        Args:
            stage: One of the names given.
            status: waiting, running, done, cached, failed or skipped.
            key_figure: What came out, in a phrase.
            time_s: Seconds it took; the view's own measure when None.

        Raises:
            ValueError: The status is none of these.
        """
        if status not in get_args(ShownStatus):
            raise ValueError(f'no status "{status}"')
        shown = self._known(stage)
        changed = (shown.status, shown.key_figure) != (status, key_figure or shown.key_figure)
        if status == "running" and shown.status != "running":
            shown.began = self._clock()
        if status not in ("waiting", "running"):
            ran = shown.status == "running"
            shown.time_s = time_s if time_s is not None else self._age(shown) if ran else None
        shown.status = status  # type: ignore[assignment]  # checked above
        shown.key_figure = visible(key_figure) or shown.key_figure
        if changed:
            self._line(shown)
        self._draw(at_once=changed)

    def event(self, event: StageEvent) -> None:
        """Takes in what a stage says while it works."""
        shown = self._known(event.stage)
        if event.kind == "started" and shown.status == "waiting":
            self.stage(event.stage, "running")
        elif event.kind == "failed":
            self.stage(event.stage, "failed", _first_line(event.message))
        elif event.kind == "note":
            shown.note = _first_line(event.message)
            self._plain(f"{shown.name:<{self._width}}  {shown.note}")
        elif event.kind == "progress" and event.done is not None and event.total is not None:
            self._progress(shown, event, done=event.done, total=event.total)
        self._draw()

    def tick(self) -> None:
        """Lets the clocks run; call it several times a second."""
        self._draw()

    def _known(self, name: str) -> _Stage:
        return self._stages.setdefault(name, _Stage(name=name))

    def _age(self, stage: _Stage) -> float:
        return self._clock() - stage.began

    def _progress(self, stage: _Stage, event: StageEvent, *, done: int, total: int) -> None:
        now = self._clock()
        if stage.status == "waiting":
            self.stage(stage.name, "running")
        before = stage.work.get(event.message)
        again = before is None or done < before.done or total != before.total
        stage.work[event.message] = _Work(
            done=done,
            total=total,
            unit=event.unit,
            figures=event.figures,
            began=now if again or before is None else before.began,
            first=done if again or before is None else before.first,
        )
        if now - stage.last_line >= _SECONDS_BETWEEN_LINES:
            stage.last_line = now
            said = stage.progress(now)
            if said:
                self._plain(f"{stage.name:<{self._width}}  {said[2]}")

    def _draw(self, *, at_once: bool = False) -> None:
        if not self._live:
            return
        now = self._clock()
        if at_once or now - self._last_frame >= _SECONDS_BETWEEN_FRAMES:
            self._last_frame = now
            self._live.refresh()

    def _line(self, stage: _Stage) -> None:
        words = _LINE_WORDS[stage.status]
        if stage.time_s is not None and stage.status in ("done", "failed"):
            words += f" in {duration(stage.time_s)}"
        if stage.key_figure and stage.status != "running":
            words += f": {stage.key_figure}"
        self._plain(f"{stage.name:<{self._width}}  {words}")

    def _plain(self, line: str) -> None:
        if not self._live:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _frame(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True, min_width=self._width)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_column(no_wrap=True, justify="right", min_width=8)
        for stage in self._stages.values():
            grid.add_row(*self._row(stage))
        total = Text(duration(self._clock() - self._started), style="dim")
        grid.add_row("", "", Text("elapsed", style="dim", justify="right"), total)
        return grid

    def _row(self, stage: _Stage) -> tuple[RenderableType, ...]:
        if stage.status == "running":
            age = Text(duration(self._age(stage)), style="cyan")
            return stage.spinner, Text(stage.name, style="bold"), self._work(stage), age
        sign, style = _SIGNS[stage.status]
        name = Text(stage.name, style="dim" if stage.status in ("waiting", "skipped") else "")
        words = stage.key_figure or (stage.status if stage.status != "done" else "")
        if stage.status == "cached" and stage.key_figure:
            words = f"{stage.key_figure}  (from cache)"
        detail = Text(words, style="red" if stage.status == "failed" else "dim")
        took = stage.time_s is not None and stage.status in ("done", "failed")
        return Text(sign, style=style), name, detail, Text(duration(stage.time_s) if took else "")

    def _work(self, stage: _Stage) -> RenderableType:
        said = stage.progress(self._clock())
        if said is None:
            return Text(stage.note or "running", style="dim", overflow="ellipsis", no_wrap=True)
        done, total, words = said
        text = Text(words, no_wrap=True, overflow="ellipsis")
        if self._console.width < _ROOM_FOR_BAR:
            return text
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(
            total=max(total, 1),
            completed=done,
            width=20,
            complete_style="cyan",
            finished_style="green",
        )
        line.add_row(bar, text)
        return line


def final_table(record: RunRecord) -> Table:
    """Returns the stages of a finished run with status, time, key figure and report."""
    table = open_table()
    table.add_column("stage", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    table.add_column("report", no_wrap=True, style="dim")
    for stage in record.stages:
        sign, style = _SIGNS[stage.status]
        status = Text(f"{sign} {_STATUS_WORDS[stage.status]}", style=style)
        took = duration(stage.time_s) if stage.status in ("done", "failed") else ""
        table.add_row(stage.stage, status, took, plain(stage.key_figure), plain(stage.report or ""))
    table.add_section()
    table.add_row("[dim]all[/dim]", "", duration(record.time_s), "", "")
    return table


def verdict_panel(record: RunRecord) -> Panel:
    """Returns the verdict with its reasons, or why there is none."""
    lines = [plain(f"• {reason}") for reason in record.reasons]
    if record.error:
        lines.append(plain(record.error, "red"))
    if record.published_version is not None:
        model = record.config.registry.model or record.config.name
        lines.append(plain(f"published as {model} version {record.published_version}"))
    if not lines:
        lines.append(Text("The run ended before the gate." if record.verdict is None else ""))
    style = _VERDICT_STYLES[record.verdict] if record.verdict else "red"
    title = (record.verdict or "no verdict").replace("_", " ").upper()
    return Panel(
        Text("\n").join(lines),
        title=f"[bold]{escape(title)}[/bold]",
        title_align="left",
        border_style=style,
        expand=False,
        padding=(0, 2),
    )


def _figures(figures: dict[str, float]) -> list[str]:
    """Returns the figures of a progress in words, the time left excepted."""
    words = []
    for name, value in figures.items():
        if name.endswith("_per_s"):
            words.append(f"{value:.1f} {name.removesuffix('_per_s').replace('_', ' ')}/s")
        elif name != "eta_s":
            words.append(f"{name.replace('_', ' ')} {value:.4g}")
    return words


def _first_line(text: str) -> str:
    return visible(text.splitlines()[0]) if text else ""
