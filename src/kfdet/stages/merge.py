"""merge: all shards' detections into one exact evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.coco import Engine, class_metrics, concatenate, evaluate
from kfdet.core.completeness import Shard, check_complete
from kfdet.core.diagnosis import (
    Diagnosis,
    diagnose,
    images_with_false_alarms,
    images_with_misses,
    typical_images,
)
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.report.evaluation import Example, Galleries, evaluation_page
from kfdet.schema.dataset import Manifest, Split
from kfdet.schema.metrics import CocoStatistics, Metrics
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.pictures import read_picture
from kfdet.storage.shards import read_shard

_PICTURES = 8


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """Attributes:
    overall: The 12 COCO statistics.
    images: Images evaluated, also those without detections.
    detections: Detections evaluated.
    """

    overall: CocoStatistics
    images: int
    detections: int


def run(
    *,
    shards: Sequence[Path],
    manifest: Path,
    split: Split,
    engine: Engine,
    metrics: Path,
    report: Path,
    progress: Progress,
) -> MergeResult:
    """Merges the shards of one evaluation, in any order, and computes its COCO metrics.

    Args:
        shards: Folders of all the evaluate tasks.
        manifest: The manifest of the data.
        split: The split that was evaluated.
        engine: The COCO engine.
        metrics: Where the metrics are written.
        report: Where the HTML report is written.
        progress: Told the result.

    Raises:
        ArtifactError: A shard is missing, doubled, damaged, or of another split or model.
        DataError: The model answered NaN.
        ConfigError: The engine is not installed.
    """
    data_manifest = read_document(Manifest, manifest)
    part = data_manifest.split(split)
    read = [_read(folder) for folder in shards]
    complete = check_complete(read, manifest=part, split=split)
    data = concatenate([shard.data for shard in complete])
    label_map = data_manifest.label_map
    evaluation = evaluate(data, label_map=label_map, engine=engine)
    document = Metrics(
        engine=evaluation.engine,
        engine_version=evaluation.engine_version,
        split=split,
        split_digest=part.digest,
        checkpoint_digest=complete[0].result.checkpoint_digest,
        images=len(data.images),
        boxes=int((~data.ground_truth.is_crowd).sum()),
        detections=len(data.detections),
        shards=len(complete),
        overall=evaluation.overall,
        classes=class_metrics(evaluation, data, label_map=label_map),
    )
    write_document(metrics, document)
    diagnosis = diagnose(data, evaluation, label_map=label_map)
    write_text(report, evaluation_page(document, diagnosis, _galleries(diagnosis)))
    progress.report(str(report))
    return MergeResult(
        overall=document.overall, images=document.images, detections=document.detections
    )


def _galleries(diagnosis: Diagnosis) -> Galleries:
    """Reads the pictures of the report; what can't be read is said there and stops nothing."""
    images, problems = diagnosis.data.images, []

    def examples(rows: Sequence[int]) -> tuple[Example, ...]:
        found = []
        for row in rows:
            try:
                image = read_picture(images.file[row], int(images.record[row]))
                found.append(Example(row=row, image=image))
            except DataError as failure:
                problems.append(str(failure))
        return tuple(found)

    misses = examples(images_with_misses(diagnosis, count=_PICTURES).tolist())
    alarms = examples(images_with_false_alarms(diagnosis, count=_PICTURES).tolist())
    typical = examples(typical_images(diagnosis, count=_PICTURES // 2).tolist())
    note = f"{len(problems)} pictures can't be shown. {problems[0]}" if problems else ""
    return Galleries(misses=misses, false_alarms=alarms, typical=typical, unreadable=note)


def _read(folder: Path) -> Shard:
    result, data = read_shard(folder)
    return Shard(where=str(folder), result=result, data=data)
