"""Runs the detector over one shard of a split."""

from kfp.dsl import Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def evaluate(
    shard: int,
    num_shards: int,
    split: str,
    checkpoint: str,
    checkpoint_digest: str,
    batch_size: int,
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
        checkpoint: Prefix of the checkpoint's files.
        checkpoint_digest: Digest of its bytes.
        batch_size: Images a step of inference; no detection depends on it.
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        detections: Folder with detections, ground truth and images, as Parquet.
        metrics: Images and detections.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.stages import evaluate as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("evaluate") as progress:
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            checkpoint=checkpoint,
            checkpoint_digest=checkpoint_digest,
            split=split,
            shard=shard,
            num_shards=num_shards,
            batch_size=batch_size,
            out=Path(detections.path),
            progress=progress,
        )
        write_scalars(metrics, images=result.images, detections=result.detections)
