"""Columns between Arrow and numpy, past pandas: pyarrow's own ways import it, which takes half a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def to_numpy(column: Any) -> Any:
    """Returns a column of numbers or truth values without nulls as a numpy array, one dimension.

    Args:
        column: A pyarrow ChunkedArray.
    """
    truth = pa.types.is_boolean(column.type)
    # Truth values are single bits in Arrow, and bytes in numpy.
    numbers = column.cast(pa.uint8()) if truth else column
    dtype = np.dtype(numbers.type.to_pandas_dtype())
    parts = [
        np.frombuffer(
            chunk.buffers()[1], dtype, count=len(chunk), offset=chunk.offset * dtype.itemsize
        )
        for chunk in numbers.chunks
        if len(chunk)
    ]
    answer = np.concatenate(parts) if parts else np.zeros(0, dtype)
    return answer.astype(np.bool_) if truth else answer


def to_arrow(values: Any, kind: Any) -> Any:
    """Returns a one-dimensional numpy array as a pyarrow Array of numbers.

    Args:
        values: Any numbers that fit.
        kind: The Arrow type.
    """
    fitting = np.ascontiguousarray(values, np.dtype(kind.to_pandas_dtype()))
    return pa.Array.from_buffers(kind, len(fitting), [None, pa.py_buffer(fitting)])
