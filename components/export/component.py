"""Exports the checkpoint and proves that the export answers like it."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def export(
    parity: str,
    export_root: str,
    selected: Input[Artifact],
    experiment: Input[Artifact],
    manifest: Input[Artifact],
    export_manifest: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("export_uri", str), ("content_digest", str)]):
    """Writes a SavedModel with labels and manifest; a difference from the checkpoint is an error.

    Args:
        parity: The section `export.parity` of the run configuration, as JSON.
        export_root: Folder of exports: a path, a mounted volume, or gs://
        selected: The checkpoint: step, place and digest.
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
    from kfdet.schema.training import SelectedCheckpoint
    from kfdet.stages import export as stage
    from kfdet.storage.documents import read_document
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("export") as progress:
        checkpoint = read_document(SelectedCheckpoint, selected.path).checkpoint
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            checkpoint=checkpoint.uri,
            checkpoint_digest=checkpoint.digest,
            checkpoint_step=checkpoint.step,
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
