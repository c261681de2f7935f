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
from enum import Enum, auto
from functools import cache, lru_cache
from itertools import combinations
from typing import TypeAlias

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
# Building the tables takes as long as comparing so many.
_PAIRS_COMPARED_DIRECTLY = 1 << 27
_BANDS = 11
_BAND_BITS = 23
_BAND_FLIPS = MOST_BITS // _BANDS
_LOOKED_UP_AT_ONCE = 2048
_PAIRS_AT_ONCE = 1 << 18
# An image with more candidates than a few and than this share of the first set is compared with all
# of it: looking at a candidate takes some ten times as long as comparing one in a row.
_FEW_CANDIDATES = 256
_CROWD_SHARE = 128
_ORIGINAL_BITS = 40
_NONE_ALIKE = 1 << 62
NO_HASH = bytes(HASH_BYTES)

_Words: TypeAlias = NDArray[np.uint64]
_Match: TypeAlias = tuple[int, int, int]
_Pairs: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


class _Seek(Enum):
    LIKEST = auto()
    ANY = auto()


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
    """Yields the images of the second set that look like one of the first, by position.

    Many are looked up by parts of their hashes and not compared with every other; what is found is
    the same. Where a great share of the first set has the same parts, as frames of a camera that
    never moves have, an image that looks like hundreds of them is told with one of these, which need
    not be the likest.

    Args:
        first: Hashes one after another, HASH_BYTES each; NO_HASH is like nothing.
        second: In the same form.
    """
    originals, others = _words(first), _words(second)
    hashed = np.flatnonzero(originals.any(axis=1))
    rows = np.flatnonzero(others.any(axis=1))
    pairs = len(rows) * len(hashed)
    search = _by_comparing_all if pairs <= _PAIRS_COMPARED_DIRECTLY else _by_bands
    for row, original, bits in search(others[rows], originals[hashed]):
        yield NearCopy(position=int(rows[row]), original=int(hashed[original]), bits=bits)


def _by_comparing_all(rows: _Words, originals: _Words) -> Iterator[_Match]:
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        batch = rows[begin : begin + _ROWS_AT_ONCE]
        for row, (bits, original) in sorted(_likest(batch, originals, seek=_Seek.LIKEST).items()):
            yield begin + row, original, bits


def _likest(rows: _Words, originals: _Words, *, seek: _Seek) -> dict[int, tuple[int, int]]:
    """Returns, for each row that looks like an original, the bits that differ and the original."""
    found: dict[int, tuple[int, int]] = {}
    left = np.arange(len(rows))
    for start in range(0, len(originals), _COLUMNS_AT_ONCE):
        part = originals[start : start + _COLUMNS_AT_ONCE]
        coarse = _bit_count(rows[left, :1] ^ part[None, :, 0])
        row, original = np.nonzero(coarse <= _MOST_COARSE_BITS)
        pairs = _confirmed(left[row], original, rows, part)
        for row_, original_, bits in zip(*(column.tolist() for column in pairs), strict=True):
            match = (bits, start + original_)
            found[row_] = min(found.get(row_, match), match)
        if seek is _Seek.ANY and found:
            left = np.setdiff1d(left, list(found))
            if not len(left):
                break
    return found


def _by_bands(rows: _Words, originals: _Words) -> Iterator[_Match]:
    """Looks every row up in tables of parts of the hash.

    Of `_BANDS` parts that do not overlap, two hashes that differ in at most MOST_BITS bits have one
    in which at most `_BAND_FLIPS` differ: so every way of changing that few is looked up.

    Source: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012.
    """
    most = max(len(originals) // _CROWD_SHARE, _FEW_CANDIDATES)
    candidates = np.zeros(len(rows), dtype=np.int64)
    # Bits that differ, then the original: the least is the likest, and of equals the first.
    likest = np.full(len(rows), _NONE_ALIKE, dtype=np.int64)
    for band in range(_BANDS):
        index = _Index.of(_keys(originals, band))
        keys = _keys(rows, band)
        # Rows with keys side by side look at the same part of the table.
        order = np.argsort(keys, kind="stable")
        for begin in range(0, len(order), _LOOKED_UP_AT_ONCE):
            own = order[begin : begin + _LOOKED_UP_AT_ONCE]
            own = own[candidates[own] <= most]
            position, bucket = index.near(keys[own])
            np.add.at(candidates, own[position], index.sizes[bucket])
            few = candidates[own[position]] <= most
            for pair in index.members(own[position[few]], bucket[few]):
                row, original, bits = _confirmed(*pair, rows, originals)
                np.minimum.at(likest, row, bits << _ORIGINAL_BITS | original)
    crowded = np.flatnonzero(candidates > most)
    for begin in range(0, len(crowded), _ROWS_AT_ONCE):
        part = crowded[begin : begin + _ROWS_AT_ONCE]
        for place, match in _likest(rows[part], originals, seek=_Seek.ANY).items():
            likest[part[place]] = match[0] << _ORIGINAL_BITS | match[1]
    for found in np.flatnonzero(likest != _NONE_ALIKE).tolist():
        yield (
            found,
            int(likest[found]) % (1 << _ORIGINAL_BITS),
            int(likest[found]) >> _ORIGINAL_BITS,
        )


@dataclass(frozen=True, kw_only=True)
class _Index:
    """The originals by the value of one band.

    Attributes:
        bucket_of: int32[2 ** _BAND_BITS], the number of the bucket, -1 where no original has the value.
        starts, sizes: Of the buckets, in `members_in_order`.
        members_in_order: The originals, sorted by value.
    """

    bucket_of: NDArray[np.int32]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    members_in_order: NDArray[np.intp]

    @classmethod
    def of(cls, keys: NDArray[np.uint32]) -> _Index:
        order = np.argsort(keys, kind="stable")
        values, starts, sizes = np.unique(keys[order], return_index=True, return_counts=True)
        bucket_of = np.full(1 << _BAND_BITS, -1, dtype=np.int32)
        bucket_of[values] = np.arange(len(values))
        return cls(bucket_of=bucket_of, starts=starts, sizes=sizes, members_in_order=order)

    def near(self, keys: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Returns positions of keys, and with each a bucket whose value is near the key's."""
        buckets = self.bucket_of.take(keys[:, None] ^ _band_flips()[None, :])
        position, flip = np.nonzero(buckets >= 0)
        return position, buckets[position, flip].astype(np.intp)

    def members(
        self, rows: NDArray[np.intp], buckets: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yields rows and originals in the bucket of each, a bounded number at once."""
        ends = np.cumsum(self.sizes[buckets])
        begin = 0
        while begin < len(buckets):
            before = ends[begin - 1] if begin else 0
            end = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE)), begin + 1)
            sizes = self.sizes[buckets[begin:end]]
            first = self.starts[buckets[begin:end]] - (ends[begin:end] - sizes - before)
            places = np.repeat(first, sizes) + np.arange(sizes.sum())
            yield np.repeat(rows[begin:end], sizes), self.members_in_order[places]
            begin = end


def _keys(words: _Words, band: int) -> NDArray[np.uint32]:
    """Returns the value of a band of each hash; the first bit, the same in all, is in none."""
    begin, shift = divmod(1 + band * _BAND_BITS, 8)
    octets = np.ascontiguousarray(words).view(np.uint8)[:, begin : begin + 4]
    number = np.ascontiguousarray(octets).view(">u4")[:, 0].astype(np.uint32)
    return np.asarray((number << shift) >> (32 - _BAND_BITS), dtype=np.uint32)


@cache
def _band_flips() -> NDArray[np.uint32]:
    """Returns what changes no bit, one bit, ... `_BAND_FLIPS` bits of a band."""
    sets = (s for size in range(_BAND_FLIPS + 1) for s in combinations(range(_BAND_BITS), size))
    return np.array([sum(1 << bit for bit in bits) for bits in sets], dtype=np.uint32)


def _confirmed(
    row: NDArray[np.intp], original: NDArray[np.intp], rows: _Words, originals: _Words
) -> _Pairs:
    """Returns those pairs of which few enough bits differ, and how many do."""
    near = _bit_count(rows[row, 0] ^ originals[original, 0]) <= _MOST_COARSE_BITS
    row, original = row[near], original[near]
    bits = _bit_count(rows[row] ^ originals[original]).sum(axis=1, dtype=np.intp)
    alike = bits <= MOST_BITS
    return row[alike], original[alike], bits[alike]


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
