"""Every finding that takes more than a record: a data set that triggers exactly it, and a near miss."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from core.validation.test_record_findings import TRIGGERS as RECORD_TRIGGERS
from dataset_cases import QUIET, encoded, noise, payload, sound_splits, write_dataset
from PIL import Image, ImageEnhance

from kfdet.core.label_map import contiguous
from kfdet.core.shapes import SHAPE_NAMES
from kfdet.core.tfrecord import encode_record
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import BY_CODE, severities
from kfdet.core.validation.findings import FindingLog
from kfdet.core.validation.partial import whole_log
from kfdet.errors import DataError
from kfdet.schema.dataset import SPLITS, LabelMap
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages.data_synth import shapes_record
from kfdet.storage.label_maps import read_named_classes, write_label_map
from kfdet.storage.scanning import scan_splits, split_files

BOXES = ((0.1, 0.2, 0.6, 0.7), (0.5, 0.5, 0.9, 0.8))


@dataclass(frozen=True)
class Case:
    """A data set in a folder, and the tasks that share its test split."""

    config: DatasetConfig
    readers: int = 2


Build = Callable[[Path], Case]


def counts(case: Case) -> dict[str, int]:
    """Returns the findings of severity error, warning or info, and those that are off by default."""
    try:
        names = Names(aliases=read_named_classes(case.config.label_map).aliases)
    except DataError:
        names = None
    scans = scan_splits(split_files(case.config), names=names, progress=QUIET, workers=1)
    log: FindingLog = whole_log(
        scans, names=names, label_map=case.config.label_map, readers={"test": case.readers}
    )
    return dict(log.counts)


def edited(
    edit: Callable[[dict[str, list[bytes]]], None] = lambda splits: None,
    *,
    images: int = 6,
    shards: int = 2,
) -> Build:
    """Returns a data set whose records were changed."""

    def build(folder: Path) -> Case:
        splits = sound_splits(images)
        edit(splits)
        return Case(write_dataset(folder, splits, shards=shards))

    return build


def damaged(change: Callable[[bytes], bytes], *, shards: int = 2) -> Build:
    """Returns a data set one file of which was changed."""

    def build(folder: Path) -> Case:
        case = edited(shards=shards)(folder)
        path = folder / f"val-00001-of-{shards:05d}.tfrecord"
        path.write_bytes(change(path.read_bytes()))
        return case

    return build


def touched(act: Callable[[Path], None]) -> Build:
    """Returns a data set in whose folder something was done."""

    def build(folder: Path) -> Case:
        case = edited()(folder)
        act(folder)
        return case

    return build


def patterns(**changes: Sequence[str]) -> Build:
    def build(folder: Path) -> Case:
        config = edited()(folder).config
        placed = {k: tuple(f"{folder}/{p}" for p in v) for k, v in changes.items()}
        return Case(config.model_copy(update=placed))

    return build


def readers(count: int) -> Build:
    return lambda folder: Case(edited()(folder).config, readers=count)


def labels(label_map: LabelMap, *, texts: bool = True) -> Build:
    """Returns the sound data set under another label map."""

    def build(folder: Path) -> Case:
        own = {} if texts else {"object__class__text": None}
        splits = {
            split: [payload(seed=100 * n + i, boxes=BOXES, **own) for i in range(6)]
            for n, split in enumerate(SPLITS)
        }
        config = write_dataset(folder, splits)
        write_label_map(folder / "label_map.pbtxt", label_map)
        return Case(config)

    return build


def many(count: int, **options: object) -> Build:
    """Returns a set whose test split, or what `where` names, has other `boxes`, `ids` or `image`."""
    boxes = options.get("boxes", lambda i: BOXES)
    ids = options.get("ids", lambda i: None)
    picture = options.get("image", noisy)
    where = options.get("where", ("test",))

    def build(folder: Path) -> Case:
        splits: dict[str, list[bytes]] = {}
        for number, split in enumerate(SPLITS):
            splits[split] = []
            for i in range(count):
                other = split in where
                own = boxes(i) if other else BOXES
                changes = {"boxes": own, "seed": 1000 * number + i}
                if other and ids(i) is not None:
                    changes |= {
                        "object__class__label": np.array(ids(i)),
                        "object__class__text": None,
                    }
                image = (picture if other else noisy)(1000 * number + i)
                splits[split].append(payload(encoded=[encoded(image, quality=90)], **changes))
        return Case(write_dataset(folder, splits))

    return build


def noisy(seed: int) -> Image.Image:
    return noise(64, 48, seed=seed)


def brighter(factor: float) -> Callable[[int], Image.Image]:
    return lambda seed: ImageEnhance.Brightness(noisy(seed)).enhance(factor)


def shapes(swapped: int) -> Build:
    """Returns shapes, in the first `swapped` of each split with x and y of the boxes swapped."""

    def build(folder: Path) -> Case:
        from dataclasses import replace

        from kfdet.core.detection_record import serialise_record

        splits: dict[str, list[bytes]] = {}
        for split in SPLITS:
            splits[split] = []
            for i in range(35):
                record = shapes_record(split=split, index=i, size_px=96, seed=0)
                if i < swapped and split == "val":
                    record = replace(
                        record, boxes_yxyx_norm=record.boxes_yxyx_norm[:, [1, 0, 3, 2]]
                    )
                splits[split].append(serialise_record(record))
        config = write_dataset(folder, splits)
        write_label_map(folder / "label_map.pbtxt", contiguous(SHAPE_NAMES))
        return Case(config)

    return build


def copy_in(
    target: str, source: str, **changes: object
) -> Callable[[dict[str, list[bytes]]], None]:
    """Puts a record of one split also into another, changed."""

    def edit(splits: dict[str, list[bytes]]) -> None:
        seed = {"train": 0, "val": 1000, "test": 2000}[source]
        splits[target][5] = payload(**{"seed": seed, "boxes": BOXES, **changes})

    return edit


def recoded(seed: int, quality: int) -> bytes:
    return encoded(noise(seed=seed), quality=quality)


def one_scene(*splits: str) -> Callable[[dict[str, list[bytes]]], None]:
    """Puts one picture into two splits, or twice into one, each time encoded anew."""
    scene = Image.open(io.BytesIO(shapes_record(split="val", index=3, size_px=128, seed=0).encoded))

    def edit(records: dict[str, list[bytes]]) -> None:
        for number, (split, quality) in enumerate(zip(splits, (95, 60), strict=True)):
            records[split][number] = payload(
                seed=7000 + number,
                boxes=BOXES,
                encoded=[encoded(scene, quality=quality)],
                width=np.array([128]),
                height=np.array([128]),
            )

    return edit


def uneven(extra_bytes: int) -> Callable[[bytes], bytes]:
    """Adds one large record: an image with bytes behind its end."""

    def change(data: bytes) -> bytes:
        image = encoded(noise(seed=5000)) + bytes(extra_bytes)
        return data + encode_record(payload(seed=5000, encoded=[image], boxes=BOXES))

    return change


def renamed(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


def packed_empty(folder: Path) -> None:
    for split in ("val", "test"):
        (folder / f"{split}-more.tfrecord").write_bytes(gzip.compress(split[:0].encode(), mtime=0))


def no_records(folder: Path) -> None:
    for number, level in enumerate((1, 9)):
        path = folder / f"val-{number:05d}-of-00002.tfrecord"
        path.write_bytes(zlib.compress(b"", level))


def one_image_each(folder: Path) -> Case:
    return Case(edited(images=1, shards=1)(folder).config, readers=1)


def map_of(*names: str, ids: Sequence[int] | None = None) -> LabelMap:
    return LabelMap.model_validate(
        {"classes": [{"id": i, "name": n} for i, n in zip(ids or range(1, 9), names, strict=False)]}
    )


ZEROS = gzip.compress(bytes(70 << 20), mtime=0)
# Each: what triggers it, what it comes with, and what misses it narrowly.
CASES: Mapping[str, tuple[Build, dict[str, int], Build]] = {
    "file-name-unusable": (
        touched(lambda f: (f / "val-\x1b.tfrecord").touch()), {},
        touched(lambda f: (f / "val-\x1b.text").touch()),
    ),
    "file-no-match": (patterns(val=["val-*", "v-*"]), {}, patterns(val=["val-*", "va*"])),
    "file-empty": (
        touched(lambda f: (f / "val-more.tfrecord").write_bytes(b"")), {},
        touched(lambda f: (f / "val-more.tfrecord").write_bytes(encode_record(payload(seed=9, boxes=BOXES)))),
    ),
    "file-compressed": (damaged(gzip.compress), {}, damaged(lambda d: d)),
    "file-compression-damaged": (
        damaged(lambda d: gzip.compress(d)[:-1]), {"file-compressed": 1},
        damaged(lambda d: d),
    ),
    "file-bomb": (
        damaged(lambda d: ZEROS), {"file-compressed": 1},
        damaged(lambda d: d),
    ),
    "file-in-two-splits": (
        touched(packed_empty), {"file-compressed": 2},
        touched(lambda f: [(f / f"{s}-more.tfrecord").write_bytes(encode_record(payload(seed=n, boxes=BOXES))) for n, s in ((8, "val"), (9, "test"))]),
    ),
    "record-length-corrupt": (damaged(lambda d: b"\1" + d[1:]), {}, damaged(lambda d: d)),
    "record-data-corrupt": (damaged(lambda d: d[:40] + b"\1" + d[41:]), {}, damaged(lambda d: d)),
    "record-truncated": (damaged(lambda d: d[:-1]), {}, damaged(lambda d: d)),
    "shard-missing": (
        touched(lambda f: (f / "val-00001-of-00002.tfrecord").unlink()), {},
        touched(lambda f: renamed(f, "val-00001-of-00002.tfrecord", "val-rest.tfrecord") or renamed(f, "val-00000-of-00002.tfrecord", "val-begin.tfrecord")),
    ),
    "shard-doubled": (
        touched(lambda f: (f / "val-00002-of-00002.tfrecord").write_bytes(encode_record(payload(seed=9, boxes=BOXES)))), {},
        touched(lambda f: (f / "val-00000-of-00001.tfr").write_bytes(encode_record(payload(seed=9, boxes=BOXES)))),
    ),
    "shard-totals-differ": (
        touched(lambda f: (f / "val-00000-of-00001.tfrecord").write_bytes(encode_record(payload(seed=9, boxes=BOXES)))), {},
        touched(lambda f: (f / "val-new-00000-of-00001.tfrecord").write_bytes(encode_record(payload(seed=9, boxes=BOXES)))),
    ),
    "shard-uneven": (damaged(uneven(20 << 20), shards=3), {}, damaged(uneven(10 << 20), shards=3)),
    "shards-few": (readers(3), {}, readers(2)),
    "source-id-doubled": (
        edited(copy_in("train", "train", encoded=[recoded(4000, 75)])), {},
        edited(copy_in("train", "train", encoded=[recoded(4000, 75)], source_id=[b"00"])),
    ),
    "source-id-not-integer": (
        edited(copy_in("train", "train", encoded=[recoded(4000, 75)], source_id=[b"1a"])), {},
        edited(copy_in("train", "train", encoded=[recoded(4000, 75)], source_id=[b"-17 "])),
    ),
    "class-off-by-one": (
        labels(map_of("bird", "cat", "dog")), {"class-text-disagrees": 36, "class-absent": 3},
        labels(map_of("cat", "dog")),
    ),
    "class-absent": (labels(map_of("cat", "dog", "horse")), {}, labels(map_of("cat", "dog"))),
    "class-imbalance": (
        many(52, ids=lambda i: [1, 1 + (i == 0)], where=SPLITS), {},
        many(50, ids=lambda i: [1, 1 + (i == 0)], where=SPLITS),
    ),
    "boxes-misplaced": (shapes(35), {}, shapes(10)),
    "label-map-gaps": (labels(map_of("cat", "dog", "cow", ids=[1, 2, 4])), {"class-absent": 3}, labels(map_of("cat", "dog"))),
    "label-map-names-alike": (
        labels(map_of("white cell", "white cells"), texts=False), {},
        labels(map_of("white cell", "wide cells"), texts=False),
    ),
    "split-empty": (touched(no_records), {"file-compressed": 2}, one_image_each),
    "image-in-two-splits": (
        edited(copy_in("test", "val", source_id=[b"77"])), {},
        edited(copy_in("test", "val", encoded=[recoded(4000, 75)], source_id=[b"77"])),
    ),
    "image-near-copy": (edited(one_scene("val", "test")), {}, edited(one_scene("val", "val"))),
    "image-doubled": (
        edited(copy_in("train", "train", source_id=[b"77"])), {},
        edited(copy_in("train", "train", encoded=[recoded(0, 88)], source_id=[b"77"])),
    ),
    "source-id-in-two-splits": (
        edited(copy_in("test", "val", encoded=[recoded(4000, 75)])), {},
        edited(copy_in("test", "val", encoded=[recoded(4000, 75)], source_id=[b"77"])),
    ),
    "images-without-boxes": (
        edited(lambda s: s.update({k: [payload(seed=1000 * n + i, boxes=BOXES if i < 2 else []) for i in range(6)] for n, k in enumerate(s)})), {},
        edited(lambda s: s.update({k: [payload(seed=1000 * n + i, boxes=BOXES if i < 3 else []) for i in range(6)] for n, k in enumerate(s)})),
    ),
    "drift-classes": (many(60, ids=lambda i: [1, 1 + (i % 5 == 0)]), {}, many(60, ids=lambda i: [1, 1 + (i % 5 != 0)])),
    "drift-box-sizes": (
        many(60, boxes=lambda i: [[v / 2 for v in box] for box in BOXES]), {},
        many(6, boxes=lambda i: [[v / 2 for v in box] for box in BOXES]),
    ),
    "drift-box-shapes": (many(60, boxes=lambda i: [[0.1, 0.2, 0.35, 0.9]] * 1 + [[0.5, 0.2, 0.7, 0.67]]), {"drift-box-sizes": 1}, many(6, boxes=lambda i: [[0.1, 0.2, 0.35, 0.9], [0.5, 0.2, 0.7, 0.67]])),
    "drift-brightness": (many(60, image=brighter(0.5)), {}, many(60, image=brighter(0.98))),
    "drift-empty-images": (
        many(60, boxes=lambda i: BOXES if i % 3 else []), {}, many(60, boxes=lambda i: BOXES if i % 50 else []),
    ),
}  # fmt: skip
NAMES = Names(aliases={1: ("cat",), 2: ("dog",)})
OFF = {"source-id-not-integer"}


@pytest.mark.parametrize("code", CASES)
def test_a_set_with_one_fault_has_that_finding(code: str, tmp_path: Path):
    trigger, beside, _ = CASES[code]
    found = counts(trigger(tmp_path))
    assert found.pop(code, 0) >= 1
    assert found == beside


@pytest.mark.parametrize("code", CASES)
def test_a_set_that_misses_a_finding_narrowly_has_none(code: str, tmp_path: Path):
    assert counts(CASES[code][2](tmp_path)) == {}


@pytest.mark.parametrize(("lost", "found"), [(True, {"file-unreadable": 1}), (False, {})])
def test_a_file_that_goes_away_while_it_is_read_is_told(lost: bool, found: dict, tmp_path: Path):
    config = edited()(tmp_path).config
    files = split_files(config)
    if lost:
        (tmp_path / "val-00001-of-00002.tfrecord").unlink()
    scans = scan_splits(files, names=NAMES, progress=QUIET, workers=1)
    assert dict(whole_log(scans, names=NAMES, label_map="m", readers={}).counts) == found


ELSEWHERE = {"file-unreadable", "label-map-unreadable"}


def test_every_code_is_covered_here_or_among_the_records():
    expected = {code for code, check in BY_CODE.items() if check.group != "fit"}
    assert set(CASES) | set(RECORD_TRIGGERS) | ELSEWHERE == expected


def test_what_is_off_by_default_is_looked_for_on_demand_alone():
    assert {code for code, level in severities({}).items() if level == "off"} == OFF
