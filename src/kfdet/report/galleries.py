"""The pictures of an evaluation: what was missed, what was wrong, and a look across the set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kfdet.core.diagnosis import (
    Diagnosis,
    images_with_false_alarms,
    images_with_misses,
    typical_images,
)
from kfdet.errors import DataError
from kfdet.report.page import Html, Section, message
from kfdet.report.pictures import (
    BoxKind,
    PictureBox,
    gallery,
    picture,
    picture_legend,
    reduced,
)
from kfdet.report.wording import brief
from kfdet.wording import plural

_ALARMS_SHOWN = 12
_PICTURES = 8
_TYPICAL = 4


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image of the set.

    Attributes:
        row: Its row in the diagnosis' images.
        image: Its pixels as stored, in the size of a picture.
        size_px: (width, height) as stored.
    """

    row: int
    image: Image.Image
    size_px: tuple[int, int]

    @classmethod
    def of(cls, row: int, image: Image.Image) -> Example:
        """Returns the example of an image of any size."""
        return cls(row=row, image=reduced(image), size_px=image.size)


@dataclass(frozen=True, kw_only=True)
class Galleries:
    """Pictures to show.

    Attributes:
        misses, false_alarms, typical: In the order of showing.
        unreadable: Why pictures are missing; empty when none is.
    """

    misses: tuple[Example, ...]
    false_alarms: tuple[Example, ...]
    typical: tuple[Example, ...]
    unreadable: str = ""


def read_galleries(diagnosis: Diagnosis, read: Callable[[str, int], Image.Image]) -> Galleries:
    """Chooses the pictures and reads them; what can't be read is noted and stops nothing.

    Args:
        diagnosis: Which images show what.
        read: Returns the image of a record, given its shard and its index there; a DataError says
            why it can't.
    """
    images = diagnosis.data.images
    problems: list[str] = []

    def examples(rows: Sequence[int]) -> tuple[Example, ...]:
        found = []
        for row in rows:
            try:
                found.append(Example.of(row, read(images.file[row], int(images.record[row]))))
            except DataError as failure:
                problems.append(str(failure))
        return tuple(found)

    misses = examples(images_with_misses(diagnosis, count=_PICTURES).tolist())
    alarms = examples(images_with_false_alarms(diagnosis, count=_PICTURES).tolist())
    typical = examples(typical_images(diagnosis, count=_TYPICAL).tolist())
    note = f"{plural(len(problems), 'picture')} can't be shown. {problems[0]}" if problems else ""
    return Galleries(misses=misses, false_alarms=alarms, typical=typical, unreadable=note)


def gallery_sections(diagnosis: Diagnosis, galleries: Galleries) -> list[Section]:
    """Returns one section for each kind of picture that there is, and what could not be read."""
    legend = picture_legend(("hit", "false_alarm", "miss"))
    note = [message(galleries.unreadable, "warn")] if galleries.unreadable else []
    parts = (
        ("Misses", galleries.misses, "Images with the most missed objects, worst first."),
        ("False alarms", galleries.false_alarms, "Images with the surest wrong boxes first."),
        ("A look across the set", galleries.typical, "Images spread evenly over the set."),
    )
    sections = [
        Section(
            title=title,
            intro=intro,
            body=(legend, gallery([_picture(diagnosis, example) for example in examples])),
        )
        for title, examples, intro in parts
        if examples
    ]
    if note:
        sections.insert(0, Section(title="Pictures", body=tuple(note)))
    return sections


def _picture(diagnosis: Diagnosis, example: Example) -> Html:
    images = diagnosis.data.images
    boxes = example_boxes(diagnosis, example.row)
    kinds = [box.kind for box in boxes]
    counts = ", ".join(
        (
            plural(kinds.count("hit"), "hit"),
            plural(kinds.count("miss"), "miss", "misses"),
            plural(kinds.count("false_alarm"), "false alarm"),
        )
    )
    name = brief(images.source_id[example.row]) or f"image {images.image_id[example.row]}"
    place = (
        f"{brief(images.file[example.row].rsplit('/', 1)[-1])} record {images.record[example.row]}"
    )
    caption = f"{name}: {counts} ({place})"
    return picture(example.image, boxes, caption=caption, size_px=example.size_px)


def example_boxes(diagnosis: Diagnosis, row: int) -> list[PictureBox]:
    """Returns the boxes of one image: hits, misses, and the surest false alarms."""
    data, at = diagnosis.data, diagnosis.outcomes
    image_id = data.images.image_id[row]
    truth, seen = data.ground_truth, data.detections
    mine = seen.image_id == image_id
    boxes = [
        _box(diagnosis, truth.boxes_xyxy_px[i], int(truth.class_id[i]), None, "miss")
        for i in np.flatnonzero(at.miss & (truth.image_id == image_id))
    ]
    boxes += [
        _box(diagnosis, seen.boxes_xyxy_px[i], int(seen.class_id[i]), seen.score[i], "hit")
        for i in np.flatnonzero(at.hit & mine)
    ]
    alarms = np.flatnonzero(at.false_alarm & mine)
    surest = alarms[np.argsort(-seen.score[alarms], kind="stable")][:_ALARMS_SHOWN]
    boxes += [
        _box(diagnosis, seen.boxes_xyxy_px[i], int(seen.class_id[i]), seen.score[i], "false_alarm")
        for i in surest
    ]
    return boxes


def _box(
    diagnosis: Diagnosis, corners: np.ndarray, class_id: int, score: float | None, kind: BoxKind
) -> PictureBox:
    name = diagnosis.label_map.name_of(class_id) or f"class {class_id}"
    xmin, ymin, xmax, ymax = corners.tolist()
    label = name if score is None else f"{name} {score:.2f}"
    return PictureBox(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, label=label, kind=kind)
