"""Stable sorting digit by digit: several times as fast as comparing, for half a million detections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_DIGIT_BITS = 16


def descending(score: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns int64[N], the rows by descending score; of equal ones the first row comes first.

    Args:
        score: [N], finite.
    """
    # The bits of floats of one sign ascend with their size; adding zero makes -0.0 equal to 0.0.
    bits: npt.NDArray[np.unsignedinteger]
    bits = (score + score.dtype.type(0)).view(f"u{score.dtype.itemsize}")
    most = 8 * score.dtype.itemsize
    negative = np.signbit(score) & (score != 0)
    largest = bits.dtype.type((1 << (most - 1)) - 1)
    return _by_digits(np.where(negative, bits, ~bits & largest), bits=most)


def ascending(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns int64[N], the rows by ascending number; of equal ones the first row comes first.

    Args:
        numbers: int64[N].
    """
    if numbers.size == 0:
        return np.zeros(0, np.int64)
    from_zero = (numbers - numbers.min()).astype(np.uint64)
    return _by_digits(from_zero, bits=int(from_zero.max()).bit_length())


def _by_digits(words: npt.NDArray[np.unsignedinteger], *, bits: int) -> npt.NDArray[np.int64]:
    order = np.arange(words.size)
    for shift in range(0, bits, _DIGIT_BITS):
        digit = (words >> words.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order
