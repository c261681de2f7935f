"""What training reads its records from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kfdet.schema.dataset import Compression


@dataclass(frozen=True, kw_only=True)
class TrainingFile:
    """One shard of the training split.

    Attributes:
        uri: Its location.
        compression: How the records lie in it.
        payloads: Yields the records that are used, where not all of them are; None where they are,
            and the file can be read as it lies there.
    """

    uri: str
    compression: Compression = "none"
    payloads: Callable[[], Iterator[bytes]] | None = None
