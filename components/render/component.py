"""Renders the detector's configuration into a Model Garden experiment."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def render(
    detector: str,
    training: str,
    manifest: Input[Artifact],
    statistics: Input[Artifact],
    experiment: Output[Artifact],
    experiment_yaml: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("experiment_digest", str)]):
    """Renders and checks the experiment against the experiment factory.

    Args:
        detector: The section `detector` of the run configuration, as JSON.
        training: The section `training` of the run configuration, as JSON.
        manifest: Manifest of the validated data.
        statistics: Statistics of the validated data.
        experiment: Everything that training, inference and export need.
        experiment_yaml: The full Model Garden experiment, for people and for its own tools.
        metrics: Steps and images a step.
        report: The resolved configuration, readable.

    Returns:
        experiment_digest: Digest of the experiment; it names the model directory.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.detector_config import DetectorConfig
    from kfdet.schema.training_config import TrainingConfig
    from kfdet.stages import render as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("render") as progress:
        result = stage.run(
            detector=parse_json(DetectorConfig, detector, where="detector"),
            training=parse_json(TrainingConfig, training, where="training"),
            manifest=Path(manifest.path),
            statistics=Path(statistics.path),
            experiment=Path(experiment.path),
            experiment_yaml=Path(experiment_yaml.path),
            report=Path(report.path),
            progress=progress,
        )
        write_scalars(metrics, steps=result.steps, batch_size=result.batch_size)
    return (result.experiment_digest,)
