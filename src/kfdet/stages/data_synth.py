"""`kfdet data synth`: the shapes data set as TFRecord shards and a label map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kfdet.core.detection_record import DetectionRecord, serialise_record
from kfdet.core.label_map import contiguous
from kfdet.core.shapes import SHAPE_NAMES, shapes_image
from kfdet.errors import UsageError
from kfdet.progress import Progress
from kfdet.schema.dataset import SPLITS, Split
from kfdet.storage.atomic import new_folder
from kfdet.storage.label_maps import LABEL_MAP_FILE, write_label_map
from kfdet.storage.records import write_shards

IMAGES: Mapping[Split, int] = {"train": 400, "val": 100, "test": 100}
SHARDS: Mapping[Split, int] = {"train": 4, "val": 2, "test": 2}


@dataclass(frozen=True, kw_only=True)
class SynthResult:
    """Attributes:
    folder: Shards of every split and label_map.pbtxt.
    images: Split to number of images.
    boxes: Of all splits together.
    """

    folder: Path
    images: Mapping[Split, int]
    boxes: int


def run(
    *,
    out: Path,
    images: Mapping[Split, int] = IMAGES,
    shards: Mapping[Split, int] = SHARDS,
    size_px: int = 128,
    seed: int = 0,
    progress: Progress,
) -> SynthResult:
    """Writes the shapes data set; equal arguments give equal bytes.

    Args:
        out: Folder that will hold it; there whole or not at all. An older one is replaced.
        images: Split to number of images.
        shards: Split to number of TFRecord files.
        size_px: Width and height of the images.
        seed: Another seed draws other images.
        progress: Told of every image.

    Raises:
        UsageError: A number is out of range.
        StorageError: `out` can't be written.
    """
    _check(images, shards, size_px=size_px, seed=seed)
    total, done, boxes = sum(images.values()), 0, 0
    with new_folder(out) as folder:
        write_label_map(folder / LABEL_MAP_FILE, contiguous(SHAPE_NAMES))
        for split in images:

            def payloads(split: Split = split) -> Iterator[bytes]:
                nonlocal done, boxes
                for index in range(images[split]):
                    record = shapes_record(split=split, index=index, size_px=size_px, seed=seed)
                    done, boxes = done + 1, boxes + record.num_boxes
                    progress.update(done, total=total, unit="images")
                    yield serialise_record(record)

            write_shards(
                folder, stem=split, payloads=payloads(), count=images[split], shards=shards[split]
            )
    return SynthResult(folder=out, images=dict(images), boxes=boxes)


def shapes_record(*, split: Split, index: int, size_px: int, seed: int) -> DetectionRecord:
    """Returns one image of the set as a detection record.

    A longer split begins with the images of a shorter one, and no two splits share an image.
    """
    number = SPLITS.index(split)
    drawn = shapes_image(seed=(seed, number, index), size_px=size_px)
    return DetectionRecord(
        encoded=drawn.jpeg,
        format="jpeg",
        height_px=size_px,
        width_px=size_px,
        # A number, since evaluators other than kfdet's own read source ids as integers.
        source_id=str((number + 1) * 10_000_000 + index),
        boxes_yxyx_norm=(drawn.boxes_xyxy_px / np.float32(size_px))[:, [1, 0, 3, 2]],
        class_ids=drawn.class_ids,
        class_texts=tuple(SHAPE_NAMES[class_id - 1] for class_id in drawn.class_ids),
        is_crowd=np.zeros(len(drawn.class_ids), dtype=np.bool_),
        filename=f"{split}-{index:06d}.jpg",
    )


def _check(
    images: Mapping[Split, int], shards: Mapping[Split, int], *, size_px: int, seed: int
) -> None:
    if not 32 <= size_px <= 4096:
        raise UsageError(f"size_px is {size_px}", expected="32 to 4096")
    if seed < 0:
        raise UsageError(f"seed is {seed}", expected="0 or more")
    for split in SPLITS:
        if images.get(split, 0) < 1:
            raise UsageError(f"{split} has {images.get(split, 0)} images", expected="at least 1")
        if not 1 <= shards.get(split, 0) <= images[split]:
            raise UsageError(
                f"{split} has {shards.get(split, 0)} shards",
                expected=f"1 to {images[split]}, its number of images",
            )
