"""Keeps what the champion scored on other images than it was published with."""

from kfp.dsl import Artifact, Input, Metrics, Output

from components._component import light_component


@light_component
def record(
    registry: str,
    model: str,
    metrics_json: Input[Artifact],
    evidence: Input[Artifact],
    metrics: Output[Metrics],
):
    """Puts the champion's metrics on these images beside it into the registry.

    Args:
        registry: Folder of the model registry.
        model: Name of the model in the registry.
        metrics_json: Metrics of the champion's export on these images.
        evidence: What they follow from.
        metrics: The champion's 12 COCO statistics on these images.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.stages import record as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("record") as progress:
        result = stage.run(
            registry=registry,
            model=model,
            metrics=Path(metrics_json.path),
            evidence=Path(evidence.path),
            progress=progress,
        )
        write_scalars(metrics, version=result.version, **result.overall.named())
