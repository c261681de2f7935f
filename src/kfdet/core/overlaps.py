"""Which boxes of an image overlap, and by how much: what every match starts from.

Few of the pairs in an image overlap at all. A comparison of the corners in single precision, rounded
outward, throws the others away; the overlap of the rest is computed as COCO does, to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

# Pairs looked at together: their columns stay in the processor's cache.
_PAIRS_A_BLOCK = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """N boxes in ascending order of image.

    Attributes:
        image: int64[N].
        xywh: float64[N, 4], [xmin, ymin, width, height] in pixels.
    """

    image: Int64
    xywh: Float64

    def __post_init__(self) -> None:
        if (np.diff(self.image) < 0).any():
            raise ValueError("boxes must be in ascending order of image")


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """P pairs of a detection and an object of its image that overlap at all.

    Attributes:
        detection: int64[P], rows, ascending.
        truth: int64[P], rows, ascending for one detection.
        iou: float64[P], above 0; with a crowd, the share of the detection that lies in it.
    """

    detection: Int64
    truth: Int64
    iou: Float64

    def where(self, chosen: Bool) -> Overlaps:
        """Returns some of the pairs, in their order."""
        return Overlaps(
            detection=self.detection[chosen], truth=self.truth[chosen], iou=self.iou[chosen]
        )


def find_overlaps(seen: Boxes, truth: Boxes, *, crowd: Bool) -> Overlaps:
    """Returns all pairs of overlapping boxes.

    Args:
        seen: The detections.
        truth: The objects.
        crowd: bool[G], objects that are a crowd.

    Source: pycocotools 2.0.11, maskApi.c, bbIou.
    """
    parts = list(_touching(seen, truth))
    detection = np.concatenate([part[0] for part in parts] or [np.zeros(0, np.int64)])
    found = np.concatenate([part[1] for part in parts] or [np.zeros(0, np.int64)])
    a, b = seen.xywh[detection], truth.xywh[found]
    size_a, size_b = a[:, 2:], b[:, 2:]
    sides = np.minimum(a[:, :2] + size_a, b[:, :2] + size_b) - np.maximum(a[:, :2], b[:, :2])
    inside = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    area_a, area_b = size_a[:, 0] * size_a[:, 1], size_b[:, 0] * size_b[:, 1]
    whole = np.where(crowd[found], area_a, area_a + area_b - inside)
    share = np.zeros_like(inside)
    np.divide(inside, whole, out=share, where=inside > 0)
    return Overlaps(detection=detection, truth=found, iou=share).where(share > 0)


def _touching(seen: Boxes, truth: Boxes) -> Iterator[tuple[Int64, Int64]]:
    """Yields rows of detections and objects that may overlap, block by block."""
    images, first, dets = np.unique(seen.image, return_index=True, return_counts=True)
    begin = np.searchsorted(truth.image, images, side="left")
    objects = np.searchsorted(truth.image, images, side="right") - begin
    so_far = np.cumsum(dets * objects)
    if so_far.size == 0 or so_far[-1] == 0:
        return
    left, top, right, bottom = _outward(seen.xywh)
    other_left, other_top, other_right, other_bottom = _outward(truth.xywh)
    steps = np.arange(_PAIRS_A_BLOCK, so_far[-1] + _PAIRS_A_BLOCK, _PAIRS_A_BLOCK)
    ends = np.minimum(np.searchsorted(so_far, steps, side="left") + 1, images.size)
    bounds = np.unique(np.append(0, ends)).tolist()
    for one, other in itertools.pairwise(bounds):
        d = slice(first[one], first[other - 1] + dets[other - 1])
        count = np.repeat(objects[one:other], dets[one:other])
        starts = np.cumsum(count) - count
        found = np.arange(count.sum()) + np.repeat(
            np.repeat(begin[one:other], dets[one:other]) - starts, count
        )
        near = np.repeat(left[d], count) < other_right[found]
        near &= np.repeat(right[d], count) > other_left[found]
        near &= np.repeat(top[d], count) < other_bottom[found]
        near &= np.repeat(bottom[d], count) > other_top[found]
        kept = np.flatnonzero(near)
        yield np.repeat(np.arange(d.start, d.stop), count)[kept], found[kept]


def _outward(xywh: Float64) -> tuple[Float32, Float32, Float32, Float32]:
    """Returns left, top, right and bottom of boxes that hold these, float32[N] each."""
    with np.errstate(over="ignore"):  # A corner too far for single precision is at infinity.
        corner = xywh[:, :2].T.astype(np.float32)
        opposite = (xywh[:, :2] + xywh[:, 2:]).T.astype(np.float32)
    low = np.nextafter(corner, np.float32(-np.inf))
    high = np.nextafter(opposite, np.float32(np.inf))
    return low[0], low[1], high[0], high[1]
