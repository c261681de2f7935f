"""`kfdet compile`: the pipeline as YAML, for a cluster."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kfdet.cli.output import answer
from kfdet.cli.pipeline_source import compile_pipeline, pipeline_arguments
from kfdet.storage.atomic import write_text
from kfdet.storage.dataset import data_digest, dataset_digests
from kfdet.storage.run_config import read_run_config


def compile_verb(arguments: argparse.Namespace) -> None:
    """Writes the compiled pipeline and, with a configuration, its parameters."""
    output = Path(arguments.output)
    config = read_run_config(Path(arguments.config)) if arguments.config else None
    compile_pipeline(output, resources=config.resources if config else None)
    parameters = None
    if config:
        parameters = output.with_suffix(".parameters.json")
        values = pipeline_arguments(
            config,
            data_digest=data_digest(dataset_digests(config.dataset)),
            model_root=str(Path("runs", config.name, "models").absolute()),
        )
        write_text(parameters, json.dumps(values, indent=2) + "\n")
    answer({"pipeline": output, "parameters": parameters}, as_json=arguments.json)
