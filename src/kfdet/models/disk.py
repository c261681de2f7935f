"""A full disk as TensorFlow tells it: with the same kind of error as memory that runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from kfdet.errors import StorageError

_WORDS = ("No space left on device", "Disk quota exceeded")


@contextmanager
def explain_full_disk(path: Path | str) -> Iterator[None]:
    """Turns TensorFlow's error of a disk without space into a StorageError that names the path."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as failure:
        words = next((words for words in _WORDS if words in failure.message), None)
        if words is None:
            raise
        raise StorageError(
            f"can't write: {words}",
            where=str(path),
            remedy="Free some space, or choose another folder; then run again to go on.",
        ) from failure
