"""Reading files that came with data: nothing that keeps a reader waiting, or never ends.

A folder of somebody else's may hold a pipe that nobody writes to, or a link to `/dev/zero`, under
the name of a shard or of an image.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path | str) -> BufferedReader:
    """Opens a file for reading without ever waiting for one.

    Raises:
        OSError: There is none, it can't be opened, or it is a pipe, a socket, a device or a folder;
            `strerror` says which.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as failure:
        if not os.path.islink(path):
            raise
        reason = f"it is a link to {os.readlink(path)}, where there is nothing"
        raise FileNotFoundError(errno.ENOENT, reason, str(path)) from failure
    except ValueError as failure:
        # A name of annotations may hold a null byte, or half a character.
        reason = f"no file can have that name ({failure})"
        raise OSError(errno.EINVAL, reason, str(path)) from failure
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))
    return open(path, "rb")


def read_regular(path: Path | str) -> bytes:
    """Returns the bytes of a file, opened as `open_regular` does."""
    with open_regular(path) as stream:
        return stream.read()


def stays_below(name: str) -> bool:
    """Returns whether a path that data name leads nowhere but below the folder that it is joined to."""
    return not os.path.isabs(name) and ".." not in Path(name).parts
