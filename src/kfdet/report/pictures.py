"""Images with boxes: in reports as a small JPEG under a drawing, for files as pixels."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kfdet.report.markup import Html, tag
from kfdet.report.wording import brief
from kfdet.visible import visible_line

__all__ = ["BoxKind", "PictureBox", "draw_boxes", "gallery", "picture", "picture_legend", "reduced"]

BoxKind = Literal["ground_truth", "hit", "false_alarm", "miss", "detection"]

PICTURE_WIDTH_PX = 320
_JPEG_QUALITY = 80
_TALLEST = 4
_LABEL_PX = 12
_CHIP_PX = 15.0
_MOST_LETTERS = 120
# On and off pixels: the kinds differ on a grey print, too.
_DASHES: dict[BoxKind, tuple[int, ...]] = {
    "ground_truth": (7, 4), "hit": (), "false_alarm": (3, 3), "miss": (10, 3, 2, 3), "detection": (),
}  # fmt: skip
_COLOURS: dict[BoxKind, str] = {
    "ground_truth": "#6fd3ff", "hit": "#35e0a1", "false_alarm": "#ff8a4c", "miss": "#ffe14d",
    "detection": "#8fb6ff",
}  # fmt: skip
_IMPORTANCE: tuple[BoxKind, ...] = ("false_alarm", "miss", "detection", "hit", "ground_truth")
_INK = "#101418"
_KIND_WORDS: dict[BoxKind, str] = {
    "ground_truth": "ground truth", "hit": "hit", "false_alarm": "false alarm", "miss": "missed object",
    "detection": "detection",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PictureBox:
    """A box on a picture.

    Attributes:
        xmin, ymin, xmax, ymax: Pixels of the original image, origin at the top left. A box that is not
            finite is not drawn; one beyond the image is cut at its edge.
        label: A few words: class and score.
        kind: What it is; decides colour and line.
    """

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: str
    kind: BoxKind


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A box in pixels of the picture shown, ordered and within it, and where its label goes.

    Attributes:
        words: The label as given.
        label: The label as shortened to the picture.
        label_width: 0 where no label is drawn.
    """

    x: float
    y: float
    width: float
    height: float
    kind: BoxKind
    words: str
    label: str
    label_x: float
    label_y: float
    label_width: float


def picture(
    image: Image.Image,
    boxes: Sequence[PictureBox],
    *,
    caption: str | Html = "",
    width_px: int = PICTURE_WIDTH_PX,
    size_px: tuple[int, int] | None = None,
) -> Html:
    """Returns an image with boxes over it as one figure.

    Args:
        image: Any size and mode.
        boxes: In pixels of that image, or of `size_px`.
        caption: Below the picture.
        width_px: Width that a larger image is scaled down to, as `reduced` does it.
        size_px: (width, height) of the original where the image is a reduced one.
    """
    pixels = reduced(image, width_px=width_px)
    shown = pixels.size
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    # The drawing is as wide as the picture will be, so that labels keep their size on small images.
    factor = max(1.0, width_px / shown[0])
    size = (shown[0] * factor, shown[1] * factor)
    font = ImageFont.load_default(_LABEL_PX)
    placed = _place(boxes, size_px or image.size, size, font, chip_px=_CHIP_PX, crowded="omit")
    drawing = tag(
        "svg",
        *map(_outline, placed),
        *(_chip(box) for box in placed if box.label_width),
        viewBox=f"0 0 {size[0]:.0f} {size[1]:.0f}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{len(placed)} boxes",
    )
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    frame = tag(
        "div",
        tag("img", src=source, alt="", width=shown[0], height=shown[1]),
        drawing,
        class_="frame",
    )
    return tag("figure", frame, tag("figcaption", caption) if caption else "", class_="picture")


def reduced(image: Image.Image, *, width_px: int = PICTURE_WIDTH_PX) -> Image.Image:
    """Returns an image as RGB, scaled down to the width, or to four times as high where it is a strip."""
    scale = min(1.0, width_px / image.width, _TALLEST * width_px / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return _as_rgb(image).resize(size, Image.Resampling.LANCZOS)


def gallery(pictures: Sequence[Html]) -> Html:
    """Returns pictures in rows that fit the page."""
    if not pictures:
        return tag("p", "No pictures.", class_="soft")
    return tag("div", *pictures, class_="gallery")


def picture_legend(kinds: Sequence[BoxKind] = get_args(BoxKind)) -> Html:
    """Returns what the lines of the pictures mean."""
    keys = []
    for kind in kinds:
        sample = tag(
            "svg",
            tag("rect", x=2, y=2, width=22, height=10, class_=f"k-{kind} box", stroke_dasharray=_dashes(kind)),
            viewBox="0 0 26 14", class_="key", aria_hidden="true", style="height:14px",
        )  # fmt: skip
        keys.append(tag("span", sample, _KIND_WORDS[kind]))
    return tag("div", *keys, class_="legend")


def draw_boxes(
    image: Image.Image, boxes: Sequence[PictureBox], *, line_px: int | None = None
) -> Image.Image:
    """Returns a copy of the image, RGB at full size, with the boxes drawn into it.

    Args:
        image: Any size and mode.
        boxes: In pixels of that image.
        line_px: Width of the lines; chosen by the size of the image when None.
    """
    canvas = _as_rgb(image).copy()
    line = line_px or max(2, round(max(canvas.size) / 400))
    text_px = max(11, round(max(canvas.size) / 60))
    font = ImageFont.load_default(text_px)
    chip = text_px * 1.35
    draw = ImageDraw.Draw(canvas)
    placed = _place(
        boxes,
        canvas.size,
        (float(canvas.width), float(canvas.height)),
        font,
        chip_px=chip,
        crowded="cover",
    )
    for box in placed:
        _draw_outline(draw, box, line)
    for box in placed:
        if not box.label_width:
            continue
        corner = (box.label_x + box.label_width, box.label_y + chip)
        draw.rectangle((box.label_x, box.label_y, *corner), fill=_COLOURS[box.kind])
        middle = (box.label_x + text_px * 0.3, box.label_y + chip / 2)
        draw.text(middle, box.label, fill=_INK, font=font, anchor="lm")
    return canvas


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # 16-bit grey: PIL's own conversion clips instead of scaling.
        levels = np.asarray(image, dtype=np.float64)
        top = 65535.0 if levels.max(initial=0) > 255 else 255.0
        return Image.fromarray((levels / top * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _place(
    boxes: Sequence[PictureBox],
    original: tuple[int, int],
    shown: tuple[float, float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    chip_px: float,
    crowded: Literal["omit", "cover"],
) -> list[_Placed]:
    """Scales the boxes and finds each label a place above, below or inside, within the picture.

    The labels that matter most choose first. Where no place is free, a label is left out (its words
    stay in the box's title), or covers another.
    """
    factor_x, factor_y = shown[0] / original[0], shown[1] / original[1]
    placed: dict[int, _Placed] = {}
    for index in sorted(range(len(boxes)), key=lambda i: _IMPORTANCE.index(boxes[i].kind)):
        box = boxes[index]
        if not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
            continue
        x0, x1 = sorted(min(max(x * factor_x, 0.0), shown[0]) for x in (box.xmin, box.xmax))
        y0, y1 = sorted(min(max(y * factor_y, 0.0), shown[1]) for y in (box.ymin, box.ymax))
        text, width = _fit(box.label, shown[0] - 2, font, padding=chip_px * 0.55)
        left = min(max(x0 - 1, 0.0), max(0.0, shown[0] - width))
        lowest = max(0.0, shown[1] - chip_px)
        tops = [top for top in (y0 - chip_px, y1, y0, y1 - chip_px) if 0 <= top <= lowest]
        tops = tops or [min(y0, lowest)]
        taken = [one for one in placed.values() if one.label_width]
        free = [t for t in tops if not any(_overlap(one, left, t, width, chip_px) for one in taken)]
        if not free and crowded == "omit":
            width = 0.0
        placed[index] = _Placed(
            x=x0,
            y=y0,
            width=x1 - x0,
            height=y1 - y0,
            kind=box.kind,
            words=box.label,
            label=text,
            label_x=left,
            label_y=(free or tops)[0],
            label_width=width,
        )
    return [placed[index] for index in sorted(placed)]


def _fit(
    text: str, room_px: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, padding: float
) -> tuple[str, float]:
    """Returns the text, shortened to the room, and the width of its chip; 0 for no text."""
    # Measuring takes as long as the text is, and no picture has room for so many letters.
    text = brief(visible_line(text), letters=_MOST_LETTERS)
    width = font.getlength(text) * 1.06 + padding
    while text and width > room_px:
        text = text[:-2] + "\N{HORIZONTAL ELLIPSIS}" if len(text) > 2 else ""
        width = font.getlength(text) * 1.06 + padding
    return text, width if text else 0.0


def _overlap(other: _Placed, left: float, top: float, width: float, height: float) -> bool:
    return (
        other.label_x < left + width
        and left < other.label_x + other.label_width
        and abs(other.label_y - top) < height
    )


def _dashes(kind: BoxKind) -> str | None:
    return " ".join(map(str, _DASHES[kind])) or None


def _outline(box: _Placed) -> Html:
    place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    words = f"{brief(box.words)} ({_KIND_WORDS[box.kind]})" if box.words else _KIND_WORDS[box.kind]
    return tag(
        "g",
        tag("title", words),
        tag("rect", **place, class_="halo"),
        tag("rect", **place, class_=f"k-{box.kind} box", stroke_dasharray=_dashes(box.kind)),
    )


def _chip(box: _Placed) -> Html:
    return tag(
        "g",
        tag("rect", x=box.label_x, y=box.label_y, width=box.label_width, height=_CHIP_PX, rx=2,
            class_=f"k-{box.kind} chip"),
        # The reader's font may run wider than the one measured with: the length is kept.
        tag("text", box.label, x=box.label_x + 4, y=box.label_y + 11.4, textLength=box.label_width - 8,
            lengthAdjust="spacingAndGlyphs"),
    )  # fmt: skip


def _draw_outline(draw: ImageDraw.ImageDraw, box: _Placed, line: int) -> None:
    x0, y0, x1, y1 = box.x, box.y, box.x + box.width, box.y + box.height
    sides = ((x0, y0, x1, y0), (x1, y0, x1, y1), (x1, y1, x0, y1), (x0, y1, x0, y0))
    halo = line // 2 + 1
    draw.rectangle((x0 - halo, y0 - halo, x1 + halo, y1 + halo), outline="#202020", width=2 * halo)
    for side in sides:
        for start, end in _strokes(side, [dash * line / 2 for dash in _DASHES[box.kind]]):
            draw.line((*start, *end), fill=_COLOURS[box.kind], width=line)


def _strokes(
    side: tuple[float, float, float, float], pattern: Sequence[float]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Cuts a line into the strokes of a dash pattern; the whole line without one."""
    x0, y0, x1, y1 = side
    length = math.hypot(x1 - x0, y1 - y0)
    if not pattern or length == 0:
        return [((x0, y0), (x1, y1))]
    strokes = []
    at, index = 0.0, 0
    while at < length:
        end = min(length, at + pattern[index % len(pattern)])
        if index % 2 == 0:
            a, b = at / length, end / length
            strokes.append(
                ((x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0)))
            )
        at, index = end, index + 1
    return strokes
