"""metrics: any detector's results in COCO's format, into the files that merge gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from kfdet.core.advice import advise
from kfdet.core.coco import Engine, EvaluationData, metrics_document
from kfdet.core.coco_doubts import doubts
from kfdet.core.coco_results import parse_reference, parse_results
from kfdet.core.measurement import MeasurementResult, measure, measurement_result
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.report.evaluation import evaluation_page
from kfdet.report.galleries import read_galleries
from kfdet.schema.dataset import Split
from kfdet.schema.evaluation import ShardResult
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import write_document
from kfdet.storage.evidence import write_evidence
from kfdet.storage.files import read_input
from kfdet.storage.pictures import read_image_file
from kfdet.storage.regular import stays_below


def run(
    *,
    ground_truth: Path,
    detections: Path,
    images: Path | None,
    split: Split,
    engine: Engine,
    config: MeasurementConfig,
    diagnosis: DiagnosisConfig,
    metrics: Path,
    evidence: Path,
    report: Path,
    progress: Progress,
) -> MeasurementResult:
    """Computes the COCO metrics of a results file.

    Args:
        ground_truth: COCO instances. Its SHA-256 stands for the split: metrics compare where it is
            equal.
        detections: COCO results. Its SHA-256 stands for the model.
        images: Folder of the images; no pictures in the report when None.
        split: What the metrics say of themselves.
        engine: The COCO engine.
        config: What is measured.
        diagnosis: When advice is given.
        metrics: Where the metrics are written.
        evidence: Where the folder is written that they follow from.
        report: Where the HTML report is written.
        progress: Told the result.

    Raises:
        DataError: A file is malformed, or they don't belong together; names the entries.
        ConfigError: The engine is not installed, or a feature to cut by is in no image.
    """
    truth_text, seen_text = read_input(ground_truth), read_input(detections)
    reference = parse_reference(truth_text, where=str(ground_truth))
    seen = parse_results(seen_text, reference=reference, where=str(detections))
    data = EvaluationData(
        images=reference.images, ground_truth=reference.ground_truth, detections=seen
    )
    found = measure(data, label_map=reference.label_map, engine=engine, config=config)
    origin = ShardResult(
        shard=0, num_shards=1, split=split,
        split_digest=hashlib.sha256(truth_text).hexdigest(),
        checkpoint_digest=hashlib.sha256(seen_text).hexdigest(),
        images=len(data.images), ground_truth_boxes=len(data.ground_truth),
        detections=len(seen), inference_time_s=0.0,
    )  # fmt: skip
    document = metrics_document(
        found.evaluation, data, origin, label_map=reference.label_map,
        evidence_digest=write_evidence(evidence, found.evidence), details=found.details,
    )  # fmt: skip
    write_document(metrics, document)

    def read(file: str, _record: int) -> Image.Image:
        if images is None:
            raise DataError("give the folder of the images with --images")
        if not stays_below(file):
            raise DataError("lies outside the folder of the images", where=file)
        return read_image_file(images / file)

    galleries = read_galleries(found.diagnosis, read)
    odd = tuple(doubts(reference, seen))
    for doubt in odd:
        progress.note(f"{doubt.finding} {doubt.evidence} {doubt.remedy}")
    advice = (*odd, *advise(document, config=diagnosis))
    write_text(report, evaluation_page(document, found.diagnosis, galleries, advice=advice))
    progress.report(str(report))
    return measurement_result(document)
