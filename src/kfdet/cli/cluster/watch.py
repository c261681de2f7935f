"""Following a run on the cluster to its end, and its verdict."""

from __future__ import annotations

import time
from collections.abc import Callable

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
from kfdet.cli.run_outcome import StageFailure
from kfdet.errors import ClusterError, KfdetError
from kfdet.schema.run_config import RunConfig
from kfdet.schema.run_record import RunRecord, StageEvent, StageRecord, StageStatus

_SECONDS_BETWEEN_LOGS = 15.0
_SECONDS_OF_SILENCE = 600.0
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
        while True:
            try:
                return find_run(self._connection, self._run_id)
            except Unreachable:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > _SECONDS_OF_SILENCE:
                    raise
                time.sleep(max(self._pause_s, 1.0))

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
            for index, task in enumerate(stage.tasks):
                if task.status != "running":
                    continue
                event = progress_of(self.log(task.pods))
                if event and event.stage == stage.stage:
                    shard = f"shard {index}" if len(stage.tasks) > 1 else ""
                    tell(event.model_copy(update={"message": shard}))

    def _phrase(self, stage: StageView) -> str:
        if stage.status == "failed":
            return next((task.error for task in stage.tasks if task.error), "")
        if stage.attempts > 1:
            return f"attempt {stage.attempts}"
        return ""

    def log(self, pods: tuple[str, ...]) -> str:
        """Returns a task's log, or '' while and when there is none."""
        try:
            return read_log(self._connection, self._run_id, pods) or ""
        except ClusterError:
            return ""


def record_of(
    view: RunView,
    watch: Watch,
    *,
    config: RunConfig,
    data_digest: str | None,
) -> tuple[RunRecord, KfdetError | None]:
    """Returns what became of a run that has ended, and the error that ended it.

    The verdict is read in the gate's log and held against what ran after it: the status of a
    pipeline alone is not trusted.
    """
    gate, publish = view.stage("gate"), view.stage("publish")
    said = verdict_of(_logs(watch, gate)) if gate.status == "done" else None
    failure = _failure(view, watch) or _mismatch(view, said[0] if said else None)
    version = version_of(_logs(watch, publish)) if publish.status == "done" else None
    return (
        RunRecord(
            name=view.name,
            kfdet_version=__version__,
            started=view.created.isoformat() if view.created else "",
            time_s=(view.finished - view.created).total_seconds()
            if view.finished and view.created
            else 0.0,
            config=config,
            data_digests={"all": data_digest} if data_digest else {},
            stages=tuple(_stage_record(stage) for stage in view.stages),
            verdict=said[0] if said else None,
            reasons=(said[1],) if said else (),
            published_version=version,
            error=str(failure) if failure else None,
        ),
        failure,
    )


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
        error = next((task.error for task in stage.tasks if task.error), "")
        return StageFailure(
            said or error or "ended without a word: killed, out of memory, or out of time",
            where=f"stage {stage.stage}",
            exit_code=code,
            remedy=f"kfdet logs {view.run_id} {stage.stage} shows its output.",
        )
    if view.state == "FAILED":
        return ClusterError(
            view.error or "failed before a stage ran",
            where=f"run {view.name}",
            remedy="The nodes of the run in the user interface say more.",
        )
    return None


def _mismatch(view: RunView, verdict: str | None) -> KfdetError | None:
    if view.stage("gate").status != "done":
        return StageFailure("the run ended before the gate", where="pipeline", exit_code=1)
    ran = [name for name in ("export", "publish") if view.stage(name).status in ("done", "cached")]
    if verdict is None:
        return (
            None
            if ran
            else StageFailure(
                "the gate did not pass, and its log is gone: whether it failed or lacked evidence "
                "stands in its report",
                where="stage gate",
                exit_code=1,
            )
        )
    if verdict != "pass" and ran:
        return StageFailure(
            f"{' and '.join(ran)} ran although the gate said {verdict}",
            where="pipeline",
            exit_code=1,
        )
    if verdict == "pass" and "publish" not in ran:
        return StageFailure("passed the gate and was not published", where="pipeline", exit_code=1)
    return None
