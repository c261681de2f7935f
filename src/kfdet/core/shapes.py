"""A data set that needs no download: coloured shapes on cluttered backgrounds.

Three classes, one to five objects an image, hard enough to rank models and easy enough for a small
detector to learn in a few hundred steps.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SHAPE_NAMES = ("circle", "square", "triangle")
MAX_OBJECTS = 5
_OVERSAMPLING = 4
_MIN_BOX = 12 / 128
_MAX_OVERLAP = 0.1
_JPEG_QUALITY = 92

Polygon = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapesImage:
    """One image of the set.

    Attributes:
        jpeg: The encoded image, square.
        boxes_xyxy_px: float32[N, 4], [xmin, ymin, xmax, ymax], tight around the shapes.
        class_ids: int64[N], 1-based positions in SHAPE_NAMES.
    """

    jpeg: bytes
    boxes_xyxy_px: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def shapes_image(*, seed: tuple[int, ...], size_px: int = 128) -> ShapesImage:
    """Draws one image; equal arguments give equal bytes.

    Args:
        seed: Non-negative numbers that name the image: of the set, the split, the position.
        size_px: Width and height.
    """
    rng = np.random.default_rng(seed)
    canvas, background = _background(rng, size_px)
    _clutter(rng, canvas, size_px)
    boxes: list[tuple[float, float, float, float]] = []
    class_ids: list[int] = []
    wanted = int(rng.integers(1, MAX_OBJECTS + 1))
    for _ in range(30 * wanted):
        if len(boxes) == wanted:
            break
        class_id = int(rng.integers(1, len(SHAPE_NAMES) + 1))
        outline, box = _place(rng, class_id, size_px)
        if not _fits(box, boxes, size_px):
            continue
        _draw(rng, canvas, outline, background)
        boxes.append(box)
        class_ids.append(class_id)
    return ShapesImage(
        jpeg=_encode(rng, canvas, size_px),
        boxes_xyxy_px=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        class_ids=np.array(class_ids, dtype=np.int64),
    )


def _background(rng: np.random.Generator, size_px: int) -> tuple[Image.Image, NDArray[np.float64]]:
    """Returns the oversampled canvas with a slope from one colour to another, and their mean."""
    first = rng.uniform(20, 235, 3)
    second = np.clip(first + rng.normal(0, 30, 3), 0, 255)
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-0.5, 0.5, size_px)
    slope = 0.5 + axis[None, :] * math.cos(angle) + axis[:, None] * math.sin(angle)
    colours = first + np.clip(slope, 0, 1)[:, :, None] * (second - first)
    image = Image.fromarray(colours.astype(np.uint8))
    side = size_px * _OVERSAMPLING
    return image.resize((side, side), Image.Resampling.BILINEAR), (first + second) / 2


def _clutter(rng: np.random.Generator, canvas: Image.Image, size_px: int) -> None:
    """Draws lines and blurred smudges: things that are there and are no objects."""
    draw = ImageDraw.Draw(canvas)
    side = canvas.width
    for _ in range(int(rng.integers(0, 7))):
        ends = rng.uniform(0, side, 4)
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        width = max(1, round(rng.uniform(0.5, 1.5) * _OVERSAMPLING * size_px / 128))
        draw.line(tuple(ends.tolist()), fill=colour, width=width)
    for _ in range(int(rng.integers(0, 4))):
        centre = rng.uniform(0, side, 2)
        radius = rng.uniform(0.05, 0.2) * side
        mask = Image.new("L", (64, 64), 0)
        ImageDraw.Draw(mask).ellipse((16, 16, 48, 48), fill=int(rng.integers(40, 110)))
        mask = mask.filter(ImageFilter.GaussianBlur(8))
        spot = max(2, int(4 * radius))
        place = (int(centre[0] - spot / 2), int(centre[1] - spot / 2))
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        canvas.paste(
            colour, box=(*place, place[0] + spot, place[1] + spot), mask=mask.resize((spot, spot))
        )


def _place(
    rng: np.random.Generator, class_id: int, size_px: int
) -> tuple[Polygon, tuple[float, float, float, float]]:
    """Returns the outline of a shape somewhere, and its tight box, in pixels of the image."""
    # Even in the logarithm: as many small shapes as large ones.
    radius = math.exp(rng.uniform(math.log(0.07), math.log(0.22))) * size_px
    centre_x, centre_y = rng.uniform(0.0, size_px, 2)
    name = SHAPE_NAMES[class_id - 1]
    corners = {"circle": 96, "square": 4, "triangle": 3}[name]
    turn = rng.uniform(-0.3, 0.3)
    start = {"circle": 0.0, "square": math.pi / 4, "triangle": -math.pi / 2}[name] + turn
    outline = [
        (
            centre_x + radius * math.cos(start + 2 * math.pi * corner / corners),
            centre_y + radius * math.sin(start + 2 * math.pi * corner / corners),
        )
        for corner in range(corners)
    ]
    xs, ys = [x for x, _ in outline], [y for _, y in outline]
    return outline, (min(xs), min(ys), max(xs), max(ys))


def _fits(
    box: tuple[float, float, float, float],
    others: list[tuple[float, float, float, float]],
    size_px: int,
) -> bool:
    xmin, ymin, xmax, ymax = box
    if min(xmin, ymin) < 0 or max(xmax, ymax) > size_px:
        return False
    if min(xmax - xmin, ymax - ymin) < _MIN_BOX * size_px:
        return False
    for left, top, right, bottom in others:
        shared = max(0.0, min(xmax, right) - max(xmin, left)) * max(
            0.0, min(ymax, bottom) - max(ymin, top)
        )
        smaller = min((xmax - xmin) * (ymax - ymin), (right - left) * (bottom - top))
        if shared > _MAX_OVERLAP * smaller:
            return False
    return True


def _draw(
    rng: np.random.Generator,
    canvas: Image.Image,
    outline: Polygon,
    background: NDArray[np.float64],
) -> None:
    """Fills a shape with a colour that stands out from the background, often with an edge."""
    colour = rng.uniform(0, 255, 3)
    for _ in range(20):
        if np.abs(colour - background).sum() > 120:
            break
        colour = rng.uniform(0, 255, 3)
    points = [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in outline]
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.5:
        edge = tuple(int(level) for level in np.clip(colour * rng.uniform(0.3, 0.7), 0, 255))
        draw.polygon(points, fill=edge)
        centre_x = sum(x for x, _ in points) / len(points)
        centre_y = sum(y for _, y in points) / len(points)
        points = [
            (centre_x + 0.85 * (x - centre_x), centre_y + 0.85 * (y - centre_y)) for x, y in points
        ]
    draw.polygon(points, fill=tuple(int(level) for level in colour))


def _encode(rng: np.random.Generator, canvas: Image.Image, size_px: int) -> bytes:
    image = np.asarray(canvas.resize((size_px, size_px), Image.Resampling.BOX), dtype=np.float64)
    noisy = image + rng.normal(0, rng.uniform(1, 8), image.shape)
    stream = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(
        stream, format="JPEG", quality=_JPEG_QUALITY
    )
    return stream.getvalue()
