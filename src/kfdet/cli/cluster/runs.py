"""Asking the API about runs and experiments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kfp_server_api import ApiException  # type: ignore[import-untyped]

from kfdet.cli.cluster.connection import (
    TIMEOUT_S,
    Connection,
    Unreachable,
    every,
    filter_by_name,
)
from kfdet.cli.cluster.run_view import RunView, run_view
from kfdet.errors import ClusterError, did_you_mean

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_NEWEST_FIRST = "created_at desc"
_DEFAULT_NAMESPACE = "kubeflow"


def is_id(text: str) -> bool:
    """Returns whether a text is the API's kind of identity."""
    return bool(_ID.match(text))


def of_namespace(connection: Connection) -> dict[str, str]:
    """Returns the option that narrows a list to the user's namespace, where there is one."""
    return {"namespace": connection.namespace} if connection.namespace else {}


def experiments(connection: Connection, name: str | None = None) -> list[Any]:
    """Returns all experiments, or those of a name."""
    options: dict[str, Any] = {"filter": filter_by_name(name)} if name else {}
    options |= of_namespace(connection)
    with connection.explained("the list of experiments"):
        return every(
            connection.api.experiments.experiment_service_list_experiments,
            "experiments",
            **options,
        )


def find_experiment(connection: Connection, name: str) -> Any:
    """Returns the experiment of a name.

    Raises:
        ClusterError: There is none; the closest name is told.
    """
    found = experiments(connection, name)
    if not found:
        known = [experiment.display_name for experiment in experiments(connection)]
        raise ClusterError(
            f'there is no experiment "{name}"',
            where=connection.access.shown,
            expected=", ".join(sorted(known)[:10]) or None,
            remedy=did_you_mean(name, known) or "kfdet submit makes it with the first run.",
        )
    return found[0]


def find_run(connection: Connection, run: str) -> RunView:
    """Returns a run by its identity, or the newest of a name.

    Raises:
        ClusterError: There is no such run.
    """
    if is_id(run):
        with connection.explained(f"run {run}"):
            found = connection.api.runs.run_service_get_run(run_id=run, _request_timeout=TIMEOUT_S)
            connection.check_answer(found, "run_id")
            return run_view(found, spec=_spec(connection, found))
    named = list_runs(connection, name=run, limit=1)
    if not named:
        known = [view.name for view in list_runs(connection, limit=50)]
        raise ClusterError(
            f'there is no run "{run}"',
            where=connection.access.shown,
            expected="the name or the identity of a run",
            remedy=did_you_mean(run, known) or "kfdet runs lists them.",
        )
    # The list leaves the tasks out.
    return find_run(connection, named[0].run_id)


def _spec(connection: Connection, run: Any) -> Any:
    """Returns the compiled pipeline of a run, which the API gives or keeps under a version.

    It only names the pods of tasks: where it can't be had, the run is shown without.
    """
    reference = run.pipeline_version_reference
    if run.pipeline_spec or not reference or not reference.pipeline_version_id:
        return run.pipeline_spec
    kept = connection.kept_specs
    identity = reference.pipeline_version_id
    if identity not in kept:
        try:
            with connection.explained(f"pipeline version {identity}"):
                version = connection.api.pipelines.pipeline_service_get_pipeline_version(
                    pipeline_id=reference.pipeline_id,
                    pipeline_version_id=identity,
                    _request_timeout=TIMEOUT_S,
                )
        except Unreachable:
            return None
        except ClusterError:
            # Deleted, or not for this user: asking again would not help.
            kept[identity] = None
        else:
            kept[identity] = version.pipeline_spec
    return kept[identity]


def list_runs(
    connection: Connection,
    *,
    name: str | None = None,
    experiment: str | None = None,
    limit: int,
) -> list[RunView]:
    """Returns runs, newest first."""
    options: dict[str, Any] = {"sort_by": _NEWEST_FIRST, **of_namespace(connection)}
    if name:
        options["filter"] = filter_by_name(name)
    if experiment:
        options["experiment_id"] = find_experiment(connection, experiment).experiment_id
    with connection.explained("the list of runs"):
        found = every(connection.api.runs.run_service_list_runs, "runs", limit=limit, **options)
        for run in found:
            connection.check_answer(run, "run_id")
    return [run_view(run) for run in found]


def read_log(connection: Connection, run_id: str, pods: Sequence[str]) -> str | None:
    """Returns the log of the first pod that has one, or None when none has any more.

    The API server hands logs out itself; the user interface, which stands before it in most
    installations, does so under an address of its own.
    """
    namespace = connection.namespace or _DEFAULT_NAMESPACE
    for pod in pods:
        ways: tuple[tuple[str, dict[str, str]], ...] = (
            (f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", {}),
            ("/k8s/pod/logs", {"podname": pod, "runid": run_id, "podnamespace": namespace}),
        )
        for path, query in ways:
            with connection.explained(f"log of {pod}"):
                try:
                    response = connection.api.raw(path, query)
                except ApiException as failure:
                    if failure.status in (401, 403):
                        raise
                    continue
            if "html" not in (response.headers.get("Content-Type") or ""):
                return str(response.data.decode("utf-8", errors="replace"))
    return None
