"""Publishes the export as a new version and makes it the champion."""

from typing import NamedTuple

from kfp.dsl import Artifact, Input, Metrics, Output

from components._component import light_component


@light_component
def publish(
    export_uri: str,
    registry: str,
    model: str,
    run_name: str,
    decision_json: Input[Artifact],
    metrics_json: Input[Artifact],
    evidence: Input[Artifact],
    version_json: Output[Artifact],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("version", int)]):
    """Copies the export into the registry and moves the champion pointer atomically.

    Args:
        export_uri: Folder of the export.
        registry: Folder of the model registry.
        model: Name of the model in the registry.
        run_name: Name of the run, for the version's record.
        decision_json: The gate's decision; anything but pass is refused.
        metrics_json: Metrics that the decision was made on.
        evidence: What they follow from, kept for comparisons to come.
        version_json: Record of the version.
        metrics: The version.

    Returns:
        version: Number of the version that is now the champion.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.stages import publish as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("publish") as progress:
        result = stage.run(
            export_uri=export_uri,
            decision=Path(decision_json.path),
            metrics=Path(metrics_json.path),
            evidence=Path(evidence.path),
            registry=registry,
            model=model,
            run_name=run_name,
            version=Path(version_json.path),
            progress=progress,
        )
        write_scalars(metrics, version=result.version)
    return (result.version,)
