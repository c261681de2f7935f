"""Writing annotated images as a data set: shards, label map and `conversion.json`, whole or not at all."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kfdet.core.annotations import (
    AnnotatedImage,
    AnnotationFault,
    BoxNote,
    FaultyBoxes,
    convert_image,
    listing,
)
from kfdet.core.detection_record import DetectionRecord, serialise_record
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.conversion import (
    CONVERSION_FILE,
    ChangedBox,
    Conversion,
    ConvertedClass,
    ConvertedSplit,
)
from kfdet.schema.dataset import SPLITS, LabelMap, Split
from kfdet.storage.atomic import new_folder
from kfdet.storage.documents import write_document
from kfdet.storage.label_maps import LABEL_MAP_FILE, write_label_map
from kfdet.storage.records import write_shards
from kfdet.storage.regular import read_regular

_SHARD_BYTES = 128 * 2**20
_FEWEST_SHARDS = 4
_NOTED_BOXES = 20


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image to convert: its file and its annotations."""

    path: Path
    annotated: AnnotatedImage


@dataclass(frozen=True, kw_only=True)
class ConversionPlan:
    """Everything a conversion needs beside the images' bytes.

    Attributes:
        splits: Split to its images, in the order in which they are written.
        category_ids: Class name to its id in the source; empty where the source has names only.
        shards: Split to number of files; None chooses by size, at least four.
        faults: What was found wrong while the annotations were read.
        unused: Names of what no split takes.
    """

    source_format: Literal["voc", "coco"]
    source: tuple[str, ...]
    options: Mapping[str, str]
    label_map: LabelMap
    category_ids: Mapping[str, int]
    splits: Mapping[Split, Sequence[ImageFile]]
    faulty: FaultyBoxes
    shards: Mapping[Split, int] | None
    faults: Sequence[AnnotationFault]
    unused: Sequence[str]


class _Tally:
    """What the conversion has seen so far."""

    def __init__(self, plan: ConversionPlan) -> None:
        self.plan = plan
        self.class_ids = {label.name: label.id for label in plan.label_map.classes}
        self.faults = list(plan.faults)
        self.changed: list[ChangedBox] = []
        self.boxes: Counter[Split] = Counter()
        self.without_boxes: Counter[Split] = Counter()
        self.class_boxes: Counter[int] = Counter()

    def convert(self, image: ImageFile, split: Split) -> bytes:
        """Returns the serialised record; nothing where a fault keeps the set from being written."""
        try:
            encoded = read_regular(image.path)
        except OSError as failure:
            what = f"can't read the image: {failure.strerror}"
            self.faults.append(AnnotationFault(where=str(image.path), what=what))
            return b""
        converted = convert_image(
            image.annotated,
            encoded=encoded,
            class_ids=self.class_ids,
            faulty=self.plan.faulty,
            where=str(image.path),
        )
        self.faults.extend(converted.faults)
        self.changed.extend(_changed(note, image, split) for note in converted.notes)
        if converted.record is None:
            return b""
        self._count(converted.record, split)
        return serialise_record(converted.record)

    def _count(self, record: DetectionRecord, split: Split) -> None:
        self.boxes[split] += record.num_boxes
        self.without_boxes[split] += record.num_boxes == 0
        self.class_boxes.update(int(class_id) for class_id in record.class_ids)


def write_conversion(out: Path, plan: ConversionPlan, *, progress: Progress) -> Conversion:
    """Writes shards of every split, label_map.pbtxt and conversion.json.

    Args:
        out: Folder that will hold them; an older one is replaced once this one is complete.
        plan: What to write.
        progress: Told of every image, and of every box that is left out.

    Raises:
        DataError: Something can't be represented; names every such fault, and writes nothing.
        StorageError: `out` can't be written.
    """
    tally = _Tally(plan)
    tally.faults.extend(_empty_splits(plan))
    total = sum(len(images) for images in plan.splits.values())
    done = 0
    shards = dict(plan.shards) if plan.shards else _shards_by_size(plan.splits)
    with new_folder(out) as folder:
        for split in SPLITS:

            def payloads(split: Split = split) -> Iterator[bytes]:
                nonlocal done
                for image in plan.splits[split]:
                    done += 1
                    progress.update(done, total=total, unit="images")
                    yield tally.convert(image, split)

            write_shards(
                folder,
                stem=split,
                payloads=payloads(),
                count=len(plan.splits[split]),
                shards=shards[split],
            )
        if tally.faults:
            raise DataError(
                f"{len(tally.faults):,} faults; nothing was written:\n{listing(tally.faults)}\n",
                where=", ".join(plan.source),
                remedy="Correct the annotations, or leave these images out of the splits.",
            )
        conversion = _summary(plan, tally, shards=shards)
        write_label_map(folder / LABEL_MAP_FILE, plan.label_map)
        write_document(folder / CONVERSION_FILE, conversion)
    _note_changes(conversion, progress=progress)
    return conversion


def _empty_splits(plan: ConversionPlan) -> Iterator[AnnotationFault]:
    for split in SPLITS:
        if not plan.splits[split]:
            yield AnnotationFault(
                where=", ".join(plan.source), what=f"split {split} would have no images"
            )


def _shards_by_size(splits: Mapping[Split, Sequence[ImageFile]]) -> dict[Split, int]:
    """Returns shards of about 128 MiB, but at least four, so that readers and evaluators can share."""
    shards: dict[Split, int] = {}
    for split, images in splits.items():
        # A name may be one that no file can have: `Path.is_file` fails at some of those.
        paths = (str(image.path) for image in images)
        size = sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
        wanted = max(_FEWEST_SHARDS, math.ceil(size / _SHARD_BYTES))
        shards[split] = max(1, min(wanted, len(images)))
    return shards


def _changed(note: BoxNote, image: ImageFile, split: Split) -> ChangedBox:
    return ChangedBox(
        change=note.change,
        reason=note.reason,
        split=split,
        source_id=image.annotated.source_id,
        file=image.annotated.file_name,
        annotation=note.annotated.place,
        class_name=note.annotated.class_name,
        box_xyxy_px=note.annotated.box_xyxy_px,
    )


def _summary(plan: ConversionPlan, tally: _Tally, *, shards: Mapping[Split, int]) -> Conversion:
    return Conversion(
        source_format=plan.source_format,
        source=plan.source,
        options=dict(plan.options),
        classes=tuple(
            ConvertedClass(
                id=label.id,
                name=label.name,
                source_id=plan.category_ids.get(label.name),
                boxes=tally.class_boxes[label.id],
            )
            for label in plan.label_map.classes
        ),
        splits={
            split: ConvertedSplit(
                images=len(plan.splits[split]),
                images_without_boxes=tally.without_boxes[split],
                boxes=tally.boxes[split],
                shards=shards[split],
            )
            for split in SPLITS
        },
        changed=tuple(tally.changed),
        unused=tuple(plan.unused),
    )


def _note_changes(conversion: Conversion, *, progress: Progress) -> None:
    dropped = [box for box in conversion.changed if box.change == "dropped"]
    clipped = len(conversion.changed) - len(dropped)
    for box in dropped[:_NOTED_BOXES]:
        sides = ", ".join(f"{side:g}" for side in box.box_xyxy_px)
        progress.note(
            f"dropped {box.split} {box.file} {box.annotation} ({box.class_name}): "
            f"box [{sides}], {box.reason.replace('_', ' ')}"
        )
    if len(dropped) > _NOTED_BOXES:
        progress.note(f"dropped {len(dropped) - _NOTED_BOXES:,} more boxes; see {CONVERSION_FILE}")
    if clipped:
        progress.note(f"clipped {clipped:,} boxes to their images; see {CONVERSION_FILE}")
    if conversion.unused:
        progress.note(f"{len(conversion.unused):,} annotated images are in no split")
