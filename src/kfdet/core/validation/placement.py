"""Whether boxes lie on what is in the image, or would if they were turned or mirrored.

Objects have edges. For each image the mean strength of the edges along the sides of its boxes is
compared between the boxes as recorded and the boxes moved by one of the mistakes that records are
written with: x and y swapped, mirrored, upside down, turned by a rotation that viewers apply and
TensorFlow does not. One image says little; over a data set the right placement wins most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Placement = Literal[
    "as recorded",
    "with x and y swapped",
    "mirrored",
    "upside down",
    "turned by 180 degrees",
    "turned by 90 degrees",
    "turned by 270 degrees",
]
Boxes = NDArray[np.float64]

_SIDE_PX = 160
_FEWEST_SIDE_PX = 4.0
_MOST_BOXES = 1000
_MARGIN = 1.05


def _swapped(boxes: Boxes) -> Boxes:
    return boxes[:, [1, 0, 3, 2]]


def _mirrored(boxes: Boxes) -> Boxes:
    return np.stack([boxes[:, 0], 1 - boxes[:, 3], boxes[:, 2], 1 - boxes[:, 1]], axis=1)


def _upside_down(boxes: Boxes) -> Boxes:
    return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)


PLACEMENTS: Mapping[Placement, Callable[[Boxes], Boxes]] = {
    "as recorded": lambda boxes: boxes,
    "with x and y swapped": _swapped,
    "mirrored": _mirrored,
    "upside down": _upside_down,
    "turned by 180 degrees": lambda boxes: _upside_down(_mirrored(boxes)),
    "turned by 90 degrees": lambda boxes: _upside_down(_swapped(boxes)),
    "turned by 270 degrees": lambda boxes: _mirrored(_swapped(boxes)),
}


def edge_thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns uint8[H, W], the image small enough to compare placements on.

    Args:
        grey: uint8[H, W], the image.
    """
    height, width = grey.shape
    factor = min(1.0, _SIDE_PX / max(width, height))
    size = (max(2, round(width * factor)), max(2, round(height * factor)))
    if size == (width, height):
        return grey
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX), dtype=np.uint8)


def best_placement(
    thumbnail: NDArray[np.uint8], boxes_yxyx_norm: NDArray[np.float32]
) -> Placement | None:
    """Returns the placement in which the boxes' sides lie on the strongest edges.

    Args:
        thumbnail: uint8[H, W], as `edge_thumbnail` makes it.
        boxes_yxyx_norm: float32[N, 4], [ymin, xmin, ymax, xmax], sound boxes only.

    Returns:
        None where no placement is clearly the best, as for boxes that are symmetric in the image.
    """
    height, width = thumbnail.shape
    scale = np.array([height, width, height, width], dtype=np.float64)
    sides = (boxes_yxyx_norm[:, 2:] - boxes_yxyx_norm[:, :2]) * scale[:2]
    large = np.flatnonzero((sides >= _FEWEST_SIDE_PX).all(axis=1))[:_MOST_BOXES]
    chosen = boxes_yxyx_norm[large].astype(np.float64)
    if len(chosen) == 0:
        return None
    across, along = _edges(thumbnail.astype(np.float32))
    moved = np.stack([move(chosen) for move in PLACEMENTS.values()])
    strengths = _strengths(across, along, np.clip(moved, 0, 1) * scale)
    scores = dict(zip(PLACEMENTS, strengths.tolist(), strict=True))
    ranked = sorted(scores, key=lambda name: -scores[name])
    return ranked[0] if scores[ranked[0]] > _MARGIN * scores[ranked[1]] else None


def _edges(levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns running sums of edge strength: of vertical edges down columns, of level ones along rows.

    Entry [y, x] of the first sums over rows above y at the border x between two pixels, each border
    taken with its neighbours, so that a box may be a pixel off. All sums are whole numbers below
    2^24, which float32 holds exactly.
    """
    height, width = levels.shape
    across = np.zeros((height + 1, width + 1), dtype=np.float32)
    np.cumsum(_widened(levels), axis=0, out=across[1:])
    along = np.zeros((height + 1, width + 1), dtype=np.float32)
    np.cumsum(_widened(levels.T).T, axis=1, out=along[:, 1:])
    return across, along


def _widened(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns [H, W + 1], at each border the strongest of the steps across it and its neighbours."""
    height, width = levels.shape
    steps = np.zeros((height, width + 3), dtype=np.float32)
    np.abs(np.diff(levels, axis=1), out=steps[:, 2:-2])
    return np.asarray(np.maximum(np.maximum(steps[:, :-2], steps[:, 1:-1]), steps[:, 2:]))


def _strengths(
    across: NDArray[np.float32], along: NDArray[np.float32], boxes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the mean edge strength a pixel along the sides of all boxes that lie inside the image.

    Args:
        across: The first that `_edges` returns.
        along: The second.
        boxes: float64[P, N, 4], [ymin, xmin, ymax, xmax] in pixels.

    Returns:
        float64[P], 0 where no side lies inside.
    """
    height, width = across.shape[0] - 1, across.shape[1] - 1
    ymin, xmin, ymax, xmax = np.moveaxis(np.round(boxes).astype(np.intp), 2, 0)
    total, length = np.zeros(len(boxes)), np.zeros(len(boxes), dtype=np.intp)
    for x in (xmin, xmax):
        inside = (x > 0) & (x < width)
        total += ((across[ymax, x] - across[ymin, x]) * inside).sum(axis=1, dtype=np.float64)
        length += ((ymax - ymin) * inside).sum(axis=1)
    for y in (ymin, ymax):
        inside = (y > 0) & (y < height)
        total += ((along[y, xmax] - along[y, xmin]) * inside).sum(axis=1, dtype=np.float64)
        length += ((xmax - xmin) * inside).sum(axis=1)
    return np.asarray(total / np.maximum(length, 1))
