"""`kfdet schedule`: runs that begin by themselves."""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from kfdet.cli.output import answer
from kfdet.cli.plain import open_table, plain
from kfdet.core.cron import CronSchedule, parse_cron
from kfdet.errors import ClusterError, UsageError, did_you_mean
from kfdet.storage.run_config import read_run_config

_CATCH_UP = {True: "the latest missed one alone", False: "every missed one"}


def create(arguments: argparse.Namespace) -> None:
    """Creates a recurring run; its data are named by a task of each run, since they change."""
    cron = parse_cron(arguments.cron)
    if not 1 <= arguments.max_concurrency <= 10:
        raise UsageError(
            f"--max-concurrency {arguments.max_concurrency} is refused", expected="1 to 10"
        )
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    name = arguments.name or config.name
    experiment = arguments.experiment or config.cluster.experiment

    from kfdet.cli.cluster.access import access_from
    from kfdet.cli.cluster.connection import TIMEOUT_S, Connection
    from kfdet.cli.cluster.package import build_package
    from kfdet.cli.submit import experiment_id, run_body

    # Of the pipelines' second version no parameter is filled in by the scheduler, so all runs of a
    # schedule hand on one name; what they publish is told apart by version and time.
    package = build_package(config, name=name, data_digest=None)
    body = {
        **run_body(package, experiment_id=None),
        "display_name": name,
        "description": f"{package.description}; {cron.in_words()}",
        "trigger": {"cron_schedule": {"cron": cron.expression}},
        "mode": "ENABLE",
        "max_concurrency": str(arguments.max_concurrency),
        "no_catchup": arguments.catch_up == "latest",
    }
    if arguments.dry_run:
        if arguments.json:
            print(json.dumps({"experiment": experiment, "recurring_run": body}, indent=2))
        else:
            answer(_shown(name, cron, body, experiment=experiment), as_json=False)
            print("nothing was sent; --json shows all of it")
        return
    connection = Connection(access_from(arguments, config.cluster))
    taken = _recurring_runs(connection, name=name)
    if taken:
        raise ClusterError(
            f'there is a schedule "{name}" already, {taken[0].recurring_run_id}',
            where=connection.access.shown,
            remedy=f"Delete it with kfdet schedule delete {name}, or give --name.",
        )
    models = connection.models
    body |= {
        "experiment_id": experiment_id(connection, experiment),
        "namespace": connection.namespace,
        "runtime_config": models.V2beta1RuntimeConfig(**body["runtime_config"]),
        "trigger": models.V2beta1Trigger(
            cron_schedule=models.V2beta1CronSchedule(cron=cron.expression)
        ),
    }
    with connection.explained("the schedule"):
        made = connection.api.recurring_runs.recurring_run_service_create_recurring_run(
            recurring_run=models.V2beta1RecurringRun(**body), _request_timeout=TIMEOUT_S
        )
    answer(
        {
            **_shown(name, cron, body, experiment=experiment),
            "id": made.recurring_run_id,
            "link": connection.link("recurringrun", made.recurring_run_id),
        },
        as_json=arguments.json,
    )


def list_schedules(arguments: argparse.Namespace) -> None:
    """Lists recurring runs."""
    connection = _connect(arguments)
    found = _recurring_runs(connection)
    entries = [
        {
            "name": entry.display_name,
            "id": entry.recurring_run_id,
            "cron": _cron_of(entry),
            "when": _words_of(entry),
            "state": "paused" if entry.status == "DISABLED" else "active",
            "max_concurrency": int(entry.max_concurrency or 1),
            "catch_up": "latest" if entry.no_catchup else "all",
        }
        for entry in found
    ]
    if arguments.json:
        print(json.dumps(entries, indent=2))
        return
    table = open_table("name", "state", "when", "at once", "catch-up", "id")
    for shown in entries:
        table.add_row(
            *(
                plain(str(shown[key]))
                for key in ("name", "state", "when", "max_concurrency", "catch_up", "id")
            )
        )
    Console().print(table if entries else "no schedules")


def pause(arguments: argparse.Namespace) -> None:
    """Keeps a recurring run from starting runs; those under way go on."""
    _change(arguments, "recurring_run_service_disable_recurring_run", "paused")


def resume(arguments: argparse.Namespace) -> None:
    """Lets a recurring run start runs again."""
    _change(arguments, "recurring_run_service_enable_recurring_run", "active")


def delete(arguments: argparse.Namespace) -> None:
    """Deletes a recurring run; its runs stay."""
    _change(arguments, "recurring_run_service_delete_recurring_run", "deleted")


def _connect(arguments: argparse.Namespace) -> Any:
    from kfdet.cli.cluster.access import access_from
    from kfdet.cli.cluster.connection import Connection

    return Connection(access_from(arguments))


def _change(arguments: argparse.Namespace, call: str, state: str) -> None:
    from kfdet.cli.cluster.connection import TIMEOUT_S

    connection = _connect(arguments)
    entry = _find(connection, arguments.schedule)
    with connection.explained(f"schedule {entry.display_name}"):
        getattr(connection.api.recurring_runs, call)(
            recurring_run_id=entry.recurring_run_id, _request_timeout=TIMEOUT_S
        )
    answer(
        {"schedule": entry.display_name, "id": entry.recurring_run_id, "state": state},
        as_json=arguments.json,
    )


def _recurring_runs(connection: Any, *, name: str | None = None) -> list[Any]:
    from kfdet.cli.cluster.connection import every, filter_by_name
    from kfdet.cli.cluster.runs import of_namespace

    options: dict[str, Any] = of_namespace(connection)
    if name:
        options["filter"] = filter_by_name(name)
    with connection.explained("the list of schedules"):
        return every(
            connection.api.recurring_runs.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            **options,
        )


def _find(connection: Any, schedule: str) -> Any:
    """Returns the recurring run of an identity or a name that only one has."""
    known = _recurring_runs(connection)
    found = [e for e in known if schedule in (e.recurring_run_id, e.display_name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ClusterError(
            f'{len(found)} schedules are called "{schedule}"',
            where=connection.access.shown,
            remedy=f"Name one: {', '.join(entry.recurring_run_id for entry in found)}.",
        )
    raise ClusterError(
        f'there is no schedule "{schedule}"',
        where=connection.access.shown,
        remedy=did_you_mean(schedule, [entry.display_name for entry in known])
        or "kfdet schedule list shows them.",
    )


def _shown(
    name: str, cron: CronSchedule, body: dict[str, Any], *, experiment: str
) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    following = [f"{t:%Y-%m-%d %H:%M}" for t in itertools.islice(cron.times_after(now), 3)]
    return {
        "schedule": name,
        "experiment": experiment,
        "cron": cron.expression,
        "when": f"{cron.in_words()}, by the clock of the scheduler: UTC unless it is set otherwise",
        "next": ", ".join(following),
        "at_once": f"{body['max_concurrency']}; one that would be more waits",
        "after_a_pause": _CATCH_UP[body["no_catchup"]],
    }


def _cron_of(entry: Any) -> str | None:
    schedule = entry.trigger.cron_schedule if entry.trigger else None
    return schedule.cron if schedule else None


def _words_of(entry: Any) -> str:
    cron = _cron_of(entry)
    if cron is None:
        periodic = entry.trigger.periodic_schedule if entry.trigger else None
        return f"every {periodic.interval_second} s" if periodic else ""
    try:
        return parse_cron(cron).in_words()
    except UsageError:
        return cron
