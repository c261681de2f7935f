"""Images that look the same although their bytes differ.

The hash is the signs of the low frequencies of a 32 x 32 grey thumbnail against their median. Making
the thumbnail and the frequencies is linear, so both are done in one step. Of 255
bits, encoding an image anew, scaling it or changing its brightness turns over a few; two frames of
one scene some 20; two unrelated images about half. Images without any texture, whose high frequencies
are noise, are missed.

Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section
3.2.1, with 16 x 16 instead of 8 x 8 frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

HASH_BYTES = 32
HASH_BITS = 8 * HASH_BYTES - 1
MOST_BITS = 32
_COARSE = 8
_MOST_COARSE_BITS = 14
_FINE = 16
_MIDDLE = (_FINE * _FINE - 1) // 2
_SIDE = 32
_ROWS_AT_ONCE = 64
_COLUMNS_AT_ONCE = 8192
NO_HASH = bytes(HASH_BYTES)


@dataclass(frozen=True, kw_only=True)
class NearCopy:
    """Attributes:
    position: Of the image in the second set.
    original: Position of the image in the first set that it looks most like.
    bits: How many of HASH_BITS differ.
    """

    position: int
    original: int
    bits: int


@cache
def _cosines() -> NDArray[np.float64]:
    """Returns float64[16, 32], the rows of the discrete cosine transform for the low frequencies."""
    frequency, sample = np.arange(_FINE)[:, None], np.arange(_SIDE)[None, :]
    return np.cos(np.pi * (2 * sample + 1) * frequency / (2 * _SIDE))


@lru_cache(maxsize=256)
def _low_frequencies(size_px: int) -> NDArray[np.float32]:
    """Returns float32[16, size_px]: averaging over 32 equal parts of a line, then the transform."""
    edges = np.arange(_SIDE + 1) * (size_px / _SIDE)
    pixel = np.arange(size_px)
    shared = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.asarray(_cosines() @ np.clip(shared, 0, 1) * (_SIDE / size_px), dtype=np.float32)


@cache
def _order() -> NDArray[np.intp]:
    """Returns the 256 frequencies with the lowest 8 x 8 first, so that the first 64 bits are coarse."""
    positions = np.arange(_FINE * _FINE)
    row, column = positions // _FINE, positions % _FINE
    return np.argsort(np.maximum(row, column) >= _COARSE, kind="stable").astype(np.intp)


def hash_image(grey: NDArray[np.uint8]) -> tuple[bytes, float]:
    """Returns the perceptual hash of an image, uint8[H, W], never NO_HASH; and its mean level."""
    height, width = grey.shape
    rows = _low_frequencies(height) @ grey.astype(np.float32)
    frequencies = (rows @ _low_frequencies(width).T).ravel()[_order()]
    bits = frequencies > np.partition(frequencies[1:], _MIDDLE)[_MIDDLE]
    # The mean says nothing about what is in the image; a set bit tells a hash from none.
    bits[0] = True
    return np.packbits(bits).tobytes(), float(frequencies[0]) / _SIDE**2


def near_copies(first: bytes | bytearray, second: bytes | bytearray) -> Iterator[NearCopy]:
    """Yields the images of the second set that look like one of the first.

    Args:
        first: Hashes one after another, HASH_BYTES each; NO_HASH is like nothing.
        second: In the same form.
    """
    originals, others = _words(first), _words(second)
    hashed = np.flatnonzero(originals.any(axis=1))
    for begin in range(0, len(others) if len(hashed) else 0, _ROWS_AT_ONCE):
        rows = others[begin : begin + _ROWS_AT_ONCE]
        found: dict[int, NearCopy] = {}
        for start in range(0, len(hashed), _COLUMNS_AT_ONCE):
            candidates = hashed[start : start + _COLUMNS_AT_ONCE]
            for row, original, bits in _alike(rows, originals, candidates):
                if row not in found or bits < found[row].bits:
                    found[row] = NearCopy(position=begin + row, original=original, bits=bits)
        yield from (found[row] for row in sorted(found))


def _alike(
    rows: NDArray[np.uint64], originals: NDArray[np.uint64], candidates: NDArray[np.intp]
) -> Iterator[tuple[int, int, int]]:
    """Yields (row, original, bits that differ) for each row that looks like a candidate, its likest."""
    coarse = _bit_count(rows[:, :1] ^ originals[candidates, 0][None, :])
    near, candidate = np.nonzero(coarse <= _MOST_COARSE_BITS)
    bits = _bit_count(rows[near] ^ originals[candidates[candidate]]).sum(axis=1)
    for row in np.unique(near).tolist():
        own = near == row
        best = int(np.argmin(np.where(own, bits, HASH_BITS + 1)))
        if bits[best] <= MOST_BITS and rows[row].any():
            yield row, int(candidates[candidate[best]]), int(bits[best])


def _words(hashes: bytes | bytearray) -> NDArray[np.uint64]:
    return np.frombuffer(bytes(hashes), dtype=np.uint64).reshape(-1, HASH_BYTES // 8)


@cache
def _bits_of_16() -> NDArray[np.uint8]:
    numbers = np.arange(1 << 16, dtype=np.uint16)
    bits = np.unpackbits(numbers.view(np.uint8).reshape(-1, 2), axis=1)
    return np.asarray(bits.sum(axis=1), dtype=np.uint8)


def _bit_count(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Returns the number of bits set in each 64-bit word."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(words)
    return _bit_count_by_table(words)


def _bit_count_by_table(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Does the same where numpy, before 2.0, has no function for it."""
    quarters = _bits_of_16()[np.ascontiguousarray(words).view(np.uint16)]
    counts: NDArray[np.uint8] = quarters.reshape(*words.shape, 4).sum(axis=-1, dtype=np.uint8)
    return counts
