"""Validates the records of a data set, before anything else is spent on it."""

from typing import List, NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import light_component


@light_component
def validate(
    dataset: str,
    data_digest: str,
    groups: Input[List[Artifact]],
    manifest: Output[Artifact],
    statistics: Output[Artifact],
    findings: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("manifest_digest", str)]):
    """Puts the examined groups together and writes manifest, statistics and findings; bad data ends the run.

    Args:
        dataset: The section `dataset` of the run configuration, as JSON.
        data_digest: Digest of the data's bytes; a run with other bytes is a run of its own.
        groups: The folders of all the examine tasks, in any order.
        manifest: Shards, counts and digests of every split.
        statistics: Class counts and distributions of every split.
        findings: What is wrong with the data, and where.
        metrics: Images, boxes, errors and warnings.
        report: Samples with boxes, class counts, sizes and findings.

    Returns:
        manifest_digest: Digest of the manifest.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.run_config import DatasetConfig
    from kfdet.stages import validate as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("validate") as progress:
        result = stage.run(
            dataset=parse_json(DatasetConfig, dataset, where="dataset"),
            data_digest=data_digest,
            groups=[Path(artifact.path) for artifact in groups],
            manifest=Path(manifest.path),
            statistics=Path(statistics.path),
            findings=Path(findings.path),
            report=Path(report.path),
            progress=progress,
        )
        write_scalars(
            metrics,
            train_images=result.train_images,
            val_images=result.val_images,
            test_images=result.test_images,
            boxes=result.boxes,
            excluded=result.excluded,
            errors=result.errors,
            warnings=result.warnings,
        )
    return (result.manifest_digest,)
