"""Local writes that happen whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kfdet.errors import StorageError


@contextlib.contextmanager
def explain_os_errors(path: Path | str) -> Iterator[None]:
    """Turns a full disk, a missing permission and their kin into a StorageError that names the path."""
    try:
        yield
    except OSError as failure:
        remedies = {
            errno.ENOSPC: "Free some space, or choose another folder with --out.",
            errno.EDQUOT: "The quota is used up: free some space, or choose another folder.",
            errno.EACCES: "Check the permissions of the folder.",
            errno.EPERM: "Check the permissions of the folder.",
            errno.EROFS: "The file system is read-only: choose another folder.",
            errno.ENOTDIR: "A part of the path is a file: choose another folder.",
            errno.EEXIST: "A part of the path is a file: choose another folder.",
        }
        raise StorageError(
            f"can't write: {failure.strerror or failure}",
            where=str(failure.filename or path),
            remedy=remedies.get(failure.errno or 0),
        ) from failure


@contextlib.contextmanager
def new_file(path: Path | str) -> Iterator[IO[bytes]]:
    """Yields a stream whose content becomes `path` on success, and survives a crash from then on.

    Raises:
        StorageError: The location can't be written; nothing is left behind.
    """
    target = Path(path)
    with explain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with explain_os_errors(target):
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_bytes(path: Path | str, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all.

    Raises:
        StorageError: The location can't be written; nothing is left behind.
    """
    with new_file(path) as stream:
        stream.write(content)


def write_text(path: Path | str, content: str) -> None:
    """Writes UTF-8 text as `write_bytes` does."""
    write_bytes(path, content.encode("utf-8"))


@contextlib.contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` on success and is removed on any failure.

    An existing folder at `path` is replaced only once the new one is complete.

    Raises:
        StorageError: The location can't be written; an older folder is still there.
    """
    target = Path(path)
    with explain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with explain_os_errors(target):
            yield work
            os.chmod(work, 0o777 & ~_umask())
            if target.exists():
                discarded = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
                os.rename(target, discarded / "old")
                os.rename(work, target)
                shutil.rmtree(discarded)
            else:
                os.rename(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
