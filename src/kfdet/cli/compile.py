"""`kfdet compile`: the pipeline as YAML, for a cluster."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kfdet.cli.cluster.package import build_package, find_data_digest
from kfdet.cli.output import answer
from kfdet.cli.pipeline_source import compile_pipeline
from kfdet.errors import UsageError
from kfdet.storage.atomic import explain_os_errors, write_text
from kfdet.storage.run_config import read_run_config


def compile_verb(arguments: argparse.Namespace) -> None:
    """Writes the compiled pipeline; with a configuration, that run's, and its parameters."""
    output = Path(arguments.output)
    if not arguments.config:
        if arguments.overrides:
            raise UsageError("--set changes a run's configuration", remedy="Name it: --config.")
        compile_pipeline(output)
        answer({"pipeline": output, "parameters": None}, as_json=arguments.json)
        return
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    package = build_package(
        config,
        name=config.name,
        data_digest=find_data_digest(config.dataset, None),
        labels="none",
    )
    parameters = output.with_suffix(".parameters.json")
    with explain_os_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, package.text)
    write_text(parameters, json.dumps(package.parameters, indent=2) + "\n")
    answer({"pipeline": output, "parameters": parameters}, as_json=arguments.json)
