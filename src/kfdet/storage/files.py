"""Finding files by pattern and naming their content by digest."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from kfdet.errors import DataError


def expand_patterns(patterns: Sequence[str], *, where: str) -> tuple[Path, ...]:
    """Returns the files that match, sorted by name: the canonical order of shards.

    Args:
        patterns: Glob patterns or plain paths, relative to the working directory.
        where: What the patterns are for, for the error: `dataset.train`.

    Raises:
        DataError: A pattern matches no file, or lies where kfdet can't read.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if "://" in pattern:
            raise DataError(
                f"{pattern} is not a local path",
                where=where,
                expected="a path or a mounted volume",
                remedy="Mount the bucket, or copy the shards to a disk.",
            )
        matches = [Path(name) for name in glob.glob(pattern, recursive=True)]
        files = [path for path in matches if path.is_file()]
        if not files:
            raise DataError(
                f'no file matches "{pattern}"',
                where=where,
                expected="at least one TFRecord shard",
                remedy=f"Check the path; it is relative to {Path.cwd()}.",
            )
        found.update(files)
    return tuple(sorted(found, key=lambda path: (path.name, str(path))))


def file_sha256(path: Path | str) -> str:
    """Returns the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as stream:
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


def files_digest(paths: Iterable[Path]) -> str:
    """Returns one SHA-256 for files by name and content, in the order given.

    Only the last part of each path counts, so that a moved folder keeps its digest.
    """
    return digest_of_digests((path.name, file_sha256(path)) for path in paths)


def read_input(path: Path | str) -> bytes:
    """Returns the bytes of a file that a user named.

    Raises:
        DataError: The file can't be read; says why.
    """
    try:
        return Path(path).read_bytes()
    except OSError as failure:
        raise DataError(f"can't read: {failure.strerror}", where=str(path)) from failure
