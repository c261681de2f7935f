"""The names of shards: `train-00003-of-00010.tfrecord`, counted from zero."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_NAME = re.compile(r"^(?P<stem>.*?)-(?P<index>\d{5,})-of-(?P<total>\d{5,})(?P<suffix>.*)$")


@dataclass(frozen=True, kw_only=True)
class ShardName:
    """The parts of a sharded file's name: stem, index of total, and what follows."""

    stem: str
    index: int
    total: int
    suffix: str = ".tfrecord"

    def __str__(self) -> str:
        return f"{self.stem}-{self.index:05d}-of-{self.total:05d}{self.suffix}"


def parse_shard_name(name: str) -> ShardName | None:
    """Returns the parts of a file's name, None when it does not say that it is one of several.

    Args:
        name: The last part of the path.
    """
    match = _NAME.match(name)
    if match is None:
        return None
    return ShardName(
        stem=match["stem"],
        index=int(match["index"]),
        total=int(match["total"]),
        suffix=match["suffix"],
    )


def shard_names(stem: str, *, total: int) -> tuple[str, ...]:
    """Returns the names of all the shards of one set, in order."""
    return tuple(str(ShardName(stem=stem, index=index, total=total)) for index in range(total))


def shard_bounds(count: int, *, total: int) -> tuple[tuple[int, int], ...]:
    """Returns (begin, end) of each shard, so that `count` records lie evenly and in order.

    The first `count % total` shards hold one record more than the others.
    """
    size, rest = divmod(count, total)
    begins = [index * size + min(index, rest) for index in range(total + 1)]
    return tuple(itertools.pairwise(begins))
