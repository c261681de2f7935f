"""Trains the detector, and goes on where a killed attempt stopped."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def train(
    model_root: str,
    experiment: Input[Artifact],
    manifest: Input[Artifact],
    summary: Output[Artifact],
    mlpipeline_ui_metadata: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("model_dir", str)]):
    """Trains into a folder that outlives the task, so that a retry resumes.

    Args:
        model_root: Folder of model directories: a path, a mounted volume, or gs://
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        summary: Curves, checkpoints with digests, device and times.
        mlpipeline_ui_metadata: Shows TensorBoard in the cluster's UI.
        metrics: Last step, loss and speed.
        report: Loss and learning-rate curves.

    Returns:
        model_dir: Folder with the checkpoints and the TensorBoard events.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.stages import train as stage
    from kfdet.storage.scalars import write_scalars
    from kfdet.storage.ui import volumes_of_this_task, write_tensorboard_metadata

    with Progress.from_environment("train") as progress:
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            model_root=model_root,
            summary=Path(summary.path),
            report=Path(report.path),
            progress=progress,
        )
        write_tensorboard_metadata(
            Path(mlpipeline_ui_metadata.path),
            source=result.model_dir,
            volumes=volumes_of_this_task(),
        )
        write_scalars(metrics, step=result.step, loss=result.loss, steps_per_s=result.steps_per_s)
    return (result.model_dir,)
