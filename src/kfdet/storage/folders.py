"""Folders of several files that a reader never sees half of, on a disk or in a bucket."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kfdet.errors import StorageError
from kfdet.storage.atomic import new_folder
from kfdet.storage.locations import is_remote, join
from kfdet.storage.stores import store_of


@contextlib.contextmanager
def new_folder_at(location: str, *, last: str) -> Iterator[Path]:
    """Yields a local folder whose files appear at `location` on success, and nothing on any failure.

    A bucket has no folders: there the files are a whole when the one called `last` is there, which
    lists the others with their digests. It is written after them, and where an older folder is
    replaced it is taken away before them.

    Args:
        location: Path or gs:// address.
        last: Name of that file.

    Raises:
        StorageError: The location can't be written, or somebody else has written there meanwhile.
    """
    if not is_remote(location):
        with new_folder(location) as work:
            yield work
        return
    with tempfile.TemporaryDirectory(prefix="kfdet-folder-") as work:
        yield Path(work)
        _publish(Path(work), location, last=last)


def _publish(work: Path, location: str, *, last: str) -> None:
    store = store_of(location)
    files = {
        join(location, path.relative_to(work).as_posix()): path
        for path in sorted(work.rglob("*"))
        if path.is_file()
    }
    listing = join(location, last)
    store.delete(listing)
    written = {
        place: store.upload(path, place) for place, path in files.items() if place != listing
    }
    for older in store.list(f"{location}/"):
        if older.location not in files:
            store.delete(older.location)
    written[listing] = store.upload(files[listing], listing)
    found = {one.location: one for one in store.list(f"{location}/")}
    if found != written:
        # Whoever is last finds it whole; readers hold every file against the list.
        raise StorageError(
            "somebody else has written there meanwhile",
            where=location,
            remedy="Run the same command again.",
        )
