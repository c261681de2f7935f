from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from kfdet.core.shapes import shapes_image
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


def test_the_search_finds_what_comparing_every_pair_finds():
    rng = np.random.default_rng(3)
    first = rng.integers(0, 256, (70, HASH_BYTES), dtype=np.uint8)
    second = first[rng.integers(0, 70, 150)].copy()
    for row in second:
        flips = rng.choice(256, size=int(rng.integers(0, 60)), replace=False)
        bits = np.unpackbits(row)
        bits[flips] ^= 1
        row[:] = np.packbits(bits)
    found = {(c.position, c.bits) for c in near_copies(first.tobytes(), second.tobytes())}
    expected = set()
    for position, row in enumerate(second):
        pairs = np.unpackbits(first ^ row, axis=1)
        near = pairs[:, :64].sum(axis=1) <= 14
        bits = pairs.sum(axis=1)[near]
        if len(bits) and bits.min() <= MOST_BITS:
            expected.add((position, int(bits.min())))
    assert found == expected
    assert 20 < len(found) < 150


@pytest.mark.parametrize(("first", "second"), itertools.product([b"", NO_HASH], [b"", NO_HASH]))
def test_images_without_a_hash_are_like_nothing(first: bytes, second: bytes):
    assert list(near_copies(first, second)) == []


def test_bits_are_counted_alike_with_any_numpy():
    words = np.random.default_rng(0).integers(0, 2**63, (50, 4), dtype=np.uint64) * np.uint64(2)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert _bit_count_by_table(words).tolist() == expected
    assert _bit_count(words).tolist() == expected
