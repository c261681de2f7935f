"""merge: all shards' detections into one exact evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kfdet.core.advice import advise
from kfdet.core.coco import Engine, concatenate, metrics_document
from kfdet.core.completeness import Shard, check_complete
from kfdet.core.measurement import MeasurementResult, measure, measurement_result
from kfdet.progress import Progress
from kfdet.report.evaluation import evaluation_page
from kfdet.report.galleries import read_galleries
from kfdet.schema.dataset import Manifest, Split
from kfdet.schema.feasibility import Feasibility
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.evidence import write_evidence
from kfdet.storage.pictures import read_picture
from kfdet.storage.shards import read_shard


def run(
    *,
    shards: Sequence[Path],
    manifest: Path,
    split: Split,
    engine: Engine,
    config: MeasurementConfig,
    diagnosis: DiagnosisConfig,
    feasibility: Path | None = None,
    metrics: Path,
    evidence: Path,
    report: Path,
    progress: Progress,
) -> MeasurementResult:
    """Merges the shards of one evaluation, in any order, and computes its COCO metrics.

    Args:
        shards: Folders of all the evaluate tasks.
        manifest: The manifest of the data.
        split: The split that was evaluated.
        engine: The COCO engine.
        config: What is measured.
        diagnosis: When advice is given.
        feasibility: What was found before training; None when it was not looked at.
        metrics: Where the metrics are written.
        evidence: Where the folder is written that they follow from.
        report: Where the HTML report is written.
        progress: Told the result.

    Raises:
        ArtifactError: A shard is missing, doubled, damaged, or of another split or model.
        DataError: The model answered NaN.
        ConfigError: The engine is not installed, or a feature to cut by is in no record.
    """
    data_manifest = read_document(Manifest, manifest)
    part = data_manifest.split(split)
    read = [_read(folder) for folder in shards]
    complete = check_complete(read, manifest=part, split=split)
    data = concatenate([shard.data for shard in complete])
    label_map = data_manifest.label_map
    found = measure(data, label_map=label_map, engine=engine, config=config)
    document = metrics_document(
        found.evaluation, data, complete[0].result, label_map=label_map,
        evidence_digest=write_evidence(evidence, found.evidence), details=found.details,
    )  # fmt: skip
    write_document(metrics, document)
    galleries = read_galleries(found.diagnosis, read_picture)
    foreseen = read_document(Feasibility, feasibility) if feasibility else None
    advice = advise(document, config=diagnosis, feasibility=foreseen)
    write_text(report, evaluation_page(document, found.diagnosis, galleries, advice=advice))
    progress.report(str(report))
    return measurement_result(document)


def _read(folder: Path) -> Shard:
    result, data = read_shard(folder)
    return Shard(where=str(folder), result=result, data=data)
