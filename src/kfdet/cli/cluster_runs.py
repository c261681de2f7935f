"""`kfdet runs`, `status`, `logs` and `terminate`: runs on the cluster."""

from __future__ import annotations

import argparse
import datetime
import json
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kfdet.cli.cluster.access import access_from
from kfdet.cli.cluster.connection import TIMEOUT_S, Connection
from kfdet.cli.cluster.run_view import (
    RunView,
    StageView,
    failure_of,
    part_of,
    verdict_of,
)
from kfdet.cli.cluster.runs import find_run, list_runs, read_log
from kfdet.cli.output import answer
from kfdet.cli.plain import open_table, plain
from kfdet.errors import ClusterError, UsageError
from kfdet.report.wording import duration


def runs(arguments: argparse.Namespace) -> None:
    """Lists runs, newest first."""
    connection = Connection(access_from(arguments))
    found = list_runs(connection, experiment=arguments.experiment, limit=arguments.limit)
    if arguments.json:
        print(json.dumps([_entry(view) for view in found], indent=2))
        return
    table = open_table("name", "state", "started", "time", "by", "id")
    for view in found:
        table.add_row(
            plain(view.name), view.state.lower(), _moment(view.created), _time(view),
            "schedule" if view.recurring_run else "hand", view.run_id,
        )  # fmt: skip
    Console().print(table if found else "no runs")


def status(arguments: argparse.Namespace) -> None:
    """Shows the stages of a run, and its verdict when the gate has spoken."""
    connection = Connection(access_from(arguments))
    view = find_run(connection, arguments.run)
    gate = view.stage("gate")
    log = _log(connection, view, gate) if gate.status in ("done", "cached") else None
    verdict = verdict_of(log) if log else None
    if arguments.json:
        stages = [
            {
                "stage": stage.stage,
                "status": stage.status,
                "time_s": stage.time_s,
                "attempts": stage.attempts,
            }
            for stage in view.stages
        ]
        whole = {**_entry(view), "link": connection.link("runs", view.run_id)}
        said = {"verdict": verdict[0], "reasons": verdict[1]} if verdict else {"verdict": None}
        print(json.dumps({**whole, **said, "stages": stages}, indent=2))
        return
    console = Console()
    console.print(_stages(connection, view))
    answer(
        {
            "run": f"{view.name} ({view.run_id})",
            "state": view.state.lower(),
            "verdict": f"{verdict[0].replace('_', ' ')}: {verdict[1]}" if verdict else None,
            "started": _moment(view.created),
            "link": connection.link("runs", view.run_id),
        },
        as_json=False,
    )


def logs(arguments: argparse.Namespace) -> None:
    """Prints the log of a stage's latest attempt; of a loop's tasks one after the other."""
    connection = Connection(access_from(arguments))
    view = find_run(connection, arguments.run)
    stages = {stage.stage: stage for stage in view.stages}
    stage = stages.get(arguments.stage) or _task(view, arguments.stage)
    if stage is None:
        raise UsageError(
            f'there is no stage "{arguments.stage}"',
            expected=", ".join(stages),
            remedy=view.suggestion(arguments.stage),
        )
    if stage.status in ("waiting", "skipped", "cached"):
        because = {"waiting": "has not begun", "skipped": "did not run"}
        raise ClusterError(
            f"{because.get(stage.status, 'was taken from the cache')}, so there is no log",
            where=f"stage {stage.stage} of run {view.name}",
        )
    log = _log(connection, view, stage)
    if log is None:
        raise ClusterError(
            "the pods are gone, and their logs with them",
            where=f"stage {stage.stage} of run {view.name}",
            remedy="The reports stay. A larger cluster.ttl_s keeps pods longer.",
        )
    if arguments.json:
        print(json.dumps({"stage": stage.stage, "log": log}, indent=2))
    else:
        print(log, end="" if log.endswith("\n") else "\n")


def terminate(arguments: argparse.Namespace) -> None:
    """Ends a run that is under way."""
    connection = Connection(access_from(arguments))
    view = find_run(connection, arguments.run)
    if view.ended:
        raise ClusterError(f"has ended already: {view.state.lower()}", where=f"run {view.name}")
    with connection.explained(f"run {view.name}"):
        connection.api.runs.run_service_terminate_run(
            run_id=view.run_id, _request_timeout=TIMEOUT_S
        )
    answer({"run": view.name, "id": view.run_id, "state": "terminating"}, as_json=arguments.json)


def _log(connection: Connection, view: RunView, stage: StageView) -> str | None:
    """Returns the logs of a stage's tasks, each under a heading when there are several."""
    found = [
        (task.name, log)
        for task in stage.tasks
        if (log := read_log(connection, view.run_id, task.pods)) is not None
    ]
    if len(found) <= 1:
        return found[0][1] if found else None
    names = list(dict.fromkeys(task.name for task in stage.tasks))
    # The API's order of nodes says nothing; what each task is stands in its own lines.
    found.sort(key=lambda one: (names.index(one[0]), part_of(one[1])[1]))
    return "\n".join(f"== {f'{name} {part_of(log)[0]}'.rstrip()}\n{log}" for name, log in found)


def _task(view: RunView, name: str) -> StageView | None:
    """Returns the tasks of a name within a stage of several, as a stage of their own."""
    for stage in view.stages:
        tasks = tuple(task for task in stage.tasks if task.name == name)
        if tasks:
            return replace(stage, stage=name, tasks=tasks)
    return None


def _stages(connection: Connection, view: RunView) -> Table:
    table = open_table("stage", "status", "time", "")
    styles = {"failed": "red", "done": "green", "cached": "cyan", "running": "bold"}
    for stage in view.stages:
        table.add_row(
            stage.stage,
            Text(stage.status, style=styles.get(stage.status, "dim")),
            duration(stage.time_s) if stage.status in ("done", "failed") else "",
            plain(_remark(connection, view, stage)),
        )
    return table


def _remark(connection: Connection, view: RunView, stage: StageView) -> str:
    if stage.status == "failed":
        said, _ = failure_of(_log(connection, view, stage) or "")
        return said
    return f"{stage.attempts} attempts" if stage.attempts > 1 else ""


def _entry(view: RunView) -> dict[str, Any]:
    return {
        "name": view.name,
        "id": view.run_id,
        "state": view.state,
        "started": view.created.isoformat() if view.created else None,
        "finished": view.finished.isoformat() if view.finished else None,
        "schedule": view.recurring_run,
        "description": view.description,
    }


def _moment(moment: datetime.datetime | None) -> str:
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC" if moment else ""


def _time(view: RunView) -> str:
    if not view.created or not view.finished:
        return ""
    return duration((view.finished - view.created).total_seconds())
