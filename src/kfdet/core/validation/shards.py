"""Checks of the files of a split by their names, sizes and digests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from statistics import median

from kfdet.core.shard_names import ShardName, parse_shard_name
from kfdet.core.validation.findings import Fault, Place
from kfdet.schema.dataset import Compression, Split

_MOST_MISSING = 10_000
_UNEVEN_FACTOR = 4
_UNEVEN_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file of a split.

    Attributes:
        name: Its location.
        sha256: Of its bytes; empty when it can't be read.
        excluded: Indices of the records in quarantine that were met, ascending.
    """

    split: Split
    name: str
    size_bytes: int
    sha256: str
    compression: Compression = "none"
    excluded: tuple[int, ...] = ()


def file_faults(
    files: Sequence[FileFacts], *, readers: Mapping[Split, int]
) -> Iterator[tuple[Place, Fault]]:
    """Yields what is wrong with the files of all the splits, taken together.

    Args:
        files: Split by split, each in canonical order.
        readers: Split to the number of tasks that will share its files.
    """
    yield from _numbering(files)
    for split, tasks in readers.items():
        shards = sum(file.split == split for file in files)
        if 0 < shards < tasks:
            yield (
                Place(file=f"dataset.{split}", split=split),
                Fault(
                    code="shards-few",
                    seen=f"{shards} of {tasks} tasks have a shard to read",
                    expected=f"at least {tasks} shards",
                ),
            )
    yield from _copies(files)
    yield from _sizes(files)


def _numbering(files: Sequence[FileFacts]) -> Iterator[tuple[Place, Fault]]:
    families: dict[tuple[Split, str, str], list[tuple[FileFacts, ShardName]]] = defaultdict(list)
    for file in files:
        name = parse_shard_name(PurePath(file.name).name)
        if name is not None:
            families[file.split, name.stem, name.suffix].append((file, name))
    for (split, stem, _), members in families.items():
        totals = sorted({name.total for _, name in members})
        if len(totals) > 1:
            shown = " and ".join(f"-of-{total:05d}" for total in totals)
            fault = Fault(
                code="shard-totals-differ",
                seen=f"{stem}: {shown}",
                expected="shards of one set",
            )
            yield Place(file=members[0][0].name, split=split), fault
        for total in totals:
            yield from _one_set([m for m in members if m[1].total == total], total=total)


def _one_set(
    members: Sequence[tuple[FileFacts, ShardName]], *, total: int
) -> Iterator[tuple[Place, Fault]]:
    by_index: dict[int, list[FileFacts]] = defaultdict(list)
    for file, name in members:
        by_index[name.index].append(file)
    some, some_name = members[0]
    missing = (index for index in range(total) if index not in by_index)
    # A name can say that it is one of a billion.
    for index in islice(missing, _MOST_MISSING):
        absent = ShardName(stem=some_name.stem, index=index, total=total, suffix=some_name.suffix)
        yield (
            Place(file=str(PurePath(some.name).with_name(str(absent))), split=some.split),
            Fault(
                code="shard-missing",
                seen=f"{len(by_index)} of {total} shards",
                expected=f"shard {index}",
            ),
        )
    for index, files in sorted(by_index.items()):
        for file in files[1:] if index < total else files:
            seen = f"shard {index} is also {files[0].name}" if index < total else f"shard {index}"
            yield (
                Place(file=file.name, split=file.split),
                Fault(code="shard-doubled", seen=seen, expected=f"each of 0 to {total - 1} once"),
            )


def _copies(files: Sequence[FileFacts]) -> Iterator[tuple[Place, Fault]]:
    first: dict[str, FileFacts] = {}
    for file in files:
        if not file.sha256 or not file.size_bytes:
            continue
        earlier = first.setdefault(file.sha256, file)
        if earlier is not file:
            yield (
                Place(file=file.name, split=file.split),
                Fault(
                    code="file-in-two-splits",
                    seen=f"the bytes of {earlier.split} {earlier.name}",
                    expected="each file once",
                ),
            )


def _sizes(files: Sequence[FileFacts]) -> Iterator[tuple[Place, Fault]]:
    by_split: dict[Split, list[FileFacts]] = defaultdict(list)
    for file in files:
        by_split[file.split].append(file)
    for members in by_split.values():
        usual = median(file.size_bytes for file in members)
        for file in members:
            if file.size_bytes > max(_UNEVEN_FACTOR * usual, usual + _UNEVEN_BYTES):
                yield (
                    Place(file=file.name, split=file.split),
                    Fault(
                        code="shard-uneven",
                        seen=f"{file.size_bytes:,} bytes",
                        expected=f"about {usual:,.0f}, the median of {len(members)} shards",
                    ),
                )
