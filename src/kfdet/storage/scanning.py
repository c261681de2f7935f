"""Examining every record of a data set: stretches of files, on several cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examined import ShardKey
from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.partial import Partial
from kfdet.core.validation.shards import FileFacts
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import SPLITS, Compression, Split
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.copies import local_file
from kfdet.storage.examining import (
    Examined,
    Sampling,
    Stretch,
    examine_stretch,
    stretches_of,
    unreadable,
)
from kfdet.storage.files import file_sha256, in_order, matching_files, name_fault
from kfdet.storage.locations import is_remote
from kfdet.storage.quarantine import check_exclusions, read_exclusions
from kfdet.storage.records import compression_of
from kfdet.storage.stores import store_of
from kfdet.storage.workers import worker_count, worker_pool
from kfdet.visible import visible_line

_AHEAD = 4
_LITTLE_BYTES = 4 << 20
_PLACED_A_SPLIT = 120


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The files of one split, the patterns that match none, and the files that can't be named.

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
    found: set[str] = set()
    faults: dict[str, Fault] = {}
    for pattern in patterns:
        try:
            found.update(matching_files(pattern, where=f"dataset.{split}"))
        except DataError as failure:
            faults[pattern] = Fault(
                code="file-no-match",
                seen=failure.what,
                expected=failure.expected or "at least one TFRecord shard",
            )
    unusable = {file: fault for file in in_order(found) if (fault := name_fault(file)) is not None}
    for file, fault in unusable.items():
        faults[visible_line(file)] = Fault(
            code="file-name-unusable",
            seen=f"its name {fault}",
            expected="UTF-8 text, all of which can be shown",
        )
    return SplitFiles(
        paths=in_order(found - unusable.keys()),
        faults=tuple((Place(file=place, split=split), fault) for place, fault in faults.items()),
    )


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
    meanwhile: Callable[[], object] | None = None,
) -> dict[Split, Partial]:
    """Examines every record of every file.

    What comes out does not depend on the number of workers.

    Args:
        files: Split to its files.
        names: The label map's names; None when it can't be read.
        progress: Told of every image.
        workers: As `scan_shards` takes it.
        meanwhile: As `scan_shards` takes it.
    """
    scans = unmatched_patterns(files)
    shards = all_shards(files)
    scanned = scan_shards(
        shards, files=files, names=names, progress=progress, workers=workers, meanwhile=meanwhile
    )
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
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[Partial]:
    """Yields what examining each shard by itself gives, in the order of the shards.

    Args:
        shards: Split and file of each.
        files: Every split's, with what of them is in quarantine.
        names: The label map's names; None when it can't be read.
        progress: Told of every stretch.
        workers: Processes that examine; as many as there are cores when absent.
        meanwhile: Called once while they do.

    Raises:
        StorageError: A worker was killed.
    """
    total_bytes = sum(_size(file) for _, file in shards)
    meter = _Meter(progress, total_bytes=total_bytes)
    count = workers or worker_count()
    with worker_pool(count, for_little=total_bytes < _LITTLE_BYTES) as pool:
        waiting: deque[tuple[_Shard, Future[Examined] | None]] = deque()
        for shard, stretch in _stretches(shards, files, pool):
            task = pool.submit(examine_stretch, stretch, names=names) if stretch else None
            waiting.append((shard, task))
            while len(waiting) > count * _AHEAD:
                if meanwhile is not None:
                    meanwhile()
                    meanwhile = None
                yield from _finish(*waiting.popleft(), meter=meter)
        while waiting:
            yield from _finish(*waiting.popleft(), meter=meter)
    meter.end()


@dataclass(kw_only=True)
class _Shard:
    """One file while it is examined.

    Attributes:
        file: Its location.
        scan: What is known of it, stretch by stretch.
        sha256: Of its bytes; None where it can't be read.
        late: Why it can't be read, or not to its end.
    """

    split: Split
    file: str
    scan: Partial = field(default_factory=Partial)
    size_bytes: int = 0
    sha256: Future[str] | None = None
    compression: Compression = "none"
    excluded: list[int] = field(default_factory=list)
    late: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Adds a fault of the file as a whole."""
        self.scan.log.add(Place(file=self.file, split=self.split), fault)


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


def _samplings(files: Mapping[Split, SplitFiles]) -> dict[ShardKey, Sampling]:
    samplings = {}
    for split, found in files.items():
        sizes = [_size(file) for file in found.paths]
        step = max(1, sum(sizes) // _PLACED_A_SPLIT)
        for file, before in zip(found.paths, accumulate(sizes, initial=0), strict=False):
            samplings[split, file] = Sampling(before_bytes=before, step_bytes=step)
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


def _stretches(
    shards: Sequence[ShardKey], files: Mapping[Split, SplitFiles], pool: Executor
) -> Iterator[tuple[_Shard, Stretch | None]]:
    """Yields each shard in stretches, and after the last of them None."""
    samplings = _samplings(files)
    for split, file in shards:
        shard = _Shard(split=split, file=file)
        try:
            path = _opened(shard, pool)
            whole = Stretch(
                split=split,
                file=file,
                path=path,
                sampling=samplings[split, file],
                excluded=files[split].excluded.get(file, frozenset()),
            )
            yield from ((shard, stretch) for stretch in stretches_of(whole))
        except (DataError, OSError) as failure:
            shard.late.append(unreadable(failure))
        yield shard, None


def _opened(shard: _Shard, pool: Executor) -> Path:
    """Learns what a file is as a whole; returns where its bytes are on this machine."""
    path = local_file(shard.file)
    shard.compression = compression_of(path)
    shard.size_bytes = path.stat().st_size
    shard.sha256 = pool.submit(file_sha256, path)
    if shard.size_bytes == 0:
        shard.add(Fault(code="file-empty", seen="0 bytes", expected="at least one record"))
    if shard.compression != "none":
        shard.add(
            Fault(code="file-compressed", seen=shard.compression, expected="a plain TFRecord file")
        )
    return path


def _finish(shard: _Shard, task: Future[Examined] | None, *, meter: _Meter) -> Iterator[Partial]:
    """Takes in a stretch when it is done; yields the shard after its last."""
    if task is not None:
        found = task.result()
        shard.scan.merge(found.partial)
        shard.excluded += found.excluded
        shard.late += [found.unreadable] if found.unreadable else []
        meter.add(found.partial.records[0], size_bytes=found.size_bytes)
        return
    facts = FileFacts(split=shard.split, name=shard.file, size_bytes=0, sha256="")
    try:
        if shard.sha256 is not None:
            facts = replace(
                facts,
                sha256=shard.sha256.result(),
                size_bytes=shard.size_bytes,
                compression=shard.compression,
                excluded=tuple(shard.excluded),
            )
    except OSError as failure:
        shard.late.append(unreadable(failure))
    for fault in shard.late[:1]:
        shard.add(fault)
    whole = Partial(files=[facts], records=[sum(shard.scan.records)])
    shard.scan.records.clear()
    whole.merge(shard.scan)
    yield whole
