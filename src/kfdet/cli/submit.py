"""`kfdet submit`: a run on the cluster."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from kfdet.cli.cluster.access import access_from
from kfdet.cli.cluster.connection import TIMEOUT_S, Connection
from kfdet.cli.cluster.package import (
    MAX_PARAMETER_BYTES,
    Package,
    build_package,
    find_data_digest,
)
from kfdet.cli.cluster.pipelines import keep_pipeline
from kfdet.cli.cluster.runs import experiments
from kfdet.cli.cluster.watch import Watch, outcome_of
from kfdet.cli.live import final_table, verdict_panel
from kfdet.cli.output import answer
from kfdet.cli.run import check_policy
from kfdet.schema.run_config import RunConfig
from kfdet.storage.run_config import read_run_config

_SECONDS_BETWEEN_LOOKS = 5.0


def submit(arguments: argparse.Namespace) -> int:
    """Sends a run to the cluster and prints its link; with --wait, its progress and verdict."""
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    if Path(config.dataset.label_map).is_file():
        check_policy(config)
    experiment = arguments.experiment or config.cluster.experiment
    package = build_package(
        config,
        name=arguments.name or config.name,
        data_digest=find_data_digest(config.dataset, arguments.data_digest),
        labels="none" if arguments.pipeline else "of the run",
    )
    if arguments.dry_run:
        _show(package, experiment, as_json=arguments.json)
        return 0
    connection = Connection(access_from(arguments, config.cluster))
    run = _create(connection, package, experiment, arguments)
    console = Console(stderr=arguments.json)
    link = connection.link("runs", run.run_id)
    sent = {
        "run": run.display_name,
        "id": run.run_id,
        "experiment": experiment,
        "config": package.config_digest,
        "data": package.data_digest or "named by the run itself",
        "link": link,
    }
    if not arguments.wait:
        answer(sent, as_json=arguments.json)
        return 0
    if not arguments.json:
        answer(sent, as_json=False)
    return _wait(connection, run.run_id, config, package, arguments, console)


def _create(
    connection: Connection, package: Package, experiment: str, arguments: argparse.Namespace
) -> Any:
    reference = None
    if arguments.pipeline:
        pipeline, version = keep_pipeline(
            connection,
            package,
            name=arguments.pipeline,
            differing="add" if arguments.new_version else "refuse",
        )
        reference = connection.models.V2beta1PipelineVersionReference(
            pipeline_id=pipeline, pipeline_version_id=version
        )
    body = run_body(package, experiment_id=experiment_id(connection, experiment))
    if reference:
        body |= {"pipeline_version_reference": reference, "pipeline_spec": None}
    body["runtime_config"] = connection.models.V2beta1RuntimeConfig(**body["runtime_config"])
    with connection.explained("the run"):
        run = connection.api.runs.run_service_create_run(
            run=connection.models.V2beta1Run(**body), _request_timeout=TIMEOUT_S
        )
        connection.check_answer(run, "run_id")
        return run


def run_body(package: Package, *, experiment_id: str | None) -> dict[str, Any]:
    """Returns what a run is made of, in the API's words."""
    return {
        "display_name": package.name,
        "description": package.description,
        "experiment_id": experiment_id,
        "pipeline_spec": package.spec,
        "runtime_config": {
            "parameters": package.parameters,
            "pipeline_root": package.cluster.pipeline_root,
        },
        "service_account": package.cluster.service_account,
    }


def experiment_id(connection: Connection, name: str) -> str:
    """Returns the identity of an experiment, which is made when there is none of the name."""
    found = experiments(connection, name)
    if found:
        return str(found[0].experiment_id)
    body = connection.models.V2beta1Experiment(display_name=name, namespace=connection.namespace)
    with connection.explained(f'experiment "{name}"'):
        made = connection.api.experiments.experiment_service_create_experiment(
            experiment=body, _request_timeout=TIMEOUT_S
        )
        connection.check_answer(made, "experiment_id")
    return str(made.experiment_id)


def _show(package: Package, experiment: str, *, as_json: bool) -> None:
    body = run_body(package, experiment_id=None)
    if as_json:
        print(json.dumps({"experiment": experiment, "run": body}, indent=2))
        return
    answer(
        {
            "run": package.name,
            "experiment": experiment,
            "description": package.description,
            **{f"  {name}": _shortened(value) for name, value in package.parameters.items()},
            "parameters": f"{len(json.dumps(package.parameters).encode()):,} bytes of "
            f"{MAX_PARAMETER_BYTES:,}",
            "pipeline": f"{len(json.dumps(package.spec).encode()):,} bytes",
        },
        as_json=False,
    )
    print("nothing was sent; --json shows all of it")


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 90 else f"{text[:87]}..."


def _wait(
    connection: Connection,
    run_id: str,
    config: RunConfig,
    package: Package,
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    watch = Watch(connection, run_id, pause_s=arguments.poll_s or _SECONDS_BETWEEN_LOOKS)
    try:
        view = watch.to_the_end(console)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"no longer watched; the run goes on. kfdet status {run_id} shows it, "
            f"kfdet terminate {run_id} ends it"
        ) from None
    link = connection.link("runs", run_id)
    outcome = outcome_of(view, watch, config=config, data_digest=package.data_digest, link=link)
    record = outcome.record
    if arguments.json:
        whole = {"id": run_id, "link": link}
        print(json.dumps({**whole, **record.model_dump(mode="json")}, indent=2))
    else:
        console.print(final_table(record))
        console.print(verdict_panel(record))
    if outcome.failure:
        raise outcome.failure
    return outcome.exit_code if arguments.exit_code else 0
