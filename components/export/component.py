"""Exports the checkpoint and proves that the export answers like it."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def export(
    checkpoint: str,
    checkpoint_digest: str,
    checkpoint_step: int,
    parity: str,
    export_root: str,
    experiment: Input[Artifact],
    manifest: Input[Artifact],
    export_manifest: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("export_uri", str), ("content_digest", str)]):
    """Writes a SavedModel with labels and manifest; a difference from the checkpoint is an error.

    Args:
        checkpoint: Prefix of the checkpoint's files.
        checkpoint_digest: Digest of its bytes.
        checkpoint_step: Its step.
        parity: The section `export.parity` of the run configuration, as JSON.
        export_root: Folder of exports: a path or a mounted volume.
        experiment: The rendered experiment.
        manifest: Manifest of the validated data; its test images are compared.
        export_manifest: Files with digests, signatures, labels and the parity proof.
        metrics: Largest differences of the parity proof.
        report: Signatures, parity and how to call the model.

    Returns:
        export_uri: Folder of the export.
        content_digest: Digest of its files.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.run_config import ParityConfig
    from kfdet.stages import export as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("export") as progress:
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            checkpoint=checkpoint,
            checkpoint_digest=checkpoint_digest,
            checkpoint_step=checkpoint_step,
            parity=parse_json(ParityConfig, parity, where="export.parity"),
            export_root=export_root,
            export_manifest=Path(export_manifest.path),
            report=Path(report.path),
            progress=progress,
        )
        write_scalars(
            metrics,
            max_score_difference=result.max_score_difference,
            max_box_difference_px=result.max_box_difference_px,
        )
    return (result.export_uri, result.content_digest)
