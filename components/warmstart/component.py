"""Says what a training that starts from the champion begins with."""

from typing import NamedTuple

from kfp.dsl import Artifact, Input

from components._component import light_component


@light_component
def warmstart(
    detector: str,
    training: str,
    model_root: str,
    registry: str,
    model: str,
    manifest: Input[Artifact],
) -> NamedTuple("Outputs", [("training_begun", str)]):
    """Lays the champion's checkpoint into the training's configuration, while there is a champion.

    Args:
        detector: The section `detector` of the run configuration, as JSON.
        training: The section `training` of the run configuration, as JSON.
        model_root: Folder of model directories, where the champion was trained.
        registry: Folder of the model registry.
        model: Name of the model in the registry.
        manifest: Manifest of the validated data.

    Returns:
        training_begun: The section `training` with what it begins with, as JSON.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.detector_config import DetectorConfig
    from kfdet.schema.training_config import TrainingConfig
    from kfdet.stages import warmstart as stage

    with Progress.from_environment("warmstart") as progress:
        result = stage.run(
            detector=parse_json(DetectorConfig, detector, where="detector"),
            training=parse_json(TrainingConfig, training, where="training"),
            model_root=model_root,
            registry=registry,
            model=model,
            manifest=Path(manifest.path),
            progress=progress,
        )
    return (result.training.canonical_json(),)
