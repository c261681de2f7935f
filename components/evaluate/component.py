"""Runs the detector over one shard of a split."""

from kfp.dsl import Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def evaluate(
    shard: int,
    num_shards: int,
    split: str,
    batch_size: int,
    selected: Input[Artifact],
    experiment: Input[Artifact],
    manifest: Input[Artifact],
    detections: Output[Artifact],
    metrics: Output[Metrics],
):
    """Writes the detections and the ground truth of shard k of n.

    Args:
        shard: k, from zero.
        num_shards: n; shard k takes the files [k::n] of the split.
        split: train, val or test.
        batch_size: Images a step of inference; no detection depends on it.
        selected: The checkpoint: step, place and digest.
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        detections: Folder with detections, ground truth and images, as Parquet.
        metrics: Images and detections.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.training import SelectedCheckpoint
    from kfdet.stages import evaluate as stage
    from kfdet.storage.documents import read_document
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("evaluate", part=f"shard {shard + 1}/{num_shards}") as progress:
        checkpoint = read_document(SelectedCheckpoint, selected.path).checkpoint
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            checkpoint=checkpoint.uri,
            checkpoint_digest=checkpoint.digest,
            split=split,
            shard=shard,
            num_shards=num_shards,
            batch_size=batch_size,
            out=Path(detections.path),
            progress=progress,
        )
        write_scalars(metrics, images=result.images, detections=result.detections)
