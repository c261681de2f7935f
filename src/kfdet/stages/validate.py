"""validate: every record of a data set, before anything else is spent on it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.label_map import NamedClasses
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import SeverityOrOff, severities
from kfdet.core.validation.findings import Fault, FindingLog, Place, failure_text
from kfdet.core.validation.partial import Partial, statistics_of, whole_log
from kfdet.core.validation.quarantine import quarantine_of
from kfdet.core.validation.samples import conspicuous, ordinary, worst
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import Findings, Split, SplitStatistics, Statistics
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.atomic import write_text
from kfdet.storage.dataset import data_digest as digest_of_data
from kfdet.storage.dataset import side_digests
from kfdet.storage.documents import write_document
from kfdet.storage.files import file_sha256
from kfdet.storage.label_maps import read_named_classes
from kfdet.storage.manifests import manifest_of, split_files_digest
from kfdet.storage.quarantine import earlier_list, note_excluded
from kfdet.storage.samples import read_groups_of_samples, read_samples
from kfdet.storage.scanning import check_quarantine, scan_splits, split_files


@dataclass(frozen=True, kw_only=True)
class ValidateResult:
    """Attributes:
    manifest_digest: Equal digests mean the same records at the same places.
    boxes: Of all splits together.
    excluded: Records that dataset.quarantine leaves out, of all splits together.
    errors, warnings: Findings of that severity; where there is a result there are no errors.
    """

    manifest_digest: str
    train_images: int
    val_images: int
    test_images: int
    boxes: int
    excluded: int
    errors: int
    warnings: int


def run(
    *,
    dataset: DatasetConfig,
    manifest: Path,
    statistics: Path,
    findings: Path,
    report: Path,
    progress: Progress,
    data_digest: str | None = None,
    quarantine: Path | None = None,
    groups: Sequence[Path] = (),
    readers: int = 1,
) -> ValidateResult:
    """Checks every record; manifest and statistics are there only if no finding is an error.

    Records that `examine` has looked at are not read again: what it found is merged, and what comes
    out is the same, file by file.

    Args:
        dataset: Patterns of the splits, label map, and severities other than the catalogue's.
        manifest: Where shards, counts and digests are written.
        statistics: Where class counts and distributions are written.
        findings: Where what is wrong is written, and where it is.
        report: Where the HTML report is written.
        progress: Told of every image.
        data_digest: Digest that the data had when the run began; other data are refused.
        quarantine: Where the records with errors are listed, for `kfdet data exclude`.
        groups: Folders of all the groups that `examine` wrote, in any order; none: examine every
            shard here.
        readers: Tasks that will share the test split's shards.

    Raises:
        ArtifactError: A group is missing, doubled, damaged or of other data.
        DataError: A finding is an error; findings and report are written all the same. Or the list
            in dataset.quarantine is not of these data.
        ConfigError: A severity is given for a code that there is not.
    """
    levels = severities(dataset.severities)
    for earlier in (manifest, statistics):
        earlier.unlink(missing_ok=True)
    log = FindingLog()
    classes = _named_classes(dataset.label_map, log)
    names = Names(aliases=classes.aliases) if classes else None
    files = split_files(dataset)
    if groups:
        # Parquet takes as long to import as a thousand images to examine.
        from kfdet.storage.examinations import read_groups

        partials = read_groups(
            groups,
            files=files,
            label_map_sha256=file_sha256(dataset.label_map) if classes else None,
            data_digest=data_digest,
        )
    else:
        # What the page needs takes as long to import as a thousand images to examine, too.
        partials = scan_splits(
            files,
            names=names,
            progress=progress,
            meanwhile=lambda: importlib.import_module("kfdet.report.data"),
        )
    check_quarantine(dataset, files, partials)
    log.merge(
        whole_log(partials, names=names, label_map=dataset.label_map, readers={"test": readers})
    )
    for split, partial in partials.items():
        note_excluded(progress, split, sum(len(file.excluded) for file in partial.files))
    found = log.findings(levels)
    write_document(findings, found)
    if quarantine is not None:
        read = [file for partial in partials.values() for file in partial.files]
        write_document(
            quarantine, quarantine_of(log, levels, files=read, earlier=earlier_list(dataset))
        )
    class_names = {label.id: label.name for label in classes.label_map.classes} if classes else {}
    splits = statistics_of(partials, names=class_names)
    page = _page(
        dataset,
        class_names,
        partials=partials,
        splits=splits,
        found=found,
        log=log,
        levels=levels,
    )
    write_text(report, page)
    progress.report(str(report))
    if found.errors:
        raise DataError(failure_text(found), remedy=f"{report} shows more of them.")
    if classes is None:
        raise DataError("can't be read, whatever its severity", where=dataset.label_map)
    _check_unchanged(dataset, partials, data_digest)
    document = manifest_of(partials, label_map=classes.label_map)
    by_split = Statistics(train=splits["train"], val=splits["val"], test=splits["test"])
    write_document(statistics, by_split)
    write_document(manifest, document)
    return ValidateResult(
        manifest_digest=document.fingerprint(),
        train_images=document.train.images,
        val_images=document.val.images,
        test_images=document.test.images,
        boxes=sum(split.boxes for split in splits.values()),
        excluded=sum(document.split(split).excluded for split in splits),
        errors=found.errors,
        warnings=found.warnings,
    )


def _named_classes(path: str, log: FindingLog) -> NamedClasses | None:
    try:
        return read_named_classes(path)
    except DataError as failure:
        fault = Fault(
            code="label-map-unreadable",
            seen=failure.what,
            expected=failure.expected or "classes with ids from 1 and names",
        )
        log.add(Place(file=failure.where or path), fault)
        return None


def _page(
    dataset: DatasetConfig,
    class_names: Mapping[int, str],
    *,
    partials: Mapping[Split, Partial],
    splits: Mapping[Split, SplitStatistics],
    found: Findings,
    log: FindingLog,
    levels: Mapping[str, SeverityOrOff],
) -> str:
    from kfdet.report.data import DataReport, build

    return build(
        DataReport(
            name=Path(dataset.label_map).absolute().parent.name or dataset.label_map,
            findings=found,
            statistics=splits,
            class_names=class_names,
            files=[
                pair
                for partial in partials.values()
                for pair in zip(partial.files, partial.records, strict=True)
            ],
            samples=read_samples(ordinary(partials)),
            exhibits=read_groups_of_samples(conspicuous(log, levels)),
            worst=read_samples(worst(log, levels)),
        )
    )


def _check_unchanged(
    dataset: DatasetConfig, partials: Mapping[Split, Partial], expected: str | None
) -> None:
    """Refuses data other than those the run was started with: its cache keys would lie."""
    digests = {str(split): split_files_digest(partial) for split, partial in partials.items()}
    seen = digest_of_data({**digests, **side_digests(dataset)})
    if expected is not None and seen != expected:
        raise DataError(
            f"the data have the digest {seen[:12]}",
            where="dataset",
            expected=f"{expected[:12]}, as when the run began",
            remedy="Something wrote to the data set meanwhile: start the run again.",
        )
