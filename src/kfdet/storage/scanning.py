"""Examining every record of a data set: files read one after another, images on several cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from kfdet.core.tfrecord import Frame, FrameFault, frame_spans
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examine import Examination, examine_record
from kfdet.core.validation.examined import ShardKey
from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.partial import Partial
from kfdet.core.validation.shards import FileFacts
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import SPLITS, Split
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.copies import local_file
from kfdet.storage.files import expand_patterns, file_sha256
from kfdet.storage.quarantine import check_exclusions, read_exclusions
from kfdet.storage.records import CompressionFault, compression_of, open_frames, scan_records

_AHEAD_PER_WORKER = 8
_FRAME_CODES = {
    "length": "record-length-corrupt",
    "data": "record-data-corrupt",
    "truncated": "record-truncated",
}
_COMPRESSION_CODES: Mapping[CompressionFault, str] = {
    "damaged": "file-compression-damaged",
    "bomb": "file-bomb",
}


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The files of one split, and the patterns that match none.

    Attributes:
        excluded: File to the indices of its records that are in quarantine.
    """

    paths: tuple[str, ...]
    faults: tuple[tuple[Place, Fault], ...]
    excluded: Mapping[str, Set[int]] = field(default_factory=dict)


def split_files(dataset: DatasetConfig) -> dict[Split, SplitFiles]:
    """Finds the files of every split, in canonical order, and what of them is in quarantine.

    Raises:
        DataError: The quarantine list can't be read, or is of another data set.
    """
    found = {split: _files_of(getattr(dataset, split), split=split) for split in SPLITS}
    if dataset.quarantine is None:
        return found
    exclusions = read_exclusions(
        dataset.quarantine, {split: files.paths for split, files in found.items()}
    )
    return {
        split: replace(
            files,
            excluded={path: e.records for (own, path), e in exclusions.items() if own == split},
        )
        for split, files in found.items()
    }


def check_quarantine(
    dataset: DatasetConfig, files: Mapping[Split, SplitFiles], partials: Mapping[Split, Partial]
) -> None:
    """Makes sure that exactly the records in quarantine were left out.

    Raises:
        DataError: The list was made for other bytes, or names a record that there is not.
    """
    if dataset.quarantine is None:
        return
    exclusions = read_exclusions(
        dataset.quarantine, {split: found.paths for split, found in files.items()}
    )
    read = [file for partial in partials.values() for file in partial.files]
    check_exclusions(exclusions, read, where=dataset.quarantine)


def _files_of(patterns: Sequence[str], *, split: Split) -> SplitFiles:
    found: list[str] = []
    faults: list[tuple[Place, Fault]] = []
    for pattern in patterns:
        try:
            expand_patterns([pattern], where=f"dataset.{split}")
            found.append(pattern)
        except DataError as failure:
            fault = Fault(
                code="file-no-match",
                seen=failure.what,
                expected=failure.expected or "at least one TFRecord shard",
            )
            faults.append((Place(file=pattern, split=split), fault))
    paths = expand_patterns(found, where=f"dataset.{split}") if found else ()
    return SplitFiles(paths=paths, faults=tuple(faults))


def all_shards(files: Mapping[Split, SplitFiles]) -> tuple[ShardKey, ...]:
    """Returns every file of every split, in canonical order."""
    return tuple((split, path) for split, found in files.items() for path in found.paths)


def unmatched_patterns(files: Mapping[Split, SplitFiles]) -> dict[Split, Partial]:
    """Returns, for each split, what is known before a file is read: the patterns that match none."""
    partials = {split: Partial() for split in files}
    for split, found in files.items():
        for place, fault in found.faults:
            partials[split].log.add(place, fault)
    return partials


def scan_splits(
    files: Mapping[Split, SplitFiles],
    *,
    names: Names | None,
    progress: Progress,
    workers: int | None = None,
) -> dict[Split, Partial]:
    """Examines every record of every file.

    What comes out does not depend on the number of workers.

    Args:
        files: Split to its files.
        names: The label map's names; None when it can't be read.
        progress: Told of every image.
        workers: Threads that decode images; as many as there are cores when absent.
    """
    scans = unmatched_patterns(files)
    shards = all_shards(files)
    scanned = scan_shards(shards, files=files, names=names, progress=progress, workers=workers)
    for (split, _), partial in zip(shards, scanned, strict=True):
        scans[split].merge(partial)
    return scans


def scan_shards(
    shards: Sequence[ShardKey],
    *,
    files: Mapping[Split, SplitFiles],
    names: Names | None,
    progress: Progress,
    workers: int | None = None,
) -> Iterator[Partial]:
    """Yields what examining each shard by itself gives, in the order of the shards.

    Args:
        shards: Split and file of each.
        files: Every split's, with what of them is in quarantine.
        names: The label map's names; None when it can't be read.
        progress: Told of every image.
        workers: Threads that decode images; as many as there are cores when absent.
    """
    total = sum(_count(file) for _, file in shards)
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        progress.update(done, total=max(total, done), unit="images")

    count = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(max_workers=count) as pool:
        for split, file in shards:
            yield scan_shard(
                file,
                split=split,
                names=names,
                excluded=files[split].excluded.get(file, frozenset()),
                pool=pool,
                ahead=count * _AHEAD_PER_WORKER,
                after_each=one_more,
            )


def scan_shard(
    file: str,
    *,
    split: Split,
    names: Names | None,
    excluded: Set[int],
    pool: ThreadPoolExecutor,
    ahead: int,
    after_each: Callable[[], None],
) -> Partial:
    """Examines one file, holding no more than `ahead` records in memory; none of those excluded."""
    scan = Partial()
    met: list[int] = []

    def wanted(item: Frame | FrameFault) -> bool:
        if item.index not in excluded:
            return True
        met.append(item.index)
        after_each()
        return False

    def take_fault(kind: CompressionFault, seen: str, expected: str) -> None:
        fault = Fault(code=_COMPRESSION_CODES[kind], seen=seen, expected=expected)
        scan.log.add(Place(file=file, split=split), fault)

    scan.records.append(0)
    try:
        path = local_file(file)
        scan.files.append(
            FileFacts(
                split=split,
                name=file,
                size_bytes=path.stat().st_size,
                sha256=file_sha256(path),
                compression=compression_of(path),
            )
        )
        for code, seen, expected in _file_faults(path):
            fault = Fault(code=code, seen=seen, expected=expected)
            scan.log.add(Place(file=file, split=split), fault)
        items = filter(wanted, scan_records(path, on_fault=take_fault))
        for item, examination in _examined(items, names=names, pool=pool, ahead=ahead):
            scan.records[0] += 1
            _take(scan, item, examination, file=file, split=split)
            after_each()
        scan.files[0] = replace(scan.files[0], excluded=tuple(met))
    except (DataError, OSError) as failure:
        what = failure.what if isinstance(failure, DataError) else failure.strerror
        fault = Fault(code="file-unreadable", seen=what or str(failure), expected="a TFRecord file")
        scan.log.add(Place(file=file, split=split), fault)
        if not scan.files:
            scan.files.append(FileFacts(split=split, name=file, size_bytes=0, sha256=""))
    return scan


def _file_faults(path: Path) -> Iterator[tuple[str, str, str]]:
    if path.stat().st_size == 0:
        yield "file-empty", "0 bytes", "at least one record"
    compression = compression_of(path)
    if compression != "none":
        yield "file-compressed", compression, "a plain TFRecord file"


def _count(file: str) -> int:
    """Returns how many records a file says it has, for progress alone."""
    try:
        path = local_file(file)
        if compression_of(path) != "none":
            return 0
        with open_frames(path) as source:
            return sum(1 for _ in frame_spans(source))
    except (DataError, OSError):
        return 0


def _examined(
    items: Iterator[Frame | FrameFault],
    *,
    names: Names | None,
    pool: ThreadPoolExecutor,
    ahead: int,
) -> Iterator[tuple[Frame | FrameFault, Examination | None]]:
    """Yields records with their examinations, in order, while later ones are being examined."""
    waiting: deque[tuple[Frame | FrameFault, Future[Examination] | None]] = deque()
    for item in items:
        task = (
            pool.submit(examine_record, item.payload, names=names)
            if isinstance(item, Frame)
            else None
        )
        waiting.append((item, task))
        if len(waiting) >= ahead:
            first, ready = waiting.popleft()
            yield first, ready.result() if ready else None
    while waiting:
        first, ready = waiting.popleft()
        yield first, ready.result() if ready else None


def _take(
    scan: Partial,
    item: Frame | FrameFault,
    examination: Examination | None,
    *,
    file: str,
    split: Split,
) -> None:
    place = Place(
        file=file,
        split=split,
        record=item.index,
        byte_offset=item.offset,
        source_id=examination.source_id if examination else None,
    )
    if isinstance(item, FrameFault):
        resumes = (
            "" if item.resumes_at is None else f"; the next whole record is at {item.resumes_at:,}"
        )
        fault = Fault(
            code=_FRAME_CODES[item.kind], seen=item.seen + resumes, expected=item.expected
        )
        scan.log.add(place, fault)
    if examination is None:
        return
    for fault in examination.faults:
        scan.log.add(place, fault)
    if examination.facts is not None:
        scan.tally.add(examination.facts)
        scan.identities.add(
            examination.facts, file=file, record=item.index, byte_offset=item.offset
        )
