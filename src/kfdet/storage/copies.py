"""Local copies of what lies in buckets, for those who need files: TensorFlow, Parquet, memory maps.

A copy is used only while it has the size and the checksum of its object, so that it is never stale,
and it is kept: the next stage on this machine finds it. `KFDET_CACHE` says where. Copies appear
whole; a folder is copied file by file, so that an interrupted copy goes on where it stood.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kfdet.errors import ArtifactError, StorageError
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.locations import Address, is_remote
from kfdet.storage.stores import StoredObject, crc32c_of, missing, store_of

CACHE_VARIABLE = "KFDET_CACHE"
_AT_ONCE = 8
_LOCK = ".lock"


def cache_folder() -> Path:
    """Returns the folder of this machine's copies."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "kfdet"


def copy_of(location: Path | str) -> Path:
    """Returns where the copy of a remote object or folder lies, whether it is there or not."""
    address = Address.parse(str(location))
    return cache_folder() / "buckets" / address.bucket / address.name.rstrip("/")


def local_file(location: Path | str) -> Path:
    """Returns a file of this machine with the bytes of a location: itself, or a verified copy.

    Raises:
        FileNotFoundError: There is no such object; of local files nothing is looked at.
        StorageError: It can't be read, or there is no room for the copy.
    """
    if not is_remote(location):
        return Path(location)
    found = store_of(location).find(str(location))
    if found is None:
        raise missing(str(location))
    return local_files([found])[0]


def local_files(objects: Sequence[StoredObject]) -> tuple[Path, ...]:
    """Returns verified copies of remote objects, several copied at once.

    Raises:
        StorageError: They can't be read, or there is no room for them.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(_verified_copy, objects))


def local_folder(location: Path | str) -> Path:
    """Returns a folder of this machine with what lies below a location, no more and no less.

    Raises:
        ArtifactError: There is nothing; of local folders nothing is looked at.
        StorageError: It can't be read, or there is no room for the copy.
    """
    if not is_remote(location):
        return Path(location)
    prefix = str(location).rstrip("/") + "/"
    objects = store_of(location).list(prefix)
    if not objects:
        raise ArtifactError(
            "there is nothing", where=str(location), expected="what an earlier stage wrote"
        )
    folder = copy_of(location)
    with _locked(folder):
        wanted = {copy_of(one.location) for one in objects}
        for path in folder.rglob("*"):
            if path.is_file() and path not in wanted and path.suffix != _LOCK:
                path.unlink()
        local_files(objects)
    return folder


def local_copies(locations: Sequence[str]) -> dict[str, Path]:
    """Returns a file of this machine for each location, as `local_file` does, but all at once."""
    remote = [location for location in locations if is_remote(location)]
    folders = dict.fromkeys(location.rpartition("/")[0] for location in remote)
    listed = {
        one.location: one for folder in folders for one in store_of(folder).list(f"{folder}/")
    }
    for location in remote:
        if location not in listed:
            raise missing(location)
    copies = local_files([listed[location] for location in remote])
    copied = dict(zip(remote, copies, strict=True))
    return {location: copied.get(location, Path(location)) for location in locations}


def _is_copy(path: Path, found: StoredObject) -> bool:
    """Whether a file has the bytes of an object."""
    try:
        status = path.stat()
        return (
            status.st_size == found.size_bytes
            and found.crc32c is not None
            and _crc32c_at(path, status.st_mtime_ns, status.st_size) == found.crc32c
        )
    except FileNotFoundError:
        return False


@functools.lru_cache(maxsize=1 << 16)
def _crc32c_at(path: Path, time_ns: int, size_bytes: int) -> str:  # noqa: ARG001 a file that was written to is another
    with open(path, "rb") as stream:
        return crc32c_of(stream)[0]


def _verified_copy(found: StoredObject) -> Path:
    path = copy_of(found.location)
    with _locked(path):
        if not _is_copy(path, found):
            check_room(path.parent, size_bytes=found.size_bytes)
            store_of(found.location).download(found.location, path)
    return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process at a time make a copy; the others wait and find it."""
    lock = path.with_name(f".{path.name}{_LOCK}")
    with explain_os_errors(path):
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = open(lock, "a")  # noqa: SIM115 held as long as the lock
    with stream:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def check_room(folder: Path, *, size_bytes: int) -> None:
    """Makes sure that a file of that size fits on the disk of a folder.

    Raises:
        StorageError: It does not.
    """
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise StorageError(
            f"{size_bytes:,} bytes don't fit: {free:,} are free",
            where=str(folder),
            remedy=f"Free some space, or name a folder on a larger disk in {CACHE_VARIABLE}.",
        )
