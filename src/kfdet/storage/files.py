"""Finding files by pattern and naming their content by digest."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

from kfdet.errors import DataError
from kfdet.storage.copies import local_copies, local_file
from kfdet.storage.locations import is_remote, literal_prefix, matches, name_of
from kfdet.storage.regular import open_regular
from kfdet.storage.stores import store_of
from kfdet.visible import visible_line


def expand_patterns(patterns: Sequence[str], *, where: str) -> tuple[str, ...]:
    """Returns the locations that match, sorted by name: the canonical order of shards.

    Args:
        patterns: Glob patterns or plain paths, relative to the working directory, or gs:// addresses
            with the same wildcards.
        where: What the patterns are for, for the error: `dataset.train`.

    Raises:
        DataError: A pattern matches no file, or one whose name is no text.
        ConfigError: A pattern is for a kind of place that is not known.
        StorageError: A bucket can't be listed.
    """
    found: set[str] = set()
    for pattern in patterns:
        files = matching_files(pattern, where=where)
        for location in files:
            if (fault := name_fault(location)) is not None:
                raise DataError(f"its name {fault}", where=location, remedy="Rename the file.")
        found.update(files)
    return in_order(found)


def in_order(locations: Iterable[str]) -> tuple[str, ...]:
    """Returns locations in the canonical order of shards: by name, and then by folder."""
    return tuple(sorted(locations, key=lambda location: (name_of(location), location)))


def matching_files(pattern: str, *, where: str) -> list[str]:
    """Returns what one pattern matches and is no folder, in no order.

    A pipe, a device or a link that leads nowhere is among them: whoever reads it says so, where
    leaving it out would lose a shard without a word.

    Raises:
        DataError: There is nothing.
        ConfigError: The pattern is for a kind of place that is not known.
        StorageError: A bucket can't be listed.
    """
    remote = is_remote(pattern)
    files = _objects_like(pattern) if remote else _files_like(pattern)
    if not files:
        raise DataError(
            f'no file matches "{pattern}"',
            where=where,
            expected="at least one TFRecord shard",
            remedy="Check the address."
            if remote
            else f"Check the path; it is relative to {Path.cwd()}.",
        )
    return files


def name_fault(location: str) -> str | None:
    """Returns what keeps a file's name out of manifests and logs, None for a name like any other."""
    try:
        location.encode()
    except UnicodeEncodeError:
        return "is no UTF-8 text"
    return "holds characters that can't be shown" if visible_line(location) != location else None


def _files_like(pattern: str) -> list[str]:
    names = _below(pattern) if "**" in pattern.split("/") else glob.glob(pattern)
    return [str(Path(name)) for name in names if not os.path.isdir(name)]


def _below(pattern: str) -> Iterator[str]:
    """Yields what a pattern with `**` matches, as glob does, but never around a circle of links."""
    start = literal_prefix(pattern).rpartition("/")
    yield from (
        name for name in _walk(f"{start[0]}{start[1]}", frozenset()) if matches(name, pattern)
    )


def _walk(folder: str, above: Set[tuple[int, int]]) -> Iterator[str]:
    """Yields every path below a folder, written as the folder is; no folder below itself."""
    try:
        status = os.stat(folder or ".")
        own = (status.st_dev, status.st_ino)
        names = [] if own in above else os.listdir(folder or ".")
    except OSError:
        return
    for name in names:
        yield f"{folder}{name}"
        if os.path.isdir(f"{folder}{name}"):
            yield from _walk(f"{folder}{name}/", above | {own})


def _objects_like(pattern: str) -> list[str]:
    objects = store_of(pattern).list(literal_prefix(pattern))
    return [one.location for one in objects if matches(one.location, pattern)]


def file_sha256(location: Path | str) -> str:
    """Returns the SHA-256 of the bytes of a file or an object, 64 hexadecimal digits."""
    with open_regular(local_file(location)) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as failure:
            # An error while reading knows no name.
            failure.filename = str(location)
            raise


def digest_of_digests(entries: Iterable[tuple[str, str]]) -> str:
    """Returns one SHA-256 for a list of (name, digest): the digest of a folder or of a split.

    Args:
        entries: In canonical order; the order counts.
    """
    whole = hashlib.sha256()
    for name, digest in entries:
        whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()


def files_digest(locations: Iterable[Path | str]) -> str:
    """Returns one SHA-256 for files by name and content, in the order given.

    Only the last part of each location counts, so that a moved folder keeps its digest.
    """
    ordered = [str(location) for location in locations]
    copies = local_copies(ordered)
    return digest_of_digests(
        (name_of(location), file_sha256(copies[location])) for location in ordered
    )


def read_input(location: Path | str) -> bytes:
    """Returns the bytes of a file or an object that a user named.

    Raises:
        DataError: It can't be read; says why.
    """
    try:
        return store_of(location).read(str(location))
    except OSError as failure:
        raise DataError(f"can't read: {failure.strerror}", where=str(location)) from failure
