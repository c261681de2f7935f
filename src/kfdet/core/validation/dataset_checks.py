"""Checks that need the whole set: its splits side by side, and the label map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby, pairwise, repeat

import numpy as np
from numpy.typing import NDArray

from kfdet.core.validation.boxes import Names, plain
from kfdet.core.validation.examine import CONTENT_BYTES
from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.near_copies import HASH_BITS, MOST_BITS, NearCopy, near_copies
from kfdet.core.validation.placement import PLACEMENTS
from kfdet.core.validation.tally import ID_BYTES, Identities, SplitTally
from kfdet.schema.dataset import SPLITS, Split

IMBALANCE = 100
_MOSTLY = 0.9
_HARDLY = 0.1
_FEW_BOXES = 0.5
_FEWEST_PLACED = 30
_FEWEST_ROTATED = 10
_CLEARLY = 0.6
_FEWEST_LETTERS = 6
_MARKED_AT_ONCE = 1 << 15
_MOST_LETTERS = 100


def label_map_faults(names: Names, *, file: str) -> Iterator[tuple[Place, Fault]]:
    """Yields what is odd about a label map by itself."""
    ids = sorted(names.aliases)
    place = Place(file=file)
    for below, above in pairwise((0, *ids)):
        if above != below + 1:
            shown = str(below + 1) if above == below + 2 else f"{below + 1} to {above - 1}"
            yield (
                place,
                Fault(
                    code="label-map-gaps",
                    seen=f"no class has id {shown}",
                    expected=f"ids 1 to {len(ids)}",
                ),
            )
    first: dict[str, str] = {}
    for number in ids:
        name = names.aliases[number][0]
        spellings = _spellings(name)
        earlier = next((first[key] for key in spellings if key in first), name)
        if earlier != name:
            fault = Fault(
                code="label-map-names-alike",
                seen=f'"{earlier}" and "{name}"',
                expected="names that differ in more than a letter",
            )
            yield place, fault
        for key in spellings:
            first.setdefault(key, name)


def _spellings(name: str) -> tuple[str, ...]:
    """Returns keys of which two names share one if they differ in case, spacing or one letter.

    Short names, and names with a digit or a letter by itself, mean another class by one letter.
    A very long name has one key, too: one for each letter would fill the memory.
    """
    letters = plain(name)
    words = name.replace("_", " ").replace("-", " ").split()
    if not _FEWEST_LETTERS <= len(letters) <= _MOST_LETTERS or any(
        len(w) == 1 or not w.isalpha() for w in words
    ):
        return (letters,)
    return (letters, *(letters[:at] + letters[at + 1 :] for at in range(len(letters))))


def class_set_faults(
    tallies: Mapping[Split, SplitTally], names: Names, *, file: str
) -> Iterator[tuple[Place, Fault]]:
    """Yields what the class counts of the splits show.

    Args:
        tallies: Of the splits that have images.
        names: Of the label map.
        file: The label map, which findings are attributed to.
    """
    yield from _off_by_one(tallies, names, file=file)
    for split, tally in tallies.items():
        for number, aliases in names.aliases.items():
            if not tally.class_boxes[number]:
                yield (
                    Place(file=file, split=split),
                    Fault(
                        code="class-absent",
                        seen=f'no box of "{aliases[0]}" (id {number}) in {split}',
                        expected="at least one",
                    ),
                )
    if "train" not in tallies:
        return
    counts = {
        number: tallies["train"].class_boxes[number]
        for number in names.aliases
        if tallies["train"].class_boxes[number]
    }
    if counts:
        most, least = max(counts, key=lambda n: counts[n]), min(counts, key=lambda n: counts[n])
        if counts[most] > IMBALANCE * counts[least]:
            yield (
                Place(file=file, split="train"),
                Fault(
                    code="class-imbalance",
                    seen=f'{counts[most]:,} boxes of "{names.aliases[most][0]}", '
                    f'{counts[least]:,} of "{names.aliases[least][0]}"',
                    expected=f"within a factor of {IMBALANCE}",
                ),
            )


def _off_by_one(
    tallies: Mapping[Split, SplitTally], names: Names, *, file: str
) -> Iterator[tuple[Place, Fault]]:
    texts = sum(tally.texts for tally in tallies.values())
    place = Place(file=file)
    if texts:
        shares = {
            offset: sum(tally.text_offsets[offset] for tally in tallies.values()) / texts
            for offset in (-1, 0, 1)
        }
        for offset in (-1, 1):
            if shares[offset] >= _MOSTLY and shares[0] <= _HARDLY:
                seen = (
                    f"{shares[offset]:.0%} of the class texts name the class of their id "
                    f"{'plus' if offset > 0 else 'minus'} one"
                )
                yield place, Fault(code="class-off-by-one", seen=seen, expected="that of their id")
        return
    ids = {number for tally in tallies.values() for number in tally.class_boxes}
    first, last = min(names.aliases), max(names.aliases)
    # Shifted by one they use the id beyond one end, and not that at the other.
    from_zero = 0 in ids and max(ids) == last - 1
    is_above = bool(ids) and min(ids) == first + 1 and max(ids) == last + 1
    if from_zero or is_above:
        seen = f"records use ids {min(ids)} to {max(ids)}, the label map {first} to {last}"
        yield place, Fault(code="class-off-by-one", seen=seen, expected="the same ids")


def split_faults(tallies: Mapping[Split, SplitTally]) -> Iterator[tuple[Place, Fault]]:
    """Yields what a split's sums show by themselves."""
    for split in SPLITS:
        tally = tallies.get(split)
        if tally is None or tally.images == 0:
            fault = Fault(code="split-empty", seen="0 images", expected="at least one")
            yield Place(file=f"dataset.{split}", split=split), fault
        elif tally.images_without_boxes > _FEW_BOXES * tally.images:
            yield (
                Place(file=f"dataset.{split}", split=split),
                Fault(
                    code="images-without-boxes",
                    seen=f"{tally.images_without_boxes:,} of {tally.images:,} images",
                    expected="boxes on at least half of them",
                ),
            )


def placement_faults(tallies: Mapping[Split, SplitTally]) -> Iterator[tuple[Place, Fault]]:
    """Yields the splits whose boxes would fit their images better if they were moved."""
    for split, tally in tallies.items():
        for rotated in (False, True):
            wins = {name: tally.placements[rotated, name] for name in PLACEMENTS}
            decided = sum(wins.values())
            best = max(wins, key=lambda name: wins[name])
            if (
                decided < (_FEWEST_ROTATED if rotated else _FEWEST_PLACED)
                or best == "as recorded"
                or wins[best] < _CLEARLY * decided
            ):
                continue
            which = "images that EXIF rotates" if rotated else "images"
            yield (
                Place(file=f"dataset.{split}", split=split),
                Fault(
                    code="boxes-misplaced",
                    seen=f"on {wins[best]:,} of {decided:,} {which} the boxes fit best {best}",
                    expected="as recorded",
                ),
            )


def source_id_faults(identities: Mapping[Split, Identities]) -> Iterator[tuple[Place, Fault]]:
    """Yields the splits whose source ids are no integers: tools that want integers stop at the first."""
    for split, columns in identities.items():
        for position in range(len(columns)):
            text = columns.source_id_of(position).strip()
            if text and not text.removeprefix("-").isdecimal():
                fault = Fault(
                    code="source-id-not-integer",
                    seen=f"{_shown(columns, position, split)}, and maybe more",
                    expected="an integer",
                )
                yield Place(file=f"dataset.{split}", split=split), fault
                break


def identity_faults(identities: Mapping[Split, Identities]) -> Iterator[tuple[Place, Fault]]:
    """Yields the images, and the source ids, that are there more than once."""
    yield from _repeated(
        identities,
        keys={split: columns.contents for split, columns in identities.items()},
        width=CONTENT_BYTES,
        across="image-in-two-splits",
        within="image-doubled",
        what="the image",
        expected="each image once",
    )
    yield from _repeated(
        identities,
        keys={split: columns.id_keys for split, columns in identities.items()},
        width=ID_BYTES,
        across="source-id-in-two-splits",
        within="source-id-doubled",
        what="the source_id",
        expected="an id of its own",
    )


def _repeated(
    identities: Mapping[Split, Identities],
    *,
    keys: Mapping[Split, bytearray],
    width: int,
    across: str,
    within: str,
    what: str,
    expected: str,
) -> Iterator[tuple[Place, Fault]]:
    """Yields a fault for every image whose key an earlier one has; a key of zeros is none.

    The same split is looked at first: a copy in its own split is no second leak.
    """
    first: dict[bytes, tuple[Split, int]] = {}
    splits = [split for split in SPLITS if split in identities]
    repeated = _occurring_again([keys[split] for split in splits], width=width)
    for split, positions in zip(splits, repeated, strict=True):
        columns = identities[split]
        own: dict[bytes, int] = {}
        for position in positions.tolist():
            value = bytes(keys[split][position * width : (position + 1) * width])
            if value in own:
                code, earlier = within, (split, own[value])
            elif value in first:
                code, earlier = across, first[value]
            else:
                own[value] = position
                continue
            own.setdefault(value, position)
            yield (
                _place(columns, position, split=split),
                Fault(
                    code=code,
                    seen=f"{what} of {_shown(identities[earlier[0]], earlier[1], earlier[0])}",
                    expected=expected,
                    like=_place(identities[earlier[0]], earlier[1], split=earlier[0]),
                ),
            )
        for value, position in own.items():
            first.setdefault(value, (split, position))


def _occurring_again(keys: Sequence[bytearray], *, width: int) -> list[NDArray[np.intp]]:
    """Returns, for each list of keys, the positions of those that may be there more than once.

    None is missing. A key that is there once is among them where the bits that are sorted, 40 and
    more of a digest, agree by chance with another's. Sorting them takes a tenth of the memory of a
    dictionary with every key.

    Args:
        keys: Digests one after another; one of zeros counts for none.
        width: Bytes of a key, a multiple of 8.
    """
    ends = np.cumsum([len(part) // width for part in keys], dtype=np.intp)
    count = int(ends[-1]) if len(ends) else 0
    places = np.uint64((1 << count.bit_length()) - 1)
    marks = np.empty(count, dtype=np.uint64)
    filled = 0
    for part, end in zip(keys, ends, strict=True):
        words = np.frombuffer(part, dtype=np.uint64).reshape(-1, width // 8)
        for begin in range(0, len(words), _MARKED_AT_ONCE):
            some = words[begin : begin + _MARKED_AT_ONCE]
            known = np.flatnonzero(some.any(axis=1))
            place = (end - len(words) + begin + known).astype(np.uint64)
            marks[filled : filled + len(known)] = some[known, 0] & ~places | place
            filled += len(known)
    marks = marks[:filled]
    marks.sort()
    same = np.flatnonzero((marks[1:] ^ marks[:-1]) <= places)
    again = np.unique(marks[np.concatenate([same, same + 1])] & places).astype(np.intp)
    parts = np.split(again, np.searchsorted(again, ends[:-1])) if len(keys) else []
    return [part - start for part, start in zip(parts, [0, *ends[:-1]], strict=True)]


def near_copy_faults(identities: Mapping[Split, Identities]) -> Iterator[tuple[Place, Fault]]:
    """Yields the images that look like one of an earlier split and are not its very bytes."""
    for split in SPLITS:
        columns = identities.get(split)
        if columns is None:
            continue
        for copy, earlier in _likest(identities, split):
            original = identities[earlier]
            if original.content_of(copy.original) == columns.content_of(copy.position):
                continue
            yield (
                _place(columns, copy.position, split=split),
                Fault(
                    code="image-near-copy",
                    seen=f"{copy.bits} of {HASH_BITS} bits of its perceptual hash differ from "
                    f"{_shown(original, copy.original, earlier)}",
                    expected=f"more than {MOST_BITS}",
                    like=_place(original, copy.original, split=earlier),
                ),
            )


def _likest(
    identities: Mapping[Split, Identities], split: Split
) -> Iterator[tuple[NearCopy, Split]]:
    """Yields what each image of a split looks most like in earlier splits; of equals, the first."""
    hashes = identities[split].hashes
    found = merge(
        *(
            zip(near_copies(identities[earlier].hashes, hashes), repeat(earlier))
            for earlier in SPLITS[: SPLITS.index(split)]
            if earlier in identities
        ),
        key=lambda pair: (pair[0].position, pair[0].bits),
    )
    for _, same in groupby(found, key=lambda pair: pair[0].position):
        yield next(same)


def _place(columns: Identities, position: int, *, split: Split) -> Place:
    return Place(
        file=columns.file_of(position),
        split=split,
        record=columns.records[position],
        byte_offset=columns.offsets[position],
        source_id=columns.source_id_of(position),
    )


def _shown(columns: Identities, position: int, split: Split) -> str:
    record = columns.records[position]
    return (
        f"{split} {columns.file_of(position)} record {record} "
        f"(source_id {columns.source_id_of(position)})"
    )
