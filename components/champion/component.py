"""Says whether the champion must be measured again."""

from kfp.dsl import Artifact, Input, Output

from components._component import light_component


@light_component
def champion(
    policy: str,
    registry: str,
    model: str,
    split: str,
    measurement: str,
    manifest: Input[Artifact],
    selected: Output[Artifact],
) -> str:
    """Looks whether the registry's champion was measured on the images of this run, as this run does.

    Args:
        policy: The section `gate` of the run configuration, as JSON.
        registry: Folder of the model registry.
        model: Name of the model in the registry.
        split: train, val or test.
        measurement: What is measured: areas, IoU thresholds, counts and slices of the section
            `evaluation`, as JSON.
        manifest: Manifest of the validated data.
        selected: The champion's export: step, place and digest.

    Returns:
        Output: evaluate where its export is to be evaluated on these images; otherwise keep.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.gate_policy import GatePolicy
    from kfdet.schema.metrics import MeasurementConfig
    from kfdet.stages import champion as stage

    with Progress.from_environment("champion") as progress:
        result = stage.run(
            policy=parse_json(GatePolicy, policy, where="gate"),
            registry=registry,
            model=model,
            split=split,
            config=parse_json(MeasurementConfig, measurement, where="measurement"),
            manifest=Path(manifest.path),
            selected=Path(selected.path),
            progress=progress,
        )
    return result.answer
