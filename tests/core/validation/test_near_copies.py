from __future__ import annotations

import io
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from kfdet.core.shapes import shapes_image
from kfdet.core.validation import near_copies as searching
from kfdet.core.validation.catalogue import BY_CODE
from kfdet.core.validation.near_copies import (
    HASH_BYTES,
    MOST_BITS,
    NO_HASH,
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
    """Returns hashes with up to 60 bits changed, some of them all at the beginning.

    Spread evenly, no part of the hash stays whole.
    """
    rows = []
    for _ in range(count):
        flips = int(rng.choice([30, 31, 32, 33, 34])) if spread else int(rng.integers(0, 60))
        where = (
            (1 + rng.integers(0, 253) + np.arange(flips) * 253 // flips) % 256
            if spread
            else rng.choice(rng.choice([64, 256]), size=flips, replace=False)
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


def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a few hashes fill what thousands fill otherwise: every loop goes round several times."""
    for name, number in {
        "_ROWS_AT_ONCE": 4,
        "_COLUMNS_AT_ONCE": 32,
        "_INDEXED_AT_ONCE": 16,
        "_LOOKED_UP_AT_ONCE": 8,
        "_PAIRS_AT_ONCE": 4,
    }.items():
        monkeypatch.setattr(searching, name, number)


def as_in_large_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks images up by parts of their hashes, with a bounded effort for crowds."""
    monkeypatch.setattr(searching, "_PAIRS_COMPARED_DIRECTLY", 0)
    monkeypatch.setattr(searching, "_PAIRS_COMPARED_FOR_CROWDS", 0)


@pytest.mark.parametrize("small", [False, True], ids=["whole", "in small parts"])
@pytest.mark.parametrize("directly", [False, True], ids=["by parts", "directly"])
def test_the_search_finds_what_comparing_every_pair_finds(
    directly: bool, small: bool, monkeypatch: pytest.MonkeyPatch
):
    if not directly:
        as_in_large_sets(monkeypatch)
    if small:
        in_small_parts(monkeypatch)

    @settings(max_examples=12, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        spread=st.booleans(),
        scene=st.booleans(),
        originals=st.integers(1, 300),
    )
    def check(seed: int, spread: bool, scene: bool, originals: int) -> None:
        rng = np.random.default_rng(seed)
        first = rng.integers(0, 256, (originals, HASH_BYTES), dtype=np.uint8)
        # Originals alike among themselves, half of them or all: of equals, the first is told.
        own = 1 if scene else originals // 2
        if own < originals:
            first[own:] = copies_of(first[: own + (not scene)], originals - own, rng, spread=False)
        first[rng.integers(0, originals, originals // 4)] = first[0]
        second = copies_of(first, 150, rng, spread=spread)
        first[rng.integers(0, originals)] = second[3] = 0
        expected = by_comparing_every_pair(first, second)
        assert found_in(first, second) == expected
        assert spread or originals < 9 or 20 < len(expected) <= 149

    check()


def frames_of(
    scene: NDArray[np.uint8], count: int, rng: np.random.Generator, *, share: float
) -> NDArray[np.uint8]:
    """Returns hashes in which each bit but the first differs from the scene's by chance."""
    differs = rng.random((count, 8 * HASH_BYTES), dtype=np.float32) < share
    differs[:, 0] = False
    return np.packbits(np.unpackbits(scene) ^ differs, axis=1)


def layouts_of(
    scene: NDArray[np.uint8], count: int, rng: np.random.Generator, *, shared_bytes: int
) -> NDArray[np.uint8]:
    """Returns hashes of which only the first bytes are the same."""
    rows = rng.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)
    rows[:, :shared_bytes] = scene[:shared_bytes]
    return rows


CROWDS = {
    "frames of a still camera": lambda scene, count, rng: frames_of(scene, count, rng, share=0.03),
    "a scene that changes": lambda scene, count, rng: frames_of(scene, count, rng, share=0.12),
    "one layout": lambda scene, count, rng: layouts_of(scene, count, rng, shared_bytes=12),
    "one layout, most of it": lambda scene, count, rng: layouts_of(
        scene, count, rng, shared_bytes=22
    ),
    "one image": lambda scene, count, rng: np.repeat(scene[None], count, axis=0),
}


@pytest.mark.parametrize("small", [False, True], ids=["whole", "in small parts"])
@pytest.mark.parametrize("crowd", CROWDS)
def test_in_sets_of_middling_size_a_crowd_is_compared_in_full(
    crowd: str, small: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(searching, "_PAIRS_COMPARED_DIRECTLY", 0)
    monkeypatch.setattr(searching, "_CROWD", 30)
    monkeypatch.setattr(searching, "_NEIGHBOURS", 1)
    if small:
        in_small_parts(monkeypatch)
    rng = np.random.default_rng(4)
    first = rng.integers(0, 256, (900, HASH_BYTES), dtype=np.uint8)
    first[100:] = CROWDS[crowd](first[0], 800, rng)
    second = np.concatenate(
        [CROWDS[crowd](first[0], 60, rng), copies_of(first, 90, rng, spread=False)]
    )
    first[7] = second[140] = 0
    expected = by_comparing_every_pair(first, second)
    assert len(expected) > 30
    assert found_in(first, second) == expected


def test_the_limits_that_are_told_are_those_of_the_search():
    limits = BY_CODE["image-near-copy"].limits
    for number in (
        searching._PAIRS_COMPARED_FOR_CROWDS,
        searching._CROWD,
        searching._NEIGHBOURS,
        searching.HASH_BITS,
        MOST_BITS,
    ):
        assert f" {number:,} " in limits


class Compared:
    """Counts the pairs that the search compares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pairs = 0
        confirmed = searching._confirmed

        def counting(row, original, rows, originals):
            self.pairs += len(row)
            return confirmed(row, original, rows, originals)

        monkeypatch.setattr(searching, "_confirmed", counting)


@pytest.mark.parametrize("crowd", CROWDS)
def test_a_crowd_costs_a_bounded_effort_and_hides_no_plain_copy(
    crowd: str, monkeypatch: pytest.MonkeyPatch
):
    as_in_large_sets(monkeypatch)
    rng = np.random.default_rng(5)
    scene = rng.integers(0, 256, HASH_BYTES, dtype=np.uint8)
    scene[0] |= 128
    first = np.concatenate(
        [
            rng.integers(0, 256, (2000, HASH_BYTES), dtype=np.uint8),
            CROWDS[crowd](scene, 28_000, rng),
        ]
    )
    sources = rng.integers(2000, len(first), 200)
    # As many bits as encoding anew, scaling and brightness turn over, and more.
    copies = np.array(
        [with_flips(first[k], 1 + rng.choice(255, k % 13, replace=False)) for k in sources]
    )
    strangers = rng.integers(0, 256, (200, HASH_BYTES), dtype=np.uint8)
    members = CROWDS[crowd](scene, 200, rng)
    second = np.concatenate([copies, strangers, members])
    compared = Compared(monkeypatch)
    found = found_in(first, second)
    assert compared.pairs <= len(second) * 11 * searching._CROWD
    positions = {position for position, _, _ in found}
    assert positions >= set(range(200))
    assert positions.isdisjoint(range(200, 400))
    exact = {position: (original, bits) for position, original, bits in found if not bits}
    assert exact.keys() >= set(np.flatnonzero(sources % 13 == 0).tolist())
    for position, original, bits in found:
        differing = np.unpackbits(first[original] ^ second[position])
        assert (differing.sum(), differing[:64].sum() <= 14) == (bits, True)
    for position, (original, _) in exact.items():
        assert original == int((first == second[position]).all(axis=1).argmax())


def test_a_crowd_twice_as_large_costs_an_image_no_more(monkeypatch: pytest.MonkeyPatch):
    as_in_large_sets(monkeypatch)
    rng = np.random.default_rng(6)
    scene = rng.integers(0, 256, HASH_BYTES, dtype=np.uint8)
    second = frames_of(scene, 100, rng, share=0.05)
    first = frames_of(scene, 40_000, rng, share=0.05)
    pairs = []
    for count in (20_000, 40_000):
        compared = Compared(monkeypatch)
        assert len(found_in(first[:count], second)) == len(second)
        pairs.append(compared.pairs)
    assert pairs[1] <= 1.01 * pairs[0]


def test_what_is_told_of_an_image_depends_on_no_other(monkeypatch: pytest.MonkeyPatch):
    as_in_large_sets(monkeypatch)
    rng = np.random.default_rng(7)
    scene = rng.integers(0, 256, HASH_BYTES, dtype=np.uint8)
    first = frames_of(scene, 20_000, rng, share=0.1)
    second = frames_of(scene, 700, rng, share=0.12)
    whole = found_in(first, second)
    assert 50 < len(whole) < 650
    order = rng.permutation(len(second))
    assert {(int(order[p]), o, b) for p, o, b in found_in(first, second[order])} == whole
    parts = [(begin, second[begin : begin + 100]) for begin in range(0, 700, 100)]
    assert {
        (begin + p, o, b) for begin, part in parts for p, o, b in found_in(first, part)
    } == whole


def test_the_search_holds_few_bytes_an_image_and_no_second_copy_of_the_hashes(
    monkeypatch: pytest.MonkeyPatch,
):
    as_in_large_sets(monkeypatch)
    rng = np.random.default_rng(8)
    first, second = bytearray(rng.bytes(260_000 * HASH_BYTES)), rng.bytes(2000 * HASH_BYTES)

    def peak(originals: bytes | bytearray, others: bytes | bytearray) -> int:
        tracemalloc.start()
        list(near_copies(originals, others))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(first[: 65_000 * HASH_BYTES], second)
    assert few < 10e6
    # A copy of the hashes would take 32 bytes an image.
    assert peak(first, second) < few + 195_000 * 9
    assert peak(second, first) < few + 260_000 * 17


@pytest.mark.parametrize(("first", "second"), itertools.product([b"", NO_HASH], [b"", NO_HASH]))
def test_images_without_a_hash_are_like_nothing(first: bytes, second: bytes):
    assert list(near_copies(first, second)) == []
