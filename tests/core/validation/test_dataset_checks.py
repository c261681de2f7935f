from __future__ import annotations

import io
import tracemalloc
from array import array

import numpy as np
import pytest
from dataset_cases import encoded, examine_record, payload
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kfdet.core.shapes import shapes_image
from kfdet.core.validation import dataset_checks
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.dataset_checks import (
    class_set_faults,
    identity_faults,
    label_map_faults,
    near_copy_faults,
    split_faults,
)
from kfdet.core.validation.near_copies import HASH_BYTES
from kfdet.core.validation.tally import ID_BYTES, Identities, SplitTally
from kfdet.schema.dataset import SPLITS

BOXES = ((0.1, 0.2, 0.6, 0.7), (0.5, 0.5, 0.9, 0.8))
NAMES = Names(aliases={1: ("cat",), 2: ("dog",)})


def tally_of(*payloads: bytes, names: Names = NAMES) -> SplitTally:
    tally = SplitTally()
    for record in payloads:
        tally.add(examine_record(record, names=names).facts)
    return tally


def identities_of(*payloads: bytes, file: str) -> Identities:
    identities = Identities()
    for index, record in enumerate(payloads):
        facts = examine_record(record, names=NAMES).facts
        identities.add(facts, file=file, record=index, byte_offset=100 * index)
    return identities


def codes(faults) -> list[str]:
    return [fault.code for _, fault in faults]


def named(*names: str) -> Names:
    return Names(aliases={number: (name,) for number, name in enumerate(names, 1)})


def ids(*values: int, texts: tuple[str, ...] | None = None) -> bytes:
    return payload(
        boxes=[BOXES[0]] * len(values),
        object__class__label=np.array(values, np.int64),
        object__class__text=None if texts is None else [t.encode() for t in texts],
    )


def test_gaps_in_a_label_map_are_named():
    names = Names(aliases={1: ("a",), 3: ("b",), 7: ("c",)})
    seen = [fault.seen for _, fault in label_map_faults(names, file="m")]
    assert seen == ["no class has id 2", "no class has id 4 to 6"]
    assert codes(label_map_faults(names, file="m")) == ["label-map-gaps"] * 2
    assert codes(label_map_faults(NAMES, file="m")) == []


def test_names_that_differ_only_in_case_and_spacing_are_named():
    assert codes(label_map_faults(named("red cell", "Red_Cell", "cell"), file="m")) == [
        "label-map-names-alike"
    ]


def test_a_class_without_boxes_is_named_for_its_split():
    tallies = {"train": tally_of(ids(1, 2)), "val": tally_of(ids(1)), "test": tally_of(ids(2, 1))}
    ((place, fault),) = class_set_faults(tallies, NAMES, file="m")
    assert (place.split, fault.code, fault.seen) == (
        "val",
        "class-absent",
        'no box of "dog" (id 2) in val',
    )


def test_imbalance_beyond_a_hundred_is_named():
    balanced = tally_of(ids(*[1] * 100, 2))
    unbalanced = tally_of(ids(*[1] * 101, 2))
    assert codes(class_set_faults({"train": balanced}, NAMES, file="m")) == []
    assert codes(class_set_faults({"train": unbalanced}, NAMES, file="m")) == ["class-imbalance"]


def test_texts_that_name_the_next_class_are_off_by_one():
    names = named("cat", "dog", "cow", "hen")
    record = ids(1, 2, 3, texts=("dog", "cow", "hen"))
    faults = codes(class_set_faults({"train": tally_of(record, names=names)}, names, file="m"))
    assert faults[0] == "class-off-by-one"
    some = ids(1, 2, 3, texts=("cat", "dog", "hen"))
    assert "class-off-by-one" not in codes(
        class_set_faults({"train": tally_of(some, names=names)}, names, file="m")
    )


def test_ids_from_zero_without_texts_are_off_by_one():
    names = named("cat", "dog", "cow")
    zero = {"train": tally_of(ids(0, 1, 2), names=names)}
    assert codes(class_set_faults(zero, names, file="m"))[0] == "class-off-by-one"
    all_used = {"train": tally_of(ids(0, 1, 2, 3), names=names)}
    assert "class-off-by-one" not in codes(class_set_faults(all_used, names, file="m"))


def test_ids_from_two_without_texts_are_off_by_one():
    names = named("cat", "dog", "cow")
    above = {"train": tally_of(ids(2, 4), names=names), "val": tally_of(ids(3), names=names)}
    ((_, fault), *_) = class_set_faults(above, names, file="m")
    assert fault.code == "class-off-by-one"
    assert fault.seen == "records use ids 2 to 4, the label map 1 to 3"
    for used in ((2, 3), (1, 2, 3, 4), (2, 5), ()):
        others = {"train": tally_of(ids(*used), names=names)}
        assert "class-off-by-one" not in codes(class_set_faults(others, names, file="m"))


def test_an_empty_split_and_one_of_images_without_boxes_are_named():
    empty, bare = payload(boxes=[]), payload(boxes=BOXES)
    tallies = {
        "train": tally_of(empty, empty, bare),
        "val": SplitTally(),
        "test": tally_of(empty, bare),
    }
    faults = [(place.split, fault.code) for place, fault in split_faults(tallies)]
    assert faults == [("train", "images-without-boxes"), ("val", "split-empty")]


def test_images_and_ids_that_occur_twice_are_named_with_their_first_place():
    identities = {
        "train": identities_of(payload(seed=1), payload(seed=2), payload(seed=1), file="a"),
        "val": identities_of(payload(seed=3), file="b"),
        "test": identities_of(payload(seed=2), payload(seed=2), file="c"),
    }
    faults = [(f.code, p.split, p.record, f.seen) for p, f in identity_faults(identities)]
    assert faults == [
        ("image-doubled", "train", 2, "the image of train a record 0 (source_id 1)"),
        ("image-in-two-splits", "test", 0, "the image of train a record 1 (source_id 2)"),
        ("image-doubled", "test", 1, "the image of test c record 0 (source_id 2)"),
        ("source-id-doubled", "train", 2, "the source_id of train a record 0 (source_id 1)"),
        ("source-id-in-two-splits", "test", 0, "the source_id of train a record 1 (source_id 2)"),
        ("source-id-doubled", "test", 1, "the source_id of test c record 0 (source_id 2)"),
    ]


def columns_of(contents: NDArray[np.uint64], *, file: str) -> Identities:
    """Returns images with these contents and nothing else that is the same."""
    count = len(contents)
    return Identities(
        files=[file] if count else [],
        file_ends=array("Q", [count] if count else []),
        contents=bytearray(contents.tobytes()),
        id_keys=bytearray(count * ID_BYTES),
        hashes=bytearray(count * HASH_BYTES),
        text_ends=array("Q", [0] * count),
        records=array("Q", range(count)),
        offsets=array("Q", range(count)),
    )


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    different=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
def test_repeated_images_are_those_that_a_dictionary_of_all_finds(
    sizes: list[int], different: int, seed: int
):
    chance = np.random.default_rng(seed)
    words = chance.integers(0, 2**64, (different, 2), dtype=np.uint64)
    # Some differ only in the half that is not sorted, some are none.
    words[: different // 3, 0] = words[0, 0]
    words[different - different // 5 :] = 0
    contents = {
        split: words[chance.integers(0, different, count)]
        for split, count in zip(SPLITS, sizes, strict=True)
    }
    first: dict[bytes, tuple[str, int]] = {}
    expected = []
    for split in SPLITS:
        own: dict[bytes, tuple[str, int]] = {}
        for position, row in enumerate(contents[split]):
            value = row.tobytes()
            earlier = own.get(value) or first.get(value)
            if any(value) and earlier:
                code = "image-doubled" if value in own else "image-in-two-splits"
                expected.append((code, split, position, *earlier))
            own.setdefault(value, (split, position))
        first = own | first
    identities = {split: columns_of(rows, file=split) for split, rows in contents.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_checks, "_MARKED_AT_ONCE", 7)
        found = [
            (fault.code, place.split, place.record, fault.like.split, fault.like.record)
            for place, fault in identity_faults(identities)
        ]
    assert found == expected


def test_empty_ids_are_not_taken_for_equal():
    records = [payload(seed=seed, source_id=[b""]) for seed in (1, 2)]
    assert codes(identity_faults({"train": identities_of(*records, file="a")})) == []


def test_a_copy_encoded_anew_is_found_across_splits_but_not_within_one():
    scene = shapes_image(seed=(1,)).jpeg
    anew = encoded(Image.open(io.BytesIO(scene)), quality=50)
    first, again = payload(seed=1, encoded=[scene]), payload(seed=5, encoded=[anew])
    one = identities_of(first, again, file="a")
    assert codes(near_copy_faults({"train": one})) == []
    two = {
        "train": identities_of(first, file="a"),
        "val": identities_of(again, payload(seed=9), file="b"),
    }
    ((place, fault),) = near_copy_faults(two)
    assert (fault.code, place.split, place.record) == ("image-near-copy", "val", 0)
    assert "train a record 0 (source_id 1)" in fault.seen


def flipped(value: bytes, bits: int) -> bytes:
    """Returns a hash of which the last bits differ."""
    return (int.from_bytes(value) ^ ((1 << bits) - 1)).to_bytes(len(value))


def test_of_the_originals_in_two_splits_the_likest_is_told_and_of_equals_the_first():
    chance = np.random.default_rng(0)
    one, two, three = (b"\xff" + chance.bytes(HASH_BYTES - 1) for _ in range(3))
    hashes = {
        "train": [flipped(one, 9), flipped(two, 5), flipped(two, 5)],
        "val": [flipped(two, 5), flipped(one, 8), flipped(three, 3)],
        "test": [two, one, three],
    }
    identities = {}
    for split, values in hashes.items():
        contents = chance.integers(1, 2**64, (3, 2), dtype=np.uint64)
        identities[split] = columns_of(contents, file=split)
        identities[split].hashes = bytearray(b"".join(values))
    found = [
        (place.split, place.record, fault.like.split, fault.like.record, fault.seen.split()[0])
        for place, fault in near_copy_faults(identities)
    ]
    assert found == [
        ("val", 0, "train", 1, "0"),
        ("val", 1, "train", 0, "1"),
        ("test", 0, "train", 1, "5"),
        ("test", 1, "val", 1, "8"),
        ("test", 2, "val", 2, "3"),
    ]


def test_an_exact_copy_is_no_near_copy():
    same = {s: identities_of(payload(seed=1), file=s) for s in ("train", "val")}
    assert codes(near_copy_faults(same)) == []


def test_very_long_names_are_compared_without_gigabytes_of_spellings():
    long = [letter * 5_000 for letter in "abcdefgh"]
    tracemalloc.start()
    found = codes(label_map_faults(named(*long, "a" * 4_999 + "A"), file="m"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ["label-map-names-alike"]
    assert peak < 20e6
