"""Reading the records of a split, each with the image id that the manifest gives it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from kfdet.core.detection_record import parse_record
from kfdet.core.placed_record import PlacedRecord
from kfdet.core.training_file import TrainingFile
from kfdet.errors import ArtifactError
from kfdet.schema.dataset import ShardFile, SplitManifest
from kfdet.storage.copies import local_copies
from kfdet.storage.records import read_records


def check_files(split: SplitManifest) -> None:
    """Makes sure that the shards are still there and as large as they were.

    Those in a bucket are copied to this machine for it.

    Raises:
        ArtifactError: A shard is missing or has another size; names the file.
    """
    _local_copies(split.shards)


def on_this_machine(split: SplitManifest) -> SplitManifest:
    """Returns a split whose shards are files of this machine."""
    local = (
        file.model_copy(update={"uri": str(path)}) for file, path in _local_copies(split.shards)
    )
    return split.model_copy(update={"shards": tuple(local)})


def training_files(split: SplitManifest) -> tuple[TrainingFile, ...]:
    """Returns the shards as training reads them, without the records in quarantine."""
    return tuple(
        TrainingFile(
            uri=str(path),
            compression=file.compression,
            payloads=functools.partial(_payloads, file, path) if file.excluded else None,
        )
        for file, path in _local_copies(split.shards)
    )


def _payloads(file: ShardFile, path: Path) -> Iterator[bytes]:
    for frame in read_records(path, excluded=frozenset(file.excluded)):
        yield frame.payload


def shard_images(split: SplitManifest, *, shard: int, num_shards: int) -> int:
    """Returns the number of images of shard k of n: that of the files [k::n]."""
    return sum(file.records for file in split.shards[shard::num_shards])


def read_split(
    split: SplitManifest, *, shard: int = 0, num_shards: int = 1
) -> Iterator[PlacedRecord]:
    """Yields the records of the files [k::n] in ascending order of image id.

    Raises:
        ArtifactError: A file is missing, or has another size or number of records than validated.
        DataError: A record is damaged; names file and record.
    """
    first = 0
    for index, file in enumerate(split.shards):
        if index % num_shards == shard:
            yield from _read_file(file, first_image_id=first)
        first += file.records


def _read_file(file: ShardFile, *, first_image_id: int) -> Iterator[PlacedRecord]:
    _local_copies([file])
    records = 0
    for frame in read_records(file.uri, excluded=frozenset(file.excluded)):
        yield PlacedRecord(
            image_id=first_image_id + records,
            file=file.uri,
            index=frame.index,
            payload=frame.payload,
            record=parse_record(frame.payload, where=f"{file.uri} record {frame.index}"),
        )
        records += 1
    if records != file.records:
        raise _changed(
            file,
            f"it holds {records:,} records" + (" beside those excluded" if file.excluded else ""),
            f"{file.records:,}",
        )


def _local_copies(files: Sequence[ShardFile]) -> list[tuple[ShardFile, Path]]:
    """Returns each shard with a file of this machine that has its bytes."""
    try:
        copies = local_copies([file.uri for file in files])
        found = [(file, copies[file.uri], copies[file.uri].stat().st_size) for file in files]
    except OSError as failure:
        raise ArtifactError(
            f"can't read: {failure.strerror}",
            where=str(failure.filename),
            expected="the shard that was validated",
            remedy="Put it back, or run validate again.",
        ) from failure
    for file, _, size_bytes in found:
        if size_bytes != file.size_bytes:
            raise _changed(file, f"it has {size_bytes:,} bytes", f"{file.size_bytes:,}")
    return [(file, path) for file, path, _ in found]


def _changed(file: ShardFile, seen: str, expected: str) -> ArtifactError:
    return ArtifactError(
        seen,
        where=file.uri,
        expected=f"{expected}, as when it was validated",
        remedy="The file has changed since: run validate again.",
    )
