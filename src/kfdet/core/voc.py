"""Pascal VOC annotations: one XML file an image, and the lists of ImageSets/Main."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from kfdet.core.annotations import AnnotatedImage, AnnotationFault, BoxXyxy, ObjectAnnotation

VocPixels = Literal["as_given", "one_based_inclusive"]
"""How VOC's integers become box sides.

`as_given`: xmin to xmax is the width, as LabelImg writes boxes and as the OD API reads them.
Source: object_detection/dataset_tools/create_pascal_tf_record.py.

`one_based_inclusive`: pixels are counted from 1 and xmax is the last one inside, as in the PASCAL
VOC challenge itself, so xmin and ymin lose one. Source: VOC2012 development kit, section 4.2, and
detectron2/data/datasets/pascal_voc.py.
"""


@dataclass(frozen=True, kw_only=True)
class VocImage:
    """One annotation file: its image, None when it can't be read, and what is wrong with it."""

    image: AnnotatedImage | None
    faults: tuple[AnnotationFault, ...]


class _RefusedDoctypeError(ValueError):
    """The XML brings its own document type: entities could make it mean anything."""


class _PlainTree(ElementTree.TreeBuilder):
    """Builds a tree of XML without a document type, and so without entities of its own."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002
        raise _RefusedDoctypeError


def parse_voc(text: bytes, *, source_id: str, pixels: VocPixels, where: str) -> VocImage:
    """Parses one annotation file.

    Args:
        text: The XML file. Document types and entities are refused.
        source_id: Unique name of the image: its line in ImageSets.
        pixels: What the integers mean.
        where: The file, for faults.
    """
    faults: list[AnnotationFault] = []
    try:
        parser = ElementTree.XMLParser(target=_PlainTree())  # noqa: S314  refuses entities
        root = ElementTree.fromstring(text, parser=parser)  # noqa: S314
    except _RefusedDoctypeError:
        fault = AnnotationFault(where=where, what="has a <!DOCTYPE>, which VOC files have not")
        return VocImage(image=None, faults=(fault,))
    except (ElementTree.ParseError, ValueError, LookupError) as failure:
        return VocImage(
            image=None, faults=(AnnotationFault(where=where, what=f"is no XML: {failure}"),)
        )
    if root.tag != "annotation":
        fault = AnnotationFault(
            where=where, what=f"begins with <{root.tag}>, expected <annotation>"
        )
        return VocImage(image=None, faults=(fault,))
    objects = tuple(_objects(root, pixels=pixels, where=where, faults=faults))
    size = _size(root, where=where, faults=faults)
    # Only the last part: a path in an annotation is one of the machine that wrote it.
    file_name = (root.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
    image = AnnotatedImage(
        file_name=file_name or source_id, source_id=source_id, size_px=size, objects=objects
    )
    return VocImage(image=image, faults=tuple(faults))


def parse_image_set(text: str) -> tuple[str, ...]:
    """Returns the image names of a list in ImageSets; a second column, as -1 or 1, is ignored."""
    return tuple(line.split()[0] for line in text.splitlines() if line.strip())


def _objects(
    root: ElementTree.Element, *, pixels: VocPixels, where: str, faults: list[AnnotationFault]
) -> Iterator[ObjectAnnotation]:
    for number, element in enumerate(root.findall("object"), 1):
        place = f"object {number}"
        name = (element.findtext("name") or "").strip()
        if not name:
            faults.append(AnnotationFault(where=where, what=f"{place}: has no <name>"))
            continue
        box = _box(element, place=place, where=where, faults=faults)
        if box is None:
            continue
        if pixels == "one_based_inclusive":
            box = (box[0] - 1, box[1] - 1, box[2], box[3])
        yield ObjectAnnotation(
            place=place,
            class_name=name,
            box_xyxy_px=box,
            is_difficult=(element.findtext("difficult") or "").strip() == "1",
        )


def _box(
    element: ElementTree.Element, *, place: str, where: str, faults: list[AnnotationFault]
) -> BoxXyxy | None:
    sides: list[float] = []
    for side in ("xmin", "ymin", "xmax", "ymax"):
        text = element.findtext(f"bndbox/{side}")
        try:
            sides.append(float(text or ""))
        except ValueError:
            seen = "missing" if text is None else f'"{text.strip()}"'
            faults.append(
                AnnotationFault(where=where, what=f"{place}: {side} is {seen}, expected a number")
            )
    return (sides[0], sides[1], sides[2], sides[3]) if len(sides) == 4 else None


def _size(
    root: ElementTree.Element, *, where: str, faults: list[AnnotationFault]
) -> tuple[int, int] | None:
    width, height = root.findtext("size/width"), root.findtext("size/height")
    if width is None or height is None:
        return None
    try:
        return int(width), int(height)
    except ValueError:
        faults.append(
            AnnotationFault(
                where=where, what=f'size is "{width}" x "{height}", expected whole pixels'
            )
        )
        return None
