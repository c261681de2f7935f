"""validate: every record of a data set, before anything else is spent on it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.label_map import NamedClasses
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import SeverityOrOff, severities
from kfdet.core.validation.findings import Fault, FaultyDataError, FindingLog, Place
from kfdet.core.validation.partial import Partial, statistics_of, whole_log
from kfdet.core.validation.quarantine import quarantine_of
from kfdet.core.validation.samples import conspicuous, ordinary, worst
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import Findings, Quarantine, Split, SplitStatistics, Statistics
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
    counts: Finding code to number.
    errors, warnings: Findings of that severity; where there is a result there are no errors.
    """

    manifest_digest: str
    train_images: int
    val_images: int
    test_images: int
    boxes: int
    excluded: int
    counts: Mapping[str, int]
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
        FaultyDataError: A finding is an error; findings and report are written all the same.
        DataError: The list in dataset.quarantine is not of these data.
        ConfigError: A severity is given for a code that there is not.
    """
    levels = severities(dataset.severities)
    for earlier in (manifest, statistics):
        earlier.unlink(missing_ok=True)
    seen = _seen(dataset, groups, progress=progress, data_digest=data_digest, readers=readers)
    found = seen.log.findings(levels)
    write_document(findings, found)
    if quarantine is not None:
        write_document(quarantine, _quarantine(seen, levels))
    splits = statistics_of(seen.partials, names=seen.class_names)
    write_text(report, _page(seen, found, splits=splits, levels=levels))
    progress.report(str(report))
    if found.errors:
        raise FaultyDataError(found, remedy=f"{report} shows more of them.")
    if seen.classes is None:
        raise DataError("can't be read, whatever its severity", where=dataset.label_map)
    _check_unchanged(seen, data_digest)
    document = manifest_of(seen.partials, label_map=seen.classes.label_map)
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
        counts=found.counts,
        errors=found.errors,
        warnings=found.warnings,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the data set holds.

    Attributes:
        classes: None where the label map can't be read.
        partials: Split to all its shards, merged.
        log: Every fault, of shards, splits and label map.
    """

    dataset: DatasetConfig
    classes: NamedClasses | None
    partials: Mapping[Split, Partial]
    log: FindingLog

    @property
    def class_names(self) -> dict[int, str]:
        labels = self.classes.label_map.classes if self.classes else ()
        return {label.id: label.name for label in labels}


def _seen(
    dataset: DatasetConfig,
    groups: Sequence[Path],
    *,
    progress: Progress,
    data_digest: str | None,
    readers: int,
) -> _Seen:
    """Reads what groups found, or examines every shard here."""
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
    for split, partial in partials.items():
        note_excluded(progress, split, sum(len(file.excluded) for file in partial.files))
    log.merge(
        whole_log(partials, names=names, label_map=dataset.label_map, readers={"test": readers})
    )
    return _Seen(dataset=dataset, classes=classes, partials=partials, log=log)


def _quarantine(seen: _Seen, levels: Mapping[str, SeverityOrOff]) -> Quarantine:
    read = [file for partial in seen.partials.values() for file in partial.files]
    return quarantine_of(seen.log, levels, files=read, earlier=earlier_list(seen.dataset))


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
    seen: _Seen,
    found: Findings,
    *,
    splits: Mapping[Split, SplitStatistics],
    levels: Mapping[str, SeverityOrOff],
) -> str:
    from kfdet.report.data import DataReport, build

    label_map = seen.dataset.label_map
    return build(
        DataReport(
            name=Path(label_map).absolute().parent.name or label_map,
            findings=found,
            statistics=splits,
            class_names=seen.class_names,
            files=[
                pair
                for partial in seen.partials.values()
                for pair in zip(partial.files, partial.records, strict=True)
            ],
            samples=read_samples(ordinary(seen.partials)),
            exhibits=read_groups_of_samples(conspicuous(seen.log, levels)),
            worst=read_samples(worst(seen.log, levels)),
        )
    )


def _check_unchanged(seen: _Seen, expected: str | None) -> None:
    """Refuses data other than those the run was started with: its cache keys would lie."""
    digests = {str(split): split_files_digest(partial) for split, partial in seen.partials.items()}
    digest = digest_of_data({**digests, **side_digests(seen.dataset)})
    if expected is not None and digest != expected:
        raise DataError(
            f"the data have the digest {digest[:12]}",
            where="dataset",
            expected=f"{expected[:12]}, as when the run began",
            remedy="Something wrote to the data set meanwhile: start the run again.",
        )
