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


def edge_thumbnail(grey: Image.Image) -> NDArray[np.uint8]:
    """Returns uint8[H, W], the image small enough to compare placements on.

    Args:
        grey: The image, 8 bits of grey.
    """
    factor = min(1.0, _SIDE_PX / max(grey.size))
    size = (max(2, round(grey.width * factor)), max(2, round(grey.height * factor)))
    return np.asarray(grey.resize(size, Image.Resampling.BOX), dtype=np.uint8)


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
    chosen = boxes_yxyx_norm[(sides >= _FEWEST_SIDE_PX).all(axis=1)].astype(np.float64)
    if len(chosen) == 0:
        return None
    across, along = _edges(thumbnail.astype(np.float64))
    scores = {
        name: _strength(across, along, np.clip(move(chosen), 0, 1) * scale)
        for name, move in PLACEMENTS.items()
    }
    ranked = sorted(scores, key=lambda name: -scores[name])
    return ranked[0] if scores[ranked[0]] > _MARGIN * scores[ranked[1]] else None


def _edges(levels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns running sums of edge strength: of vertical edges down columns, of level ones along rows.

    Entry [y, x] of the first sums over rows above y at the border x between two pixels, each border
    taken with its neighbours, so that a box may be a pixel off.
    """
    height, width = levels.shape
    vertical = np.zeros((height, width + 1))
    vertical[:, 1:-1] = np.abs(np.diff(levels, axis=1))
    level = np.zeros((height + 1, width))
    level[1:-1] = np.abs(np.diff(levels, axis=0))
    vertical = np.maximum(vertical, np.maximum(_shift(vertical, 1, 1), _shift(vertical, -1, 1)))
    level = np.maximum(level, np.maximum(_shift(level, 1, 0), _shift(level, -1, 0)))
    across = np.zeros((height + 1, width + 1))
    across[1:] = np.cumsum(vertical, axis=0)
    along = np.zeros((height + 1, width + 1))
    along[:, 1:] = np.cumsum(level, axis=1)
    return across, along


def _shift(values: NDArray[np.float64], by: int, axis: int) -> NDArray[np.float64]:
    moved = np.roll(values, by, axis=axis)
    edge = [slice(None), slice(None)]
    edge[axis] = slice(0, 1) if by > 0 else slice(-1, None)
    moved[tuple(edge)] = 0
    return moved


def _strength(
    across: NDArray[np.float64], along: NDArray[np.float64], boxes: NDArray[np.float64]
) -> float:
    """Returns the mean edge strength a pixel along the sides of all boxes that lie inside the image."""
    height, width = across.shape[0] - 1, across.shape[1] - 1
    ymin, xmin, ymax, xmax = np.round(boxes).astype(np.intp).T
    total, length = 0.0, 0
    for x in (xmin, xmax):
        inside = (x > 0) & (x < width)
        total += float((across[ymax, x] - across[ymin, x])[inside].sum())
        length += int((ymax - ymin)[inside].sum())
    for y in (ymin, ymax):
        inside = (y > 0) & (y < height)
        total += float((along[y, xmax] - along[y, xmin])[inside].sum())
        length += int((xmax - xmin)[inside].sum())
    return total / length if length else 0.0
