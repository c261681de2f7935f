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
_WORDS = HASH_BYTES // 8
_WORD_BITS = 64
_ROWS_AT_ONCE = 32
_COLUMNS_AT_ONCE = 4096
# Where more pairs than this share have like coarse bits, comparing all of their bits at once is
# faster than picking them out.
_MANY_ALIKE = 8
# Making tables takes as long as comparing so many, a tenth of a second.
_PAIRS_COMPARED_DIRECTLY = 1 << 27
# A few seconds; decoding as many photographs takes minutes.
_PAIRS_COMPARED_FOR_CROWDS = 1 << 31
_BANDS = 11
_BAND_BITS = 23
_BAND_FLIPS = MOST_BITS // _BANDS
_TAIL_BITS = 3
_HEADS = 1 << (_BAND_BITS - _TAIL_BITS)
_INDEXED_AT_ONCE = 1 << 15
_LOOKED_UP_AT_ONCE = 512
_PAIRS_AT_ONCE = 1 << 14
# Of ten million images that have nothing in common, some 1,500 are looked at for a band.
_CROWD = 2048
_NEIGHBOURS = 256
_ORIGINAL_BITS = 40
_NONE_ALIKE = 1 << 62
NO_HASH = bytes(HASH_BYTES)

_Words: TypeAlias = NDArray[np.uint64]
_Pairs: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]
_Candidates: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]


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

    Each is told with the original of which the fewest bits differ, and of equals with the first.
    Many are looked up by parts of their hashes, not compared pair by pair; what is found is the
    same, but for crowds in large sets. An image is in a crowd where more than `_CROWD` originals
    share a part with it, as frames of a camera that never moves do. If there are no more than
    `_PAIRS_COMPARED_FOR_CROWDS` pairs of images in all, it is compared with every original. If
    there are more, it is compared, of those that share the part, only with the `_NEIGHBOURS` whose
    bits from there on are next to its own in order: so the effort is bounded for every image. What
    is told of an image depends on no other of the second set, but for their number.

    Neither set is copied. Besides, 8 bytes are held for each original and 16 for each image of the
    second set; all else is bounded.

    Args:
        first: Hashes one after another, HASH_BYTES each; NO_HASH is like nothing.
        second: In the same form.
    """
    originals, rows = _words(first), _words(second)
    # Bits that differ, then the original: the least is the likest, and of equals the first.
    likest = np.full(len(rows), _NONE_ALIKE, dtype=np.int64)
    for row, original, bits in _alike(rows, originals):
        np.minimum.at(likest, row, bits << _ORIGINAL_BITS | original)
    for found in np.flatnonzero(likest != _NONE_ALIKE).tolist():
        differing, position = divmod(int(likest[found]), 1 << _ORIGINAL_BITS)
        yield NearCopy(position=found, original=position, bits=differing)


def _alike(rows: _Words, originals: _Words) -> Iterator[_Pairs]:
    """Yields pairs that are alike, for every row the likest among them; but see `near_copies`."""
    pairs = len(rows) * len(originals)
    if pairs <= _PAIRS_COMPARED_DIRECTLY:
        yield from _by_comparing_all(np.flatnonzero(rows.any(axis=1)), rows, originals)
    elif pairs <= _PAIRS_COMPARED_FOR_CROWDS:
        is_in_crowd = np.zeros(len(rows), dtype=np.bool_)
        yield from _by_bands(rows, originals, is_in_crowd=is_in_crowd)
        yield from _by_comparing_all(np.flatnonzero(is_in_crowd), rows, originals)
    else:
        yield from _by_bands(rows, originals, is_in_crowd=None)


def _by_comparing_all(
    chosen: NDArray[np.intp], rows: _Words, originals: _Words
) -> Iterator[_Pairs]:
    """Yields pairs that are alike, for every row that is chosen the likest among them."""
    block = _Block()
    for start in range(0, len(originals), _COLUMNS_AT_ONCE):
        part = originals[start : start + _COLUMNS_AT_ONCE]
        columns = np.flatnonzero(part.any(axis=1))
        part = part[columns]
        by_word = np.ascontiguousarray(part.T)
        for begin in range(0, len(chosen), _ROWS_AT_ONCE):
            own = chosen[begin : begin + _ROWS_AT_ONCE]
            near = block.near(rows[own], by_word)
            if len(near):
                row, column, bits = block.alike(near, rows[own], part, by_word)
                yield own[row], start + columns[column], bits


class _Block:
    """Compares some hashes with some others.

    It does so in the same arrays again and again: making new ones takes longer than comparing.
    """

    def __init__(self) -> None:
        size = _ROWS_AT_ONCE * _COLUMNS_AT_ONCE
        self._differing = np.empty(size, dtype=np.uint64)
        self._coarse = np.empty(size, dtype=np.uint8)
        self._is_near = np.empty(size, dtype=np.bool_)

    def near(self, rows: _Words, by_word: _Words) -> NDArray[np.intp]:
        """Returns the pairs whose coarse bits are alike, as places in the rows one after another.

        Args:
            rows: uint64[R, 4].
            by_word: uint64[4, C], the others word by word.
        """
        size = len(rows) * by_word.shape[1]
        coarse = self._coarse[:size]
        self._count(rows[:, 0], by_word[0], out=coarse)
        is_near = np.less_equal(coarse, _MOST_COARSE_BITS, out=self._is_near[:size])
        return np.flatnonzero(is_near)

    def alike(
        self, near: NDArray[np.intp], rows: _Words, columns: _Words, by_word: _Words
    ) -> _Pairs:
        """Returns pairs that are alike: all, or for each row the likest and of equals the first.

        Args:
            near: What `near` has just returned.
            rows: uint64[R, 4].
            columns: uint64[C, 4], the others.
            by_word: The same, uint64[4, C].
        """
        size = len(rows) * len(columns)
        if len(near) * _MANY_ALIKE <= size:
            return _confirmed(*np.divmod(near, len(columns)), rows, columns)
        coarse, is_near = self._coarse[:size], self._is_near[:size]
        bits, part = coarse, np.empty(size, dtype=np.uint8)
        for word in range(1, _WORDS):
            self._count(rows[:, word], by_word[word], out=part)
            bits += part
        bits[~is_near] = HASH_BITS
        bits = bits.reshape(len(rows), len(columns))
        likest = bits.argmin(axis=1)
        fewest = bits.min(axis=1).astype(np.intp)
        row = np.flatnonzero(fewest <= MOST_BITS)
        return row, likest[row], fewest[row]

    def _count(
        self, rows: NDArray[np.uint64], columns: NDArray[np.uint64], *, out: NDArray[np.uint8]
    ) -> None:
        """Writes for every pair of words how many bits differ."""
        differing = self._differing[: len(out)]
        shape = (len(rows), len(columns))
        np.bitwise_xor(rows[:, None], columns[None, :], out=differing.reshape(shape))
        np.bitwise_count(differing, out=out)


def _by_bands(
    rows: _Words, originals: _Words, *, is_in_crowd: NDArray[np.bool_] | None
) -> Iterator[_Pairs]:
    """Looks every row up in tables of parts of the hash; yields pairs that are alike.

    Of `_BANDS` parts that do not overlap, two hashes that differ in at most MOST_BITS bits have one
    in which at most `_BAND_FLIPS` differ: so every way of changing that few is looked up.

    Sources: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012.
    For crowds: Charikar, Similarity Estimation Techniques from Rounding Algorithms, 2002, where the
    neighbours in the order of bits that are permuted are compared.

    Args:
        rows: uint64[M, 4].
        originals: uint64[N, 4].
        is_in_crowd: bool[M], where rows in a crowd are noted and then left alone; None for
            comparing them with their neighbours.
    """
    index = _Index(len(originals))
    room = np.empty(len(rows), dtype=np.uint64)
    places = _place_mask(len(rows))
    for band in range(_BANDS):
        # The first bit, the same in all, is in no band.
        start = 1 + band * _BAND_BITS
        index.fill(originals, start=start)
        # Rows with bits side by side look at the same part of the tables.
        own = _in_order(rows, start=start, out=room)
        for begin in range(0, len(own), _LOOKED_UP_AT_ONCE):
            row = (own[begin : begin + _LOOKED_UP_AT_ONCE] & places).astype(np.intp)
            if is_in_crowd is not None:
                row = row[~is_in_crowd[row]]
            bits = _bits_from(start, rows.take(row, axis=0))
            found, crowded = index.look_up(bits)
            for position, original in index.members(found, bits):
                yield _confirmed(row.take(position), original, rows, originals)
            if is_in_crowd is not None:
                is_in_crowd[row[crowded]] = True
                continue
            for position, original in index.neighbours(crowded, bits):
                yield _confirmed(row.take(position), original, rows, originals)


@dataclass(frozen=True, kw_only=True)
class _Ranges:
    """Parts of the originals in order, each for a row.

    Attributes:
        position: intp[K], of the row among those that were looked up.
        first, size: intp[K], where the part begins, and how many originals it has.
    """

    position: NDArray[np.intp]
    first: NDArray[np.intp]
    size: NDArray[np.intp]


class _Index:
    """The originals in the order of their bits from a band on, and where in it to look.

    The arrays are made once, for all bands. The head of a band's value is what they go by, the tail
    its last `_TAIL_BITS` bits.

    Attributes:
        _in_order: uint64[N], bits from the start of the band on, then the original.
        _tails: uint8[_HEADS], a bit for each tail that an original has behind the head.
        _starts: int32[_HEADS + 1], where in `_in_order` what begins with a head does.
    """

    def __init__(self, originals: int) -> None:
        self._places = _place_mask(originals)
        self._room = np.empty(originals, dtype=np.uint64)
        self._in_order = self._room
        self._tails = np.zeros(_HEADS, dtype=np.uint8)
        self._starts = np.zeros(_HEADS + 1, dtype=np.int32)

    def fill(self, originals: _Words, *, start: int) -> None:
        """Puts the originals in, by their bits from the start of a band on."""
        self._in_order = _in_order(originals, start=start, out=self._room)
        self._tails[:] = 0
        self._starts[:] = 0
        last = -1
        for begin in range(0, len(self._in_order), _INDEXED_AT_ONCE):
            values = _value(self._in_order[begin : begin + _INDEXED_AT_ONCE])
            np.add.at(self._starts, (values >> _TAIL_BITS) + 1, np.int32(1))
            fresh = values[np.diff(values, prepend=last) > 0]
            np.add.at(self._tails, fresh >> _TAIL_BITS, _tails_near()[0].take(_tail(fresh)))
            last = int(values[-1])
        np.cumsum(self._starts, out=self._starts)

    def look_up(self, bits: NDArray[np.uint64]) -> tuple[_Ranges, NDArray[np.intp]]:
        """Returns where the originals are that share the band with rows, and the rows in a crowd.

        Of these, no originals are returned.

        Args:
            bits: uint64[M], those of each row from the start of the band on.
        """
        values = _value(bits)
        heads = _head_flips()[:, None] ^ (values >> _TAIL_BITS)[None, :]
        flips_left = _BAND_FLIPS - np.bitwise_count(_head_flips())
        tails = _tails_near()[:, _tail(values)].take(flips_left, axis=0)
        hit = np.flatnonzero(self._tails.take(heads) & tails)
        head, position = heads.ravel().take(hit), hit % max(len(values), 1)
        first = self._starts.take(head).astype(np.intp)
        size = self._starts.take(head + 1) - first
        in_crowd = np.bincount(position, weights=size, minlength=len(values)) > _CROWD
        if in_crowd.any():
            apart = np.flatnonzero(~in_crowd.take(position))
            position, first, size = (a.take(apart) for a in (position, first, size))
        return _Ranges(position=position, first=first, size=size), np.flatnonzero(in_crowd)

    def members(self, ranges: _Ranges, bits: NDArray[np.uint64]) -> Iterator[_Candidates]:
        """Yields positions of rows, and with each an original to compare, in bounded parts."""
        ends = np.cumsum(ranges.size)
        begin = 0
        while begin < len(ends):
            before = ends[begin - 1] if begin else 0
            end = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE)), begin + 1)
            part = slice(begin, end)
            size = ranges.size[part]
            position = np.repeat(ranges.position[part], size)
            offset = np.repeat(ranges.first[part] - (ends[part] - size - before), size)
            member = self._in_order.take(np.arange(len(position)) + offset)
            flips = np.bitwise_count(_value(member ^ bits.take(position)))
            near = np.flatnonzero(flips <= _BAND_FLIPS)
            yield position.take(near), (member.take(near) & self._places).astype(np.intp)
            begin = end

    def neighbours(
        self, crowded: NDArray[np.intp], bits: NDArray[np.uint64]
    ) -> Iterator[_Candidates]:
        """Yields positions of rows, and with each an original next to it, in bounded parts."""
        count = min(_NEIGHBOURS, len(self._in_order))
        # The first of those with the same bits is in the middle: of equals, it is told.
        middle = np.searchsorted(self._in_order, bits[crowded] & ~self._places)
        first = np.clip(middle - count // 2, 0, len(self._in_order) - count)
        at_once = max(_PAIRS_AT_ONCE // _NEIGHBOURS, 1)
        for begin in range(0, len(crowded), at_once):
            part = slice(begin, begin + at_once)
            member = self._in_order.take(first[part, None] + np.arange(count)[None, :]).ravel()
            yield np.repeat(crowded[part], count), (member & self._places).astype(np.intp)


def _in_order(words: _Words, *, start: int, out: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the hashes' bits from one on in order, in the low bits of each the hash's place.

    Images without a hash are left out.

    Args:
        words: uint64[N, 4].
        start: Number of the bit.
        out: uint64[N], of which what is returned is the first part.
    """
    places = _place_mask(len(words))
    filled = 0
    for begin in range(0, len(words), _INDEXED_AT_ONCE):
        part = words[begin : begin + _INDEXED_AT_ONCE]
        hashed = np.flatnonzero(part.any(axis=1))
        bits = _bits_from(start, part).take(hashed)
        end = filled + len(hashed)
        out[filled:end] = bits & ~places | (begin + hashed).astype(np.uint64)
        filled = end
    found = out[:filled]
    found.sort()
    return found


def _bits_from(start: int, words: _Words) -> NDArray[np.uint64]:
    """Returns 64 bits of each hash from one on; after the last comes the first."""
    number, shift = divmod(start, _WORD_BITS)
    octets = words.view(">u8")
    high, low = (octets[:, (number + k) % _WORDS].astype(np.uint64) for k in (0, 1))
    return high << np.uint64(shift) | low >> np.uint64(_WORD_BITS - shift)


def _place_mask(count: int) -> np.uint64:
    """Returns the low bits that numbers below the count need."""
    return np.uint64((1 << count.bit_length()) - 1)


def _value(bits: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Returns the value of a band that the bits begin with."""
    return (bits >> np.uint64(_WORD_BITS - _BAND_BITS)).astype(np.intp)


def _tail(values: NDArray[np.intp]) -> NDArray[np.intp]:
    return values & ((1 << _TAIL_BITS) - 1)


@cache
def _head_flips() -> NDArray[np.intp]:
    """Returns what changes no bit, one bit, ... `_BAND_FLIPS` bits of a head."""
    bits = range(_BAND_BITS - _TAIL_BITS)
    sets = (s for size in range(_BAND_FLIPS + 1) for s in combinations(bits, size))
    return np.array([sum(1 << bit for bit in bits) for bits in sets], dtype=np.intp)


@cache
def _tails_near() -> NDArray[np.uint8]:
    """Returns uint8[_BAND_FLIPS + 1, 2 ** _TAIL_BITS]: by number of bits and tail, those tails, a
    bit for each, that differ from it in no more bits.
    """
    tails = np.arange(1 << _TAIL_BITS)
    differing = np.bitwise_count(tails[:, None] ^ tails[None, :])
    near = differing[None] <= np.arange(_BAND_FLIPS + 1)[:, None, None]
    return np.asarray((near << tails).sum(axis=-1), dtype=np.uint8)


def _confirmed(
    row: NDArray[np.intp], original: NDArray[np.intp], rows: _Words, originals: _Words
) -> _Pairs:
    """Returns those pairs of which few enough bits differ, and how many do."""
    coarse = _word_bits(row, original, rows, originals, word=0)
    near = np.flatnonzero(coarse <= _MOST_COARSE_BITS)
    row, original, bits = row.take(near), original.take(near), coarse.take(near)
    for word in range(1, _WORDS):
        bits += _word_bits(row, original, rows, originals, word=word)
    alike = np.flatnonzero(bits <= MOST_BITS)
    return row.take(alike), original.take(alike), bits.take(alike).astype(np.intp)


def _word_bits(
    row: NDArray[np.intp], original: NDArray[np.intp], rows: _Words, originals: _Words, *, word: int
) -> NDArray[np.uint8]:
    """Returns how many bits of a word differ in each pair."""
    # Taking from a flat array is many times as fast as from a column.
    ours = rows.ravel().take(row * _WORDS + word)
    theirs = originals.ravel().take(original * _WORDS + word)
    counts: NDArray[np.uint8] = np.bitwise_count(ours ^ theirs)
    return counts


def _words(hashes: bytes | bytearray) -> _Words:
    return np.frombuffer(hashes, dtype=np.uint64).reshape(-1, _WORDS)
