"""Bytes where they lie: one interface for the folders of this machine and for buckets.

A missing object is a `FileNotFoundError` that names it, as a missing file is; whatever else goes
wrong is a `StorageError`.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import functools
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import google_crc32c

from kfdet.errors import StorageError
from kfdet.storage.atomic import explain_os_errors, new_file, write_bytes
from kfdet.storage.locations import is_remote

# How long a bucket is tried without any progress, and another server than Google's.
DEADLINE_VARIABLE = "KFDET_STORAGE_DEADLINE_S"
EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
# What `replace` and `upload` are told when nothing may be there yet.
NOTHING = 0
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What is known of an object without reading it.

    Attributes:
        location: Where it lies.
        size_bytes: Its size.
        generation: A number that no other content of that location ever has; never 0.
        crc32c: Checksum of its bytes as Google writes it, base64; None where the store keeps none.
    """

    location: str
    size_bytes: int
    generation: int
    crc32c: str | None = None


class StaleGeneration(StorageError):
    """Somebody else has written the object since it was looked at; it was left as it is."""


class Store(Protocol):
    """Reads and writes whole objects; a reader sees the old bytes or the new, never a mixture."""

    def list(self, prefix: str) -> tuple[StoredObject, ...]:
        """Returns every object whose location begins with `prefix`, sorted by location."""

    def find(self, location: str) -> StoredObject | None:
        """Returns what is known of an object, or None where there is none."""

    def read(self, location: str) -> bytes:
        """Returns all bytes of an object."""

    def read_range(self, location: str, begin: int, end: int) -> bytes:
        """Returns the bytes from `begin` up to `end`, fewer where the object ends before."""

    def download(self, location: str, to: Path) -> StoredObject:
        """Copies an object into a local file, which appears whole or not at all."""

    def upload(self, source: Path, location: str, *, expected: int | None = None) -> StoredObject:
        """Copies a local file to an object, which appears whole or not at all.

        Args:
            source: The file.
            location: Where to.
            expected: Generation that the object must have until then, `NOTHING` for one that must
                not be there; anything may be there when None.

        Raises:
            StaleGeneration: Something else is there.
        """

    def replace(
        self, location: str, content: bytes, *, expected: int | None = None
    ) -> StoredObject:
        """Writes an object as `upload` does, from memory."""

    def delete(self, location: str) -> None:
        """Removes an object; one that is not there is fine."""


def store_of(location: Path | str) -> Store:
    """Returns the store of a location; that of buckets is made once a process.

    Raises:
        ConfigError: The location is of a kind that is not known.
        StorageError: It is in a bucket, and google-cloud-storage is not installed or has no
            credentials.
    """
    return _bucket_store() if is_remote(location) else LocalStore()


@functools.cache
def _bucket_store() -> Store:
    try:
        from kfdet.storage.buckets import BucketStore
    except ModuleNotFoundError as failure:
        raise StorageError(
            f"gs:// needs the package google-cloud-storage ({failure})",
            remedy="Install it: pip install 'kfdet[gcs]'.",
        ) from failure
    return BucketStore.connect()


class LocalStore:
    """Files of this machine. Generations follow from inode and time of change."""

    def list(self, prefix: str) -> tuple[StoredObject, ...]:
        folder = Path(prefix if prefix.endswith("/") else os.path.dirname(prefix) or ".")
        # What begins with a dot is being written by somebody.
        files = (path for path in folder.rglob("[!.]*") if path.is_file())
        found = (self.find(str(path)) for path in files if str(path).startswith(prefix))
        return tuple(sorted((one for one in found if one), key=lambda one: one.location))

    def find(self, location: str) -> StoredObject | None:
        try:
            status = os.stat(location)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _described(location, status) if stat.S_ISREG(status.st_mode) else None

    def read(self, location: str) -> bytes:
        return Path(location).read_bytes()

    def read_range(self, location: str, begin: int, end: int) -> bytes:
        with open(location, "rb") as stream:
            stream.seek(begin)
            return stream.read(max(end - begin, 0))

    def download(self, location: str, to: Path) -> StoredObject:
        with open(location, "rb") as stream:
            found = _described(location, os.fstat(stream.fileno()))
            with new_file(to) as target:
                shutil.copyfileobj(stream, target, _COPY_BYTES)
        return found

    def upload(self, source: Path, location: str, *, expected: int | None = None) -> StoredObject:
        with self._expecting(location, expected), open(source, "rb") as stream:
            with new_file(location) as target:
                shutil.copyfileobj(stream, target, _COPY_BYTES)
            return _described(location, os.stat(location))

    def replace(
        self, location: str, content: bytes, *, expected: int | None = None
    ) -> StoredObject:
        with self._expecting(location, expected):
            write_bytes(location, content)
            return _described(location, os.stat(location))

    def delete(self, location: str) -> None:
        with explain_os_errors(location):
            Path(location).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _expecting(self, location: str, generation: int | None) -> Iterator[None]:
        """Keeps other writers out between the look at a file and its replacement."""
        if generation is None:
            yield
            return
        folder = Path(location).parent
        with explain_os_errors(location):
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.find(location)
            if (found.generation if found else NOTHING) != generation:
                raise StaleGeneration(
                    "somebody else has written it meanwhile",
                    where=location,
                    remedy="Run the same command again.",
                )
            yield
        finally:
            os.close(lock)


def _described(location: str, status: os.stat_result) -> StoredObject:
    return StoredObject(
        location=location,
        size_bytes=status.st_size,
        generation=status.st_mtime_ns << 24 | status.st_ino & 0xFFFFFF,
    )


def missing(location: str) -> FileNotFoundError:
    """Returns the error for an object that is not there."""
    return FileNotFoundError(errno.ENOENT, "there is no such object", location)


def crc32c_of(stream: IO[bytes]) -> tuple[str, int]:
    """Returns the checksum of all bytes of a stream as Google writes it, and their number."""
    checksum = google_crc32c.Checksum()
    stream.seek(0)
    while block := stream.read(_COPY_BYTES):
        checksum.update(block)
    return encode_crc32c(checksum), stream.seek(0, os.SEEK_END)


def encode_crc32c(checksum: Any) -> str:
    """Returns a checksum as Google writes it: big-endian, base64."""
    return base64.b64encode(checksum.digest()).decode("ascii")
