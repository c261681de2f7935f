"""evaluate: the detections and the ground truth of one shard of a split."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfdet.errors import ArtifactError, UsageError
from kfdet.progress import Progress
from kfdet.schema.dataset import Manifest, Split
from kfdet.schema.evaluation import ShardResult
from kfdet.schema.export import SAVED_MODEL_FOLDER
from kfdet.schema.training import ResolvedExperiment
from kfdet.storage.checkpoints import check_checkpoint
from kfdet.storage.copies import local_folder
from kfdet.storage.documents import read_document
from kfdet.storage.exports import is_export, read_export
from kfdet.storage.quarantine import note_excluded
from kfdet.storage.shards import ShardWriter
from kfdet.storage.splits import read_split, shard_images


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    images: int
    detections: int


def run(
    *,
    experiment: Path,
    manifest: Path,
    checkpoint: str,
    checkpoint_digest: str,
    split: Split,
    shard: int,
    num_shards: int,
    batch_size: int,
    out: Path,
    progress: Progress,
) -> EvaluateResult:
    """Runs the detector over the files [k::n] of a split.

    Args:
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        checkpoint: Prefix of a checkpoint's files, or the folder of an export.
        checkpoint_digest: Digest of the checkpoint's bytes, or of the export's content.
        split: Which split.
        shard: k, from zero; a shard may hold no file.
        num_shards: n.
        batch_size: Images a step; no detection depends on it.
        out: Folder that will hold the shard; there whole or not at all.
        progress: Told of the images.

    Raises:
        ArtifactError: The checkpoint or the data are not those that were chosen and validated.
        DataError: A record is damaged.
    """
    if not 0 <= shard < num_shards:
        raise UsageError(f"shard {shard} of {num_shards}", expected="0 to num_shards - 1")
    resolved = read_document(ResolvedExperiment, experiment)
    data = read_document(Manifest, manifest).split(split)
    note_excluded(progress, split, data.excluded)
    total = shard_images(data, shard=shard, num_shards=num_shards)
    if not total:
        progress.note(f"{split} has fewer shards than {num_shards}: this task has none to read")
    detect = _detector(resolved, checkpoint, checkpoint_digest) if total else None
    began = time.monotonic()
    with ShardWriter(out) as writer:
        if detect is not None:
            from kfdet.models.inference import evaluate_records

            records = read_split(data, shard=shard, num_shards=num_shards)
            for batch in evaluate_records(detect, records, batch_size=batch_size):
                writer.write(batch)
                rate = writer.images / max(time.monotonic() - began, 1e-6)
                progress.update(writer.images, total=total, unit="images", images_per_s=rate)
        writer.finish(
            ShardResult(
                shard=shard,
                num_shards=num_shards,
                split=split,
                split_digest=data.digest,
                checkpoint_digest=checkpoint_digest,
                images=writer.images,
                ground_truth_boxes=writer.ground_truth_boxes,
                detections=writer.detections,
                inference_time_s=round(time.monotonic() - began, 3),
            )
        )
    return EvaluateResult(images=writer.images, detections=writer.detections)


def _detector(resolved: ResolvedExperiment, checkpoint: str, digest: str) -> Any:
    """Returns the detector of a checkpoint, or that of an export where the path is its folder."""
    if is_export(checkpoint):
        from kfdet.models.saved_model import SavedModelDetector

        folder = local_folder(checkpoint)
        present = read_export(folder).content_digest
        if present != digest:
            raise ArtifactError(
                f"is the export {present[:16]}", where=checkpoint, expected=digest[:16]
            )
        return SavedModelDetector(folder / SAVED_MODEL_FOLDER)
    prefix = check_checkpoint(checkpoint, digest=digest)
    from kfdet.models.detector import Detector

    detector = Detector(resolved)
    detector.restore(prefix)
    return detector
