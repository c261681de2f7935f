"""Sums over records that merge associatively, and the statistics they become."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kfdet.core.validation.examine import CONTENT_BYTES, RecordFacts
from kfdet.core.validation.placement import Placement
from kfdet.schema.dataset import ClassStatistics, Histogram, ImageSize, SplitStatistics

# The same edges for every data set, so that histograms add up and compare.
BOX_SIDE_EDGES_PX = (0.0, *(float(2 ** (power / 4)) for power in range(57)))
ASPECT_RATIO_EDGES = (0.0, *(float(2 ** (power / 4)) for power in range(-16, 17)), 1e6)
ID_BYTES = 16
ID_SHOWN = 200
BRIGHTNESS_EDGES = tuple(float(level) for level in range(0, 257, 8))


class HistogramTally:
    """Counts between fixed edges; what lies outside goes into the nearest bin."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = np.array(edges, dtype=np.float64)
        self.counts = np.zeros(len(edges) - 1, dtype=np.int64)

    def add(self, values: NDArray[np.float64]) -> None:
        bins = np.searchsorted(self.edges, values, side="right") - 1
        last = len(self.counts) - 1
        self.counts += np.bincount(np.clip(bins, 0, last), minlength=last + 1)

    def merge(self, other: HistogramTally) -> None:
        self.counts += other.counts

    def histogram(self) -> Histogram:
        """Returns the histogram without the empty bins at its ends."""
        filled = np.flatnonzero(self.counts)
        first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
        return Histogram(
            edges=tuple(self.edges[first : last + 2].tolist()),
            counts=tuple(self.counts[first : last + 1].tolist()),
        )


def _counts_histogram(counts: Mapping[int, int], *, width: int) -> Histogram:
    """Returns a histogram of whole numbers from 0 on, in bins of equal width."""
    bins = [0] * (max(counts, default=0) // width + 1)
    for number, times in counts.items():
        bins[number // width] += times
    return Histogram(
        edges=tuple(float(width * edge) for edge in range(len(bins) + 1)), counts=tuple(bins)
    )


@dataclass(kw_only=True)
class SplitTally:
    """What the records of a split add up to. Merging shards in any grouping gives the same.

    Attributes:
        placements: (whether EXIF rotates the image, where its boxes fit best) to number of images.
    """

    images: int = 0
    images_without_boxes: int = 0
    boxes: int = 0
    crowd_boxes: int = 0
    texts: int = 0
    text_offsets: Counter[int] = field(default_factory=Counter)
    placements: Counter[tuple[bool, Placement]] = field(default_factory=Counter)
    class_boxes: Counter[int] = field(default_factory=Counter)
    class_images: Counter[int] = field(default_factory=Counter)
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    box_side_px: HistogramTally = field(default_factory=lambda: HistogramTally(BOX_SIDE_EDGES_PX))
    box_aspect_ratio: HistogramTally = field(
        default_factory=lambda: HistogramTally(ASPECT_RATIO_EDGES)
    )
    boxes_per_image: Counter[int] = field(default_factory=Counter)
    brightness: HistogramTally = field(default_factory=lambda: HistogramTally(BRIGHTNESS_EDGES))

    def add(self, facts: RecordFacts) -> None:
        self.add_all([facts])

    def add_all(self, records: Sequence[RecordFacts]) -> None:
        """Adds several records; numpy counts the boxes of all of them at once."""
        for facts in records:
            self._count(facts)
        boxes = np.concatenate([facts.boxes_xyxy_px for facts in records] or [np.zeros((0, 4))])
        sides = boxes[:, 2:] - boxes[:, :2]
        self.box_side_px.add(np.sqrt(sides[:, 0] * sides[:, 1]))
        self.box_aspect_ratio.add(sides[:, 0] / sides[:, 1])
        levels = [facts.brightness for facts in records if facts.brightness is not None]
        self.brightness.add(np.array(levels, dtype=np.float64))

    def _count(self, facts: RecordFacts) -> None:
        self.images += 1
        self.images_without_boxes += facts.num_boxes == 0
        self.boxes += facts.num_boxes
        self.crowd_boxes += facts.crowd_boxes
        self.texts += facts.texts
        for offset, times in facts.text_offsets.items():
            self.text_offsets[offset] += times
        if facts.placement is not None:
            self.placements[facts.is_exif_rotated, facts.placement] += 1
        ids = facts.class_ids.tolist()
        self.class_boxes.update(ids)
        self.class_images.update(set(ids))
        self.image_sizes[facts.size_px] += 1
        self.formats[facts.format] += 1
        self.boxes_per_image[facts.num_boxes] += 1

    def merge(self, other: SplitTally) -> None:
        self.images += other.images
        self.images_without_boxes += other.images_without_boxes
        self.boxes += other.boxes
        self.crowd_boxes += other.crowd_boxes
        self.texts += other.texts
        self.text_offsets.update(other.text_offsets)
        self.placements.update(other.placements)
        self.class_boxes.update(other.class_boxes)
        self.class_images.update(other.class_images)
        self.image_sizes.update(other.image_sizes)
        self.formats.update(other.formats)
        self.box_side_px.merge(other.box_side_px)
        self.box_aspect_ratio.merge(other.box_aspect_ratio)
        self.boxes_per_image.update(other.boxes_per_image)
        self.brightness.merge(other.brightness)

    def statistics(self, names: Mapping[int, str], *, boxes_bin: int = 1) -> SplitStatistics:
        """Returns the schema's form.

        Args:
            names: Class id to name; ids beyond it, which only faulty data have, follow unnamed.
            boxes_bin: Width of the bins of the histogram of boxes an image.
        """
        beyond = sorted(set(self.class_boxes) - set(names))
        return SplitStatistics(
            images=self.images,
            images_without_boxes=self.images_without_boxes,
            boxes=self.boxes,
            crowd_boxes=self.crowd_boxes,
            classes=tuple(
                ClassStatistics(
                    id=number,
                    name=names.get(number, f"id {number}"),
                    boxes=self.class_boxes[number],
                    images=self.class_images[number],
                )
                for number in (*names, *beyond)
            ),
            image_sizes=tuple(
                ImageSize(width_px=max(width, 0), height_px=max(height, 0), images=count)
                for (width, height), count in sorted(
                    self.image_sizes.items(), key=lambda item: (-item[1], item[0])
                )
            ),
            formats=dict(sorted(self.formats.items())),
            box_side_px=self.box_side_px.histogram(),
            box_aspect_ratio=self.box_aspect_ratio.histogram(),
            boxes_per_image=_counts_histogram(self.boxes_per_image, width=boxes_bin),
            brightness=self.brightness.histogram(),
        )


@dataclass(kw_only=True)
class Identities:
    """What tells images apart, in columns: about 100 bytes an image.

    Attributes:
        files: Each shard that has images, in order.
        file_ends: Where the images of each of them end.
        contents: First bytes of each image's SHA-256, CONTENT_BYTES each, one after another.
        id_keys: Digest of each source id without white space around it, ID_BYTES each; zeros for an
            empty one.
        hashes: Perceptual hashes, one after another.
        texts: The source ids in UTF-8, cut to ID_SHOWN characters, one after another.
        text_ends: Where each of them ends.
        records, offsets: Index of the record within its file, and its byte.
    """

    files: list[str] = field(default_factory=list)
    file_ends: array[int] = field(default_factory=lambda: array("Q"))
    contents: bytearray = field(default_factory=bytearray)
    id_keys: bytearray = field(default_factory=bytearray)
    hashes: bytearray = field(default_factory=bytearray)
    texts: bytearray = field(default_factory=bytearray)
    text_ends: array[int] = field(default_factory=lambda: array("Q"))
    records: array[int] = field(default_factory=lambda: array("Q"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.records)

    def add(self, facts: RecordFacts, *, file: str, record: int, byte_offset: int) -> None:
        self._add_file(file, 1)
        self.contents += facts.content
        self.id_keys += _id_key(facts.source_id)
        self.hashes += facts.perceptual_hash
        self.texts += facts.source_id[:ID_SHOWN].encode()
        self.text_ends.append(len(self.texts))
        self.records.append(record)
        self.offsets.append(byte_offset)

    def merge(self, other: Identities) -> None:
        """Adds images that come after these."""
        before = len(self.texts)
        begin = 0
        for file, end in zip(other.files, other.file_ends, strict=True):
            self._add_file(file, end - begin)
            begin = end
        self.contents += other.contents
        self.id_keys += other.id_keys
        self.hashes += other.hashes
        self.texts += other.texts
        self.text_ends.extend(before + end for end in other.text_ends)
        self.records += other.records
        self.offsets += other.offsets

    def _add_file(self, file: str, images: int) -> None:
        if self.files and self.files[-1] == file:
            self.file_ends[-1] += images
        else:
            self.files.append(file)
            self.file_ends.append(images + (self.file_ends[-1] if self.file_ends else 0))

    def content_of(self, position: int) -> bytes:
        return bytes(self.contents[position * CONTENT_BYTES : (position + 1) * CONTENT_BYTES])

    def source_id_of(self, position: int) -> str:
        begin = self.text_ends[position - 1] if position else 0
        return self.texts[begin : self.text_ends[position]].decode()

    def file_of(self, position: int) -> str:
        return self.files[bisect_right(self.file_ends, position)]


def _id_key(source_id: str) -> bytes:
    stripped = source_id.strip()
    if not stripped:
        return bytes(ID_BYTES)
    return hashlib.blake2b(stripped.encode(), digest_size=ID_BYTES).digest()
