"""Columns between Arrow and numpy, past pandas: pyarrow's own ways import it, which takes half a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kfdet.errors import ArtifactError


def read_parquet(path: Path, *, written_by: str, remedy: str) -> Any:
    """Returns a file's columns as a pyarrow Table.

    Args:
        path: The file.
        written_by: The stage that wrote it.
        remedy: What to do about a file that can't be read.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    try:
        # Not read_table: that loads pyarrow's data set machinery for this one file.
        with pq.ParquetFile(path) as file:
            return file.read()
    except (OSError, pa.ArrowException) as failure:
        raise ArtifactError(
            f"can't read: {failure}",
            where=str(path),
            expected=f"the Parquet file that {written_by} wrote",
            remedy=remedy,
        ) from failure


def to_numpy(column: Any) -> Any:
    """Returns a column of numbers or truth values without nulls as a numpy array, one dimension.

    Args:
        column: A pyarrow ChunkedArray.
    """
    read = _bits if pa.types.is_boolean(column.type) else _numbers
    parts = [read(chunk) for chunk in column.chunks if len(chunk)]
    dtype = np.dtype(column.type.to_pandas_dtype())
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _numbers(chunk: Any) -> Any:
    dtype = np.dtype(chunk.type.to_pandas_dtype())
    return np.frombuffer(
        chunk.buffers()[1], dtype, count=len(chunk), offset=chunk.offset * dtype.itemsize
    )


def _bits(chunk: Any) -> Any:
    """Returns truth values, which are single bits in Arrow; its own cast loads all its functions."""
    whole = np.frombuffer(chunk.buffers()[1], np.uint8)
    bits = np.unpackbits(whole, count=chunk.offset + len(chunk), bitorder="little")
    return bits[chunk.offset :].astype(np.bool_)


def to_arrow(values: Any, kind: Any) -> Any:
    """Returns a one-dimensional numpy array as a pyarrow Array of numbers.

    Args:
        values: Any numbers that fit.
        kind: The Arrow type.
    """
    fitting = np.ascontiguousarray(values, np.dtype(kind.to_pandas_dtype()))
    return pa.Array.from_buffers(kind, len(fitting), [None, pa.py_buffer(fitting)])
