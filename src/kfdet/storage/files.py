"""Finding files by pattern and naming their content by digest."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from kfdet.errors import DataError
from kfdet.storage.copies import local_copies, local_file
from kfdet.storage.locations import is_remote, literal_prefix, matches, name_of
from kfdet.storage.stores import store_of


def expand_patterns(patterns: Sequence[str], *, where: str) -> tuple[str, ...]:
    """Returns the locations that match, sorted by name: the canonical order of shards.

    Args:
        patterns: Glob patterns or plain paths, relative to the working directory, or gs:// addresses
            with the same wildcards.
        where: What the patterns are for, for the error: `dataset.train`.

    Raises:
        DataError: A pattern matches no file.
        ConfigError: A pattern is for a kind of place that is not known.
        StorageError: A bucket can't be listed.
    """
    found: set[str] = set()
    for pattern in patterns:
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
        found.update(files)
    return tuple(sorted(found, key=lambda location: (name_of(location), location)))


def _files_like(pattern: str) -> list[str]:
    paths = (Path(name) for name in glob.glob(pattern, recursive=True))
    return [str(path) for path in paths if path.is_file()]


def _objects_like(pattern: str) -> list[str]:
    objects = store_of(pattern).list(literal_prefix(pattern))
    return [one.location for one in objects if matches(one.location, pattern)]


def file_sha256(location: Path | str) -> str:
    """Returns the SHA-256 of the bytes of a file or an object, 64 hexadecimal digits."""
    with open(local_file(location), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
