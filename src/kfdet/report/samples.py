"""Records in pictures: a whole image with its boxes, and the place of those that are meant, enlarged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kfdet.core.validation.images import decoded_image
from kfdet.core.validation.samples import Sample
from kfdet.report.page import Html
from kfdet.report.pictures import PICTURE_WIDTH_PX, PictureBox, picture

_BOXES_DRAWN = 200
_LABEL_LETTERS = 40
_FARTHEST_PX = 1e6
_EMPTY_PX, _EMPTY_COLOUR = (320, 200), (225, 225, 225)
# Of the longer side of the image: what fills more of it is plain to see in the whole.
_LARGEST_DETAIL, _SMALLEST_DETAIL = 1 / 2, 1 / 6


def sample_pictures(sample: Sample) -> list[Html]:
    """Returns the image with its boxes, and where some that are meant are small, their place enlarged.

    An image that can't be decoded has an empty picture.
    """
    encoded = sample.content.encoded
    try:
        image = decoded_image(encoded, width_px=PICTURE_WIDTH_PX)
    except ValueError:
        caption = f"{_caption(sample)}: can't be shown"
        return [picture(Image.new("RGB", _EMPTY_PX, _EMPTY_COLOUR), [], caption=caption)]
    pictures = [picture(image, list(_boxes(sample, image)), caption=_caption(sample))]
    detail = _detail(sample, image)
    if detail is not None:
        width_px = round(PICTURE_WIDTH_PX / max(detail[2] - detail[0], 1e-3))
        whole = decoded_image(encoded, width_px=width_px)
        pictures.append(_enlarged(sample, whole, detail))
    return pictures


def _caption(sample: Sample) -> str:
    place = f"{sample.content.source_id[:_LABEL_LETTERS]}, record {sample.record}"
    return f"{sample.about} ({sample.split}, {place})" if sample.about else place


def _boxes(sample: Sample, image: Image.Image) -> Iterator[PictureBox]:
    record = sample.content
    texts = record.class_texts or tuple(str(number) for number in record.class_ids)
    for index, (ymin, xmin, ymax, xmax) in _drawn(_boxes_px(sample, image), sample.boxes):
        yield PictureBox(
            xmin=float(xmin),
            ymin=float(ymin),
            xmax=float(xmax),
            ymax=float(ymax),
            # Where one box is meant, only that one is named.
            label=texts[index][:_LABEL_LETTERS]
            if not sample.boxes or index in sample.boxes
            else "",
            kind="false_alarm" if index in sample.boxes else "ground_truth",
        )


def _boxes_px(sample: Sample, image: Image.Image) -> NDArray[np.float64]:
    """Returns float64[N, 4], [ymin, xmin, ymax, xmax] in pixels of the image as it is shown."""
    scale = np.array([image.height, image.width] * 2, dtype=np.float64)
    return sample.content.boxes_yxyx_norm.astype(np.float64) * scale


def _drawn(
    boxes: NDArray[np.float64], meant: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yields the boxes that are drawn: those that are meant, and others up to a number."""
    others = [index for index in range(min(len(boxes), _BOXES_DRAWN)) if index not in meant]
    for index in sorted([*meant[:_BOXES_DRAWN], *others[: max(0, _BOXES_DRAWN - len(meant))]]):
        if _is_drawable(boxes[index]):
            yield index, boxes[index]


def _is_drawable(box: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(box).all() and (np.abs(box) < _FARTHEST_PX).all())


def _detail(sample: Sample, image: Image.Image) -> tuple[float, float, float, float] | None:
    """Returns the square around the boxes that are meant, [xmin, ymin, xmax, ymax] as shares of the
    image; None where there are none inside it, or they lie far apart.
    """
    boxes = _boxes_px(sample, image)[list(sample.boxes[:_BOXES_DRAWN])]
    corners = boxes[[_is_drawable(box) for box in boxes]].reshape(-1, 2)
    if not len(corners):
        return None
    size = np.array([image.height, image.width], dtype=np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    longer = size.max()
    side = max(2 * float((high - low).max()), _SMALLEST_DETAIL * longer)
    if side > _LARGEST_DETAIL * longer or (high < 0).any() or (low > size).any():
        return None
    begin = np.clip((low + high - side) / 2, 0, np.maximum(size - side, 0))
    end = np.minimum(begin + side, size)
    (ymin, xmin), (ymax, xmax) = (begin / size).tolist(), (end / size).tolist()
    return xmin, ymin, xmax, ymax


def _enlarged(
    sample: Sample, image: Image.Image, detail: tuple[float, float, float, float]
) -> Html:
    xmin, ymin = int(detail[0] * image.width), int(detail[1] * image.height)
    xmax = max(xmin + 1, round(detail[2] * image.width))
    ymax = max(ymin + 1, round(detail[3] * image.height))
    boxes = [
        PictureBox(
            xmin=box.xmin - xmin,
            ymin=box.ymin - ymin,
            xmax=box.xmax - xmin,
            ymax=box.ymax - ymin,
            label=box.label,
            kind=box.kind,
        )
        for box in _boxes(sample, image)
        if box.kind == "false_alarm"
    ]
    part = image.crop((xmin, ymin, xmax, ymax))
    code = sample.about.partition(":")[0]
    return picture(
        part, boxes, caption=f"{code}, enlarged ({sample.split}, record {sample.record})"
    )
