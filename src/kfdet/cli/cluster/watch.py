"""Following a run on the cluster to its end, and its verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from kfdet import __version__
from kfdet.cli.cluster.connection import Connection, Unreachable
from kfdet.cli.cluster.run_view import (
    RunView,
    StageView,
    failure_of,
    progress_of,
    verdict_of,
    version_of,
)
from kfdet.cli.cluster.runs import find_run, read_log
from kfdet.cli.live import LiveView
from kfdet.cli.output import VERDICT_EXIT_CODES
from kfdet.cli.run_outcome import StageFailure
from kfdet.errors import ClusterError, KfdetError
from kfdet.schema.gate import Verdict
from kfdet.schema.run_config import RunConfig
from kfdet.schema.run_record import RunRecord, StageEvent, StageRecord, StageStatus

_SECONDS_BETWEEN_LOGS = 15.0
_SECONDS_OF_SILENCE = 600.0
_LONGEST_PAUSE_S = 60.0
_RAN = ("done", "cached")
_RECORDED: dict[str, StageStatus] = {"done": "done", "cached": "cached", "failed": "failed"}


class Watch:
    """A run that is followed.

    Args:
        connection: The server.
        run_id: The run.
        pause_s: Between two looks at it.
    """

    def __init__(self, connection: Connection, run_id: str, *, pause_s: float) -> None:
        self._connection = connection
        self._run_id = run_id
        self._pause_s = pause_s
        self._log_read: dict[str, float] = {}

    def to_the_end(self, console: Console) -> RunView:
        """Shows the run until it has ended; a server that is away for minutes is waited for.

        Raises:
            ClusterError: The server stays away, or forgets the run.
        """
        view = self._look()
        with LiveView([stage.stage for stage in view.stages], console=console) as live:
            while True:
                for stage in view.stages:
                    live.stage(stage.stage, stage.status, self._phrase(stage), stage.time_s)
                if view.ended:
                    return view
                self._progress(view, live.event)
                self._sleep(live)
                view = self._look()

    def _look(self) -> RunView:
        away_since: float | None = None
        pause_s = max(self._pause_s, 1.0)
        while True:
            try:
                return find_run(self._connection, self._run_id)
            except Unreachable as failure:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since + pause_s > _SECONDS_OF_SILENCE:
                    raise self._given_up(failure) from failure
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except ClusterError as failure:
                raise self._given_up(failure) from failure

    def _given_up(self, failure: ClusterError) -> ClusterError:
        return ClusterError(
            f"no longer watched, while the run goes on: {failure}",
            where=self._connection.link("runs", self._run_id) or f"run {self._run_id}",
            remedy=f"kfdet status {self._run_id} shows it.",
        )

    def _sleep(self, live: LiveView) -> None:
        until = time.monotonic() + self._pause_s
        while (left := until - time.monotonic()) > 0:
            live.tick()
            time.sleep(min(0.1, left))

    def _progress(self, view: RunView, tell: Callable[[StageEvent], None]) -> None:
        """Tells how far the running stages are, by their logs, now and then."""
        for stage in view.stages:
            now = time.monotonic()
            if now - self._log_read.get(stage.stage, float("-inf")) < _SECONDS_BETWEEN_LOGS:
                continue
            if stage.status == "running":
                self._log_read[stage.stage] = now
            for task in stage.tasks:
                if task.status != "running":
                    continue
                # What measures the champion speaks for the gate in its log.
                if event := progress_of(self.log(task.pods)):
                    tell(event.model_copy(update={"stage": stage.stage}))

    def _phrase(self, stage: StageView) -> str:
        return f"attempt {stage.attempts}" if stage.attempts > 1 else ""

    def log(self, pods: tuple[str, ...]) -> str:
        """Returns a task's log, or '' while and when there is none."""
        try:
            return read_log(self._connection, self._run_id, pods) or ""
        except ClusterError:
            return ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a run that has ended.

    Attributes:
        failure: The error that ended it; null where the gate has answered.
        exit_code: That the verdict asks for.
    """

    record: RunRecord
    failure: KfdetError | None
    exit_code: int


def outcome_of(
    view: RunView,
    watch: Watch,
    *,
    config: RunConfig,
    data_digest: str | None,
    link: str | None,
) -> Outcome:
    """Returns what became of a run that has ended.

    The states of the tasks decide, since logs go with their pods: where what follows the gate
    began, the gate said pass; where the run ended well without it, it did not. Which of the other
    verdicts it was stands in the gate's log; what that says is held against the states.

    Args:
        view: The run.
        watch: Reads its logs.
        config: Of the run.
        data_digest: Of its data, where it is known.
        link: To the run in the user interface.
    """
    gate, publish = view.stage("gate"), view.stage("publish")
    said = verdict_of(_logs(watch, gate)) if gate.status in _RAN else None
    failure = _failure(view, watch) or _mismatch(view, said[0] if said else None)
    version = version_of(_logs(watch, publish)) if publish.status in _RAN else None
    verdict, reasons = _verdict(view, said, link=link)
    code = VERDICT_EXIT_CODES[verdict or "fail"]
    record = RunRecord(
        name=view.name,
        kfdet_version=__version__,
        started=view.created.isoformat() if view.created else "",
        time_s=(view.finished - view.created).total_seconds()
        if view.finished and view.created
        else 0.0,
        config=config,
        data_digests={"all": data_digest} if data_digest else {},
        stages=tuple(_stage_record(stage) for stage in view.stages),
        verdict=verdict,
        reasons=reasons,
        published_version=version,
        error=str(failure) if failure else None,
    )
    return Outcome(record=record, failure=failure, exit_code=code)


def _verdict(
    view: RunView, said: tuple[Verdict, str] | None, *, link: str | None
) -> tuple[Verdict | None, tuple[str, ...]]:
    if said:
        return said[0], (said[1],)
    if _began_after_gate(view):
        return "pass", ("what follows a pass began; the gate's log can't be read",)
    if view.state == "SUCCEEDED" and view.stage("gate").status in _RAN:
        place = f": {link}" if link else ""
        reason = (
            "the gate did not pass; whether it failed or the evidence was insufficient stands in "
            f"the gate's log, which can't be read from here, and in its report{place}"
        )
        return None, (reason,)
    return None, ()


def _began_after_gate(view: RunView) -> list[str]:
    statuses = {name: view.stage(name).status for name in ("export", "publish")}
    return [name for name, status in statuses.items() if status not in ("skipped", "waiting")]


def _stage_record(stage: StageView) -> StageRecord:
    attempts = f"{stage.attempts} attempts" if stage.attempts > 1 else ""
    return StageRecord(
        stage=stage.stage,
        status=_RECORDED.get(stage.status, "skipped"),
        time_s=stage.time_s or 0.0,
        key_figure=attempts,
        report=None,
    )


def _logs(watch: Watch, stage: StageView) -> str:
    return "\n".join(watch.log(task.pods) for task in stage.tasks)


def _failure(view: RunView, watch: Watch) -> KfdetError | None:
    if view.state == "CANCELED":
        return ClusterError("was terminated", where=f"run {view.name}")
    for stage in view.stages:
        if stage.status != "failed":
            continue
        said, code = failure_of(_logs(watch, stage))
        return StageFailure(
            said or "failed, and its log says nothing: killed, out of memory, out of time, or gone",
            where=f"stage {stage.stage}",
            exit_code=code,
            remedy=f"kfdet logs {view.run_id} {stage.stage} shows its output.",
        )
    if view.state != "SUCCEEDED":
        return ClusterError(
            "failed outside of its stages",
            where=f"run {view.name}",
            remedy="The nodes of the run in the user interface say more.",
        )
    return None


def _mismatch(view: RunView, verdict: Verdict | None) -> KfdetError | None:
    if view.stage("gate").status not in _RAN:
        return StageFailure("the run ended before the gate", where="pipeline", exit_code=1)
    began = _began_after_gate(view)
    if began and verdict not in (None, "pass"):
        return StageFailure(
            f"{' and '.join(began)} ran although the gate said {verdict}",
            where="pipeline",
            exit_code=1,
        )
    if (began or verdict == "pass") and view.stage("publish").status not in _RAN:
        return StageFailure("passed the gate and was not published", where="pipeline", exit_code=1)
    return None
