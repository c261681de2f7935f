"""Where things lie: paths of this machine, and gs:// addresses. Both are plain text."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.errors import ConfigError

_SCHEME = "gs://"
_ANY_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_BROKEN_SCHEME = re.compile(r"^gs:/*")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Address:
    """An object's place, or the beginning of the names of several.

    Attributes:
        bucket: Name of the bucket.
        name: What comes after it, without a slash in front; may be empty.
    """

    bucket: str
    name: str

    @classmethod
    def parse(cls, location: str) -> Address:
        """Returns the parts of a gs:// address.

        Raises:
            ConfigError: It is none, or no object can have the name.
        """
        bucket, _, name = location.removeprefix(_SCHEME).partition("/")
        parts = name.rstrip("/").split("/") if name else []
        named = all(part not in ("", ".", "..") for part in parts)
        if not location.startswith(_SCHEME) or not _BUCKET.match(bucket) or not named:
            raise ConfigError(
                "is no address of an object", where=location, expected="gs://bucket/folder/name"
            )
        return cls(bucket, name)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.name}"


def is_remote(location: Path | str) -> bool:
    """Whether a location is in a bucket.

    Raises:
        ConfigError: It is in neither a bucket nor a folder of this machine.
    """
    text = str(location)
    if text.startswith(_SCHEME):
        return True
    if _BROKEN_SCHEME.match(text):
        raise ConfigError("is no address of an object", where=text, expected="gs://bucket/name")
    scheme = _ANY_SCHEME.match(text)
    if scheme is None:
        return False
    raise ConfigError(
        f'a location that begins with "{scheme[0]}" is not known',
        where=text,
        expected="a path or gs://bucket/name",
        remedy="Mount it as a volume, or copy it to a disk.",
    )


def join(folder: Path | str, *names: str) -> str:
    """Returns the location of something below a folder."""
    if not is_remote(folder):
        return str(Path(folder, *names))
    return "/".join((str(folder).rstrip("/"), *names))


def name_of(location: str) -> str:
    """Returns the last part of a location."""
    return location.rpartition("/")[2]


def absolute(location: str) -> str:
    """Returns a location that holds in any working directory."""
    return location if is_remote(location) else str(Path(location).absolute())


def literal_prefix(pattern: str) -> str:
    """Returns what every name that matches a pattern begins with."""
    wildcard = _WILDCARD.search(pattern)
    return pattern[: wildcard.start()] if wildcard else pattern


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern as `glob` understands it.

    A wildcard stays within a part of the name, `**` stands for any number of parts, and hidden
    names are found only by patterns that begin with a dot.
    """
    return _matches(name.split("/"), pattern.split("/"))


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        if len(patterns) == 1:
            return bool(names) and not any(name.startswith(".") for name in names)
        deeper = bool(names) and not names[0].startswith(".") and _matches(names[1:], patterns)
        return _matches(names, patterns[1:]) or deeper
    if not names or (names[0].startswith(".") and not patterns[0].startswith(".")):
        return False
    return fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])
