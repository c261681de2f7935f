"""Where a registry keeps numbered versions, each there whole or not at all.

In a folder a version is prepared under a hidden name and renamed into place. A bucket knows no
renames: there a version's number is claimed by an object that only one publisher can make, and the
version is there when its last object, version.json, is. What a publisher that was killed leaves
behind counts for nothing, and its number stays unused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kfdet.schema.export import EXPORT_FILE
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.locations import is_remote, join
from kfdet.storage.stores import NOTHING, StaleGeneration, store_of

VERSION_FILE = "version.json"
_CLAIM = ".claim"
_NUMBER = re.compile(r"[0-9]{6,}")
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


class Shelf(Protocol):
    """The versions of one model."""

    def numbers(self) -> list[int]:
        """Returns the numbers of the versions that are complete."""

    def next_number(self) -> int:
        """Returns the lowest number above all that were ever taken."""

    def version(self, number: int) -> str:
        """Returns the location of a version."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yields a folder to prepare a version in; nothing of it is left afterwards."""

    def place(self, work: Path, number: int, *, still_wanted: Callable[[], bool]) -> bool:
        """Makes the prepared files a version.

        Args:
            work: The folder.
            number: Its number.
            still_wanted: Asked as late as can be.

        Returns:
            Whether it is there now: False where the number is taken, or it is not wanted any more.
        """


def shelf_of(folder: str) -> Shelf:
    """Returns the shelf in a folder, or below an address in a bucket."""
    return BucketShelf(folder) if is_remote(folder) else FolderShelf(folder)


class FolderShelf:
    """Args:
    folder: May not be there yet.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def numbers(self) -> list[int]:
        try:
            entries = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [int(name) for name in entries if _NUMBER.fullmatch(name)]

    def next_number(self) -> int:
        return max(self.numbers(), default=0) + 1

    def version(self, number: int) -> str:
        return str(self._folder / f"{number:06d}")

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        with explain_os_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(dir=self._folder, prefix=".new."))
            work.chmod(0o755)
            try:
                yield work
            finally:
                # Nothing is left of it once it has been renamed into place.
                shutil.rmtree(work, ignore_errors=True)

    def place(self, work: Path, number: int, *, still_wanted: Callable[[], bool]) -> bool:  # noqa: ARG002 a rename takes no time
        try:
            os.rename(work, self.version(number))
        except OSError as failure:
            if failure.errno not in _TAKEN:
                raise
            return False
        return True


class BucketShelf:
    """Args:
    folder: A gs:// address.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._store = store_of(folder)

    def numbers(self) -> list[int]:
        return [number for number, name in self._entries() if name == VERSION_FILE]

    def next_number(self) -> int:
        return max((number for number, _ in self._entries()), default=0) + 1

    def version(self, number: int) -> str:
        return join(self._folder, f"{number:06d}")

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="kfdet-version-") as work:
            yield Path(work)

    def place(self, work: Path, number: int, *, still_wanted: Callable[[], bool]) -> bool:
        there = self.version(number)
        try:
            self._store.replace(join(there, _CLAIM), b"", expected=NOTHING)
        except StaleGeneration:
            return False
        files = [path for path in sorted(work.rglob("*")) if path.is_file()]
        # The export's own list after what it lists, for those who read a version as an export.
        for path in sorted(files, key=lambda path: path == work / EXPORT_FILE):
            if path != work / VERSION_FILE:
                name = path.relative_to(work).as_posix()
                self._store.upload(path, join(there, name), expected=NOTHING)
        if not still_wanted():
            return False
        self._store.upload(work / VERSION_FILE, join(there, VERSION_FILE), expected=NOTHING)
        return True

    def _entries(self) -> list[tuple[int, str]]:
        """Returns number and name of every object of every version, complete or not."""
        prefix = f"{self._folder}/"
        found = (one.location.removeprefix(prefix) for one in self._store.list(prefix))
        parts = (name.partition("/") for name in found)
        return [(int(first), rest) for first, _, rest in parts if _NUMBER.fullmatch(first)]
