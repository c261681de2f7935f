"""Examining every record of a data set: files read one after another, images on several cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from kfdet.core.tfrecord import Frame, FrameFault
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examine import examine_records
from kfdet.core.validation.examined import ShardKey
from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.partial import Partial
from kfdet.core.validation.shards import FileFacts
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import SPLITS, Compression, Split
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.copies import local_file
from kfdet.storage.files import expand_patterns, file_sha256
from kfdet.storage.locations import is_remote
from kfdet.storage.quarantine import check_exclusions, read_exclusions
from kfdet.storage.records import CompressionFault, compression_of, scan_records
from kfdet.storage.stores import store_of

_BATCH_RECORDS = 32
_BATCH_BYTES = 4 << 20
_BATCHES_AHEAD = 3
_PLACED_A_SPLIT = 200
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

    Records are read one after another and examined in batches on several cores: decoding, checksums
    and digests leave the interpreter to others. No more than a few batches are in memory.

    Args:
        shards: Split and file of each.
        files: Every split's, with what of them is in quarantine.
        names: The label map's names; None when it can't be read.
        progress: Told of every batch.
        workers: Threads that decode images; as many as there are cores when absent.
    """
    count = workers or len(os.sched_getaffinity(0))
    meter = _Meter(progress, total_bytes=sum(_size(file) for _, file in shards))
    waiting: deque[tuple[_Shard, _Batch | None, Future[Partial] | None]] = deque()
    with ThreadPoolExecutor(max_workers=count) as pool:
        for shard, batch in _batches(shards, files, pool):
            task = (
                pool.submit(_examined, batch, shard=shard, names=names)
                if batch is not None
                else None
            )
            waiting.append((shard, batch, task))
            while len(waiting) > count * _BATCHES_AHEAD:
                yield from _finish(*waiting.popleft(), meter=meter)
        while waiting:
            yield from _finish(*waiting.popleft(), meter=meter)
    meter.end()


@dataclass(kw_only=True)
class _Shard:
    """One file while it is examined.

    Attributes:
        file: Its location.
        scan: What is known of it, batch by batch.
        sampling: Decides whose boxes are looked at in their images.
        sha256: Of its bytes; None where it can't be read.
    """

    split: Split
    file: str
    sampling: _Sampling
    scan: Partial = field(default_factory=Partial)
    size_bytes: int = 0
    sha256: Future[str] | None = None
    compression: Compression = "none"
    excluded: tuple[int, ...] = ()
    met: list[int] = field(default_factory=list)
    late: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Adds a fault of the file as a whole."""
        self.scan.log.add(Place(file=self.file, split=self.split), fault)


@dataclass(kw_only=True)
class _Batch:
    items: list[Frame | FrameFault] = field(default_factory=list)
    size_bytes: int = 0


class _Meter:
    """Tells of progress: how many images there will be follows from the bytes that are left."""

    def __init__(self, progress: Progress, *, total_bytes: int) -> None:
        self._progress = progress
        self._total_bytes = total_bytes
        self._bytes = 0
        self._done = 0

    def add(self, records: int, *, size_bytes: int) -> None:
        self._done += records
        self._bytes += size_bytes
        left = self._total_bytes / max(self._bytes, 1)
        total = max(self._done + 1, round(self._done * left))
        self._progress.update(self._done, total=total, unit="images")

    def end(self) -> None:
        self._progress.update(self._done, total=self._done, unit="images")


class _Sampling:
    """Chooses records of a split at even distances through its bytes: about `_PLACED_A_SPLIT`.

    Which they are follows from the files of the split alone, so that any group of them chooses
    the same. A split with fewer records has all of them chosen.

    Args:
        before_bytes: Of the files before this one.
        split_bytes: Of all files of the split.
    """

    def __init__(self, *, before_bytes: int, split_bytes: int) -> None:
        self._before = before_bytes
        self._step = max(1, split_bytes // _PLACED_A_SPLIT)

    def chooses(self, frame: Frame) -> bool:
        begin = self._before + frame.offset
        return begin // self._step != (begin + len(frame.payload)) // self._step


def _samplings(files: Mapping[Split, SplitFiles]) -> dict[ShardKey, _Sampling]:
    samplings = {}
    for split, found in files.items():
        sizes = [_size(file) for file in found.paths]
        before = accumulate(sizes, initial=0)
        for file, begin in zip(found.paths, before, strict=False):
            samplings[split, file] = _Sampling(before_bytes=begin, split_bytes=sum(sizes))
    return samplings


def _size(file: str) -> int:
    """Returns the bytes of a file, 0 where there is none that can be read."""
    if is_remote(file):
        found = store_of(file).find(file)
        return found.size_bytes if found else 0
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _batches(
    shards: Sequence[ShardKey], files: Mapping[Split, SplitFiles], pool: ThreadPoolExecutor
) -> Iterator[tuple[_Shard, _Batch | None]]:
    """Yields the records of each shard in batches, and after the last of them None."""
    samplings = _samplings(files)
    for split, file in shards:
        shard = _Shard(split=split, file=file, sampling=samplings[split, file])
        excluded = files[split].excluded.get(file, frozenset())
        try:
            yield from ((shard, batch) for batch in _batches_of(shard, excluded, pool))
        except (DataError, OSError) as failure:
            what = failure.what if isinstance(failure, DataError) else failure.strerror
            shard.late.append(_unreadable(what or str(failure)))
        yield shard, None


def _batches_of(shard: _Shard, excluded: Set[int], pool: ThreadPoolExecutor) -> Iterator[_Batch]:
    path = local_file(shard.file)
    shard.size_bytes = path.stat().st_size
    shard.compression = compression_of(path)
    shard.sha256 = pool.submit(file_sha256, path)
    if shard.size_bytes == 0:
        shard.add(Fault(code="file-empty", seen="0 bytes", expected="at least one record"))
    if shard.compression != "none":
        shard.add(
            Fault(code="file-compressed", seen=shard.compression, expected="a plain TFRecord file")
        )

    def take_fault(kind: CompressionFault, seen: str, expected: str) -> None:
        shard.add(Fault(code=_COMPRESSION_CODES[kind], seen=seen, expected=expected))

    batch = _Batch()
    for item in scan_records(path, on_fault=take_fault):
        if item.index in excluded:
            shard.met.append(item.index)
            continue
        batch.items.append(item)
        batch.size_bytes += len(item.payload) if isinstance(item, Frame) else 0
        if len(batch.items) >= _BATCH_RECORDS or batch.size_bytes >= _BATCH_BYTES:
            yield batch
            batch = _Batch()
    yield batch
    shard.excluded = tuple(shard.met)


def _unreadable(what: str) -> Fault:
    return Fault(code="file-unreadable", seen=what, expected="a TFRecord file")


def _finish(
    shard: _Shard, batch: _Batch | None, task: Future[Partial] | None, *, meter: _Meter
) -> Iterator[Partial]:
    """Takes in a batch when it is done; yields the shard after its last."""
    if batch is not None and task is not None:
        shard.scan.merge(task.result())
        meter.add(len(batch.items), size_bytes=batch.size_bytes)
        return
    facts = FileFacts(split=shard.split, name=shard.file, size_bytes=0, sha256="")
    try:
        if shard.sha256 is not None:
            facts = replace(
                facts,
                sha256=shard.sha256.result(),
                size_bytes=shard.size_bytes,
                compression=shard.compression,
                excluded=shard.excluded,
            )
    except OSError as failure:
        shard.late.append(_unreadable(failure.strerror or str(failure)))
    for fault in shard.late[:1]:
        shard.add(fault)
    whole = Partial(files=[facts], records=[sum(shard.scan.records)])
    shard.scan.records.clear()
    whole.merge(shard.scan)
    yield whole


def _examined(batch: _Batch, *, shard: _Shard, names: Names | None) -> Partial:
    """Returns what a batch of records gives; its number of records is the only entry of `records`."""
    frames = [item for item in batch.items if isinstance(item, Frame)]
    examinations = iter(
        examine_records(
            [frame.payload for frame in frames],
            names=names,
            placed=[shard.sampling.chooses(frame) for frame in frames],
        )
    )
    part = Partial(records=[len(batch.items)])
    facts = []
    for item in batch.items:
        seen = next(examinations) if isinstance(item, Frame) else None
        place = Place(
            file=shard.file,
            split=shard.split,
            record=item.index,
            byte_offset=item.offset,
            source_id=seen.source_id if seen else None,
        )
        if isinstance(item, FrameFault):
            part.log.add(place, _frame_fault(item))
        if seen is None:
            continue
        for fault in seen.faults:
            part.log.add(place, fault)
        if seen.facts is not None:
            facts.append(seen.facts)
            part.identities.add(
                seen.facts, file=place.file, record=item.index, byte_offset=item.offset
            )
    part.tally.add_all(facts)
    return part


def _frame_fault(item: FrameFault) -> Fault:
    resumes = (
        "" if item.resumes_at is None else f"; the next whole record is at {item.resumes_at:,}"
    )
    return Fault(code=_FRAME_CODES[item.kind], seen=item.seen + resumes, expected=item.expected)
