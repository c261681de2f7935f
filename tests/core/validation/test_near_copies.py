from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from kfdet.core.shapes import shapes_image
from kfdet.core.validation import near_copies as searching
from kfdet.core.validation.near_copies import (
    HASH_BYTES,
    MOST_BITS,
    NO_HASH,
    _bit_count,
    _bit_count_by_table,
    hash_image,
    near_copies,
)


def scene(seed: int, size: int = 128) -> Image.Image:
    return Image.open(io.BytesIO(shapes_image(seed=(seed,), size_px=size).jpeg)).convert("RGB")


def hash_of(image: Image.Image) -> bytes:
    return hash_image(np.asarray(image.convert("L")))[0]


def encoded_anew(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return Image.open(stream)


CHANGES = {
    "encoded anew": encoded_anew,
    "scaled": lambda image: image.resize((90, 90)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "moved by a pixel": lambda image: image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, 1, 0, 1, 1)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_many_images(change: str):
    originals = b"".join(hash_of(scene(seed)) for seed in range(40))
    found = 0
    for seed in range(0, 40, 5):
        copies = list(near_copies(originals, hash_of(CHANGES[change](scene(seed)))))
        found += [copy.original for copy in copies] == [seed]
    assert found >= 6


def test_unrelated_images_are_not_alike():
    hashes = b"".join(hash_of(scene(seed)) for seed in range(150))
    others = b"".join(hash_of(scene(seed)) for seed in range(1000, 1150))
    assert list(near_copies(hashes, others)) == []


def with_flips(row: NDArray[np.uint8], flips: NDArray[np.intp]) -> NDArray[np.uint8]:
    bits = np.unpackbits(row)
    bits[flips] ^= 1
    return np.packbits(bits)


def copies_of(
    first: NDArray[np.uint8], count: int, rng: np.random.Generator, *, spread: bool
) -> NDArray[np.uint8]:
    """Returns hashes with up to 60 bits changed; spread evenly, no part of the hash stays whole."""
    rows = []
    for _ in range(count):
        flips = int(rng.choice([30, 31, 32, 33, 34])) if spread else int(rng.integers(0, 60))
        where = (
            (1 + rng.integers(0, 253) + np.arange(flips) * 253 // flips) % 256
            if spread
            else rng.choice(256, size=flips, replace=False)
        )
        rows.append(with_flips(first[rng.integers(0, len(first))], where))
    return np.array(rows)


def by_comparing_every_pair(
    first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> set[tuple[int, int, int]]:
    expected = set()
    for position, row in enumerate(second):
        pairs = np.unpackbits(first ^ row, axis=1)
        bits = pairs.sum(axis=1)
        bits[(pairs[:, :64].sum(axis=1) > 14) | ~first.any(axis=1) | (not row.any())] = 999
        if bits.min() <= MOST_BITS:
            expected.add((position, int(bits.argmin()), int(bits.min())))
    return expected


def found_in(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> set[tuple[int, int, int]]:
    return {
        (copy.position, copy.original, copy.bits)
        for copy in near_copies(first.tobytes(), second.tobytes())
    }


@pytest.mark.parametrize("directly", [0, 1 << 27], ids=["by parts", "directly"])
def test_the_search_finds_what_comparing_every_pair_finds(
    directly: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(searching, "_PAIRS_COMPARED_DIRECTLY", directly)

    @settings(max_examples=12, deadline=None)
    @given(seed=st.integers(0, 2**32), spread=st.booleans(), originals=st.integers(1, 300))
    def check(seed: int, spread: bool, originals: int) -> None:
        rng = np.random.default_rng(seed)
        first = rng.integers(0, 256, (originals, HASH_BYTES), dtype=np.uint8)
        # Originals alike among themselves: of equals, the first is told.
        first[originals // 2 :] = copies_of(
            first[: originals // 2 + 1], originals - originals // 2, rng, spread=False
        )
        second = copies_of(first, 150, rng, spread=spread)
        first[rng.integers(0, originals)] = second[3] = 0
        expected = by_comparing_every_pair(first, second)
        assert found_in(first, second) == expected
        assert spread or originals < 9 or 20 < len(expected) < 150

    check()


def test_a_crowd_with_the_same_parts_hides_no_copy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(searching, "_PAIRS_COMPARED_DIRECTLY", 0)
    rng = np.random.default_rng(5)
    first = rng.integers(0, 256, (1500, HASH_BYTES), dtype=np.uint8)
    # 600 frames of one scene, and 600 images of which only a part is the same.
    first[100:700] = [with_flips(first[0], rng.choice(256, 8, replace=False)) for _ in range(600)]
    first[700:1300, 28:] = first[1, 28:]
    frames = copies_of(first[:1], 60, rng, spread=False)
    parts = copies_of(first[700:1300], 60, rng, spread=False)
    strangers = rng.integers(0, 256, (60, HASH_BYTES), dtype=np.uint8)
    strangers[:, 28:] = first[1, 28:]
    second = np.concatenate([frames, parts, strangers])

    counted: list[int] = []
    members = searching._Index.members

    def counting(index, rows, buckets):
        for pair in members(index, rows, buckets):
            counted.append(len(pair[0]))
            yield pair

    monkeypatch.setattr(searching._Index, "members", counting)
    found = found_in(first, second)
    positions = {position for position, _, _ in by_comparing_every_pair(first, second)}
    assert {position for position, _, _ in found} == positions
    assert any(position < 60 for position in positions)
    assert any(60 <= position < 120 for position in positions)
    for position, original, bits in found:
        differing = np.unpackbits(first[original] ^ second[position])
        assert (differing.sum(), differing[:64].sum() <= 14) == (bits, True)
    assert sum(counted) <= len(second) * 256


@pytest.mark.parametrize(("first", "second"), itertools.product([b"", NO_HASH], [b"", NO_HASH]))
def test_images_without_a_hash_are_like_nothing(first: bytes, second: bytes):
    assert list(near_copies(first, second)) == []


def test_bits_are_counted_alike_with_any_numpy():
    words = np.random.default_rng(0).integers(0, 2**63, (50, 4), dtype=np.uint64) * np.uint64(2)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert _bit_count_by_table(words).tolist() == expected
    assert _bit_count(words).tolist() == expected
