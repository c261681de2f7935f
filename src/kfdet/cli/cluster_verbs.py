"""What the verbs for a cluster take."""

from __future__ import annotations

import argparse

from kfdet.cli.verbs import Verbs, add_verb

_SCHEDULE = """\
Run on a cluster again and again. `kfdet schedule CONFIG --cron ...` is `kfdet schedule create`.
Each run names its data first: while they stay the same, everything up to the gate comes from the
cache, and nothing is published twice.
"""


def add_cluster_verbs(verbs: Verbs) -> None:
    """Adds the verbs for runs and schedules on a cluster."""
    _add_submit(verbs)
    _add_schedule(verbs)
    runs = _add_verb(verbs, "runs", "list runs on a cluster", handler="cluster_runs:runs")
    runs.add_argument("--experiment", metavar="NAME", help="of this experiment alone")
    runs.add_argument("--limit", type=int, default=20, metavar="N", help="default: 20")
    status = _add_verb(verbs, "status", "show a run on a cluster", handler="cluster_runs:status")
    logs = _add_verb(verbs, "logs", "print a stage's log", handler="cluster_runs:logs")
    terminate = _add_verb(
        verbs, "terminate", "end a run on a cluster", handler="cluster_runs:terminate"
    )
    for parser in (status, logs, terminate):
        parser.add_argument("run", metavar="RUN", help="identity, or name of the newest")
    logs.add_argument("stage", metavar="STAGE")


def _add_verb(
    verbs: Verbs, name: str, summary: str, *, handler: str, config: bool = False
) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, summary, handler=f"kfdet.cli.{handler}", config=config)
    parser.add_argument(
        "--host",
        metavar="URL",
        help="Kubeflow Pipelines (default: $KF_PIPELINES_ENDPOINT, else as kubectl)",
    )
    parser.add_argument("--namespace", metavar="NAME", help="yours, where there are many users")
    return parser


def _add_sending(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="default: as the configuration says")
    parser.add_argument(
        "--experiment", metavar="NAME", help="made when missing (default: cluster.experiment)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be sent, and send nothing"
    )


def _add_submit(verbs: Verbs) -> None:
    submit = _add_verb(verbs, "submit", "run on a cluster", handler="submit:submit", config=True)
    submit.epilog = (
        "Tokens, cookies and certificates come from environment variables: "
        "pipelines/detection_training/README.md, Access."
    )
    _add_sending(submit)
    submit.add_argument("--wait", action="store_true", help="watch it, and end with its verdict")
    submit.add_argument(
        "--exit-code", action="store_true", help="with --wait: 20 or 21 when the gate does not pass"
    )
    submit.add_argument(
        "--data-digest",
        metavar="DIGEST",
        help="as kfdet fingerprint prints it, or `cluster` to have it taken there "
        "(default: taken here when the files are here, else there)",
    )
    submit.add_argument(
        "--pipeline", metavar="NAME", help="upload the pipeline under a name, and run that"
    )
    submit.add_argument(
        "--new-version", action="store_true", help="with --pipeline: add to what differs"
    )
    submit.add_argument("--poll-s", type=float, metavar="S", help=argparse.SUPPRESS)


def _add_schedule(verbs: Verbs) -> None:
    schedule = verbs.add_parser(
        "schedule", help="run on a cluster again and again", description=_SCHEDULE
    )
    kinds = schedule.add_subparsers(title="verbs", metavar="VERB", required=True)
    create = _add_verb(kinds, "create", "create a schedule", handler="schedule:create", config=True)
    _add_sending(create)
    create.add_argument(
        "--cron",
        required=True,
        metavar="FIELDS",
        help='5 or 6 fields: "0 3 * * 1" is Monday at 03:00, by the clock of the cluster',
    )
    create.add_argument(
        "--max-concurrency",
        type=int,
        default=1,
        metavar="N",
        help="runs at the same time; one more waits (default: 1)",
    )
    create.add_argument(
        "--catch-up",
        choices=("latest", "all"),
        default="latest",
        help="runs missed during a pause that are made up for (default: latest)",
    )
    _add_verb(kinds, "list", "list schedules", handler="schedule:list_schedules")
    for name, summary in (
        ("pause", "start no runs for now"),
        ("resume", "start runs again"),
        ("delete", "delete a schedule; its runs stay"),
    ):
        parser = _add_verb(kinds, name, summary, handler=f"schedule:{name}")
        parser.add_argument("schedule", metavar="SCHEDULE", help="name or identity")
