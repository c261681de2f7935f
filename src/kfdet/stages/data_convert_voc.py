"""`kfdet data convert voc`: a Pascal VOC folder as TFRecord shards and a label map."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.annotations import AnnotatedImage, AnnotationFault, FaultyBoxes
from kfdet.core.label_map import contiguous
from kfdet.core.voc import VocPixels, parse_image_set, parse_voc
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.conversion import Conversion
from kfdet.schema.dataset import SPLITS, LabelMap, Split
from kfdet.storage.conversions import ConversionPlan, ImageFile, write_conversion
from kfdet.storage.label_maps import read_label_map
from kfdet.storage.regular import read_regular, stays_below

IMAGE_SETS: Mapping[Split, str] = {"train": "train", "val": "val", "test": "test"}
_ANNOTATIONS = "Annotations"
_IMAGES = "JPEGImages"
_IMAGE_SETS = "ImageSets/Main"


@dataclass(frozen=True, kw_only=True)
class _Split:
    images: tuple[ImageFile, ...]
    faults: tuple[AnnotationFault, ...]


def run(
    *,
    source: Path,
    out: Path,
    image_sets: Mapping[Split, str] = IMAGE_SETS,
    label_map: Path | None = None,
    pixels: VocPixels = "as_given",
    faulty: FaultyBoxes = "drop",
    shards: Mapping[Split, int] | None = None,
    progress: Progress,
) -> Conversion:
    """Converts a VOC folder: Annotations/*.xml, JPEGImages/*, ImageSets/Main/*.txt.

    Args:
        source: The folder.
        out: Folder for the shards, label_map.pbtxt and conversion.json; there whole or not at all.
        image_sets: Split to the name of its list in ImageSets/Main, without `.txt`.
        label_map: Classes and ids to use; without it the names found are numbered in their order.
        pixels: What VOC's integers mean; see `kfdet.core.voc.VocPixels`.
        faulty: `drop` clips boxes to the image and leaves out those without area, naming them;
            `keep` writes boxes as they are.
        shards: Split to number of files; chosen by size when absent.
        progress: Told of every image and of every box left out.

    Raises:
        DataError: The folder lacks something, or holds what no record can represent.
        StorageError: `out` can't be written.
    """
    lists = {split: _image_set(source, image_sets[split]) for split in SPLITS}
    files = _image_files(source)
    read = {
        split: _read_split(source, lists[split], files=files, pixels=pixels) for split in SPLITS
    }
    faults = [
        *_doubled(lists, source=source),
        *(fault for split in SPLITS for fault in read[split].faults),
    ]
    images = {split: read[split].images for split in SPLITS}
    used = {name for names in lists.values() for name in names}
    plan = ConversionPlan(
        source_format="voc",
        source=(str(source),),
        options={"pixels": pixels, "faulty": faulty},
        label_map=read_label_map(label_map) if label_map else _found_classes(source, images),
        category_ids={},
        splits=images,
        faulty=faulty,
        shards=shards,
        faults=faults,
        unused=sorted(
            path.stem for path in (source / _ANNOTATIONS).glob("*.xml") if path.stem not in used
        ),
    )
    return write_conversion(out, plan, progress=progress)


def _image_set(source: Path, name: str) -> tuple[str, ...]:
    path = source / _IMAGE_SETS / f"{name}.txt"
    try:
        return parse_image_set(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as failure:
        raise DataError(
            "can't read the list of images",
            where=str(path),
            expected=f"a VOC folder with {_ANNOTATIONS}, {_IMAGES} and {_IMAGE_SETS}/{name}.txt",
        ) from failure


def _image_files(source: Path) -> dict[str, Path]:
    """Returns the images by file name and by stem; a stem that two files share is left out."""
    paths = sorted((source / _IMAGES).glob("*"))
    stems = Counter(path.stem for path in paths)
    by_stem = {path.stem: path for path in paths if stems[path.stem] == 1}
    return by_stem | {path.name: path for path in paths}


def _doubled(lists: Mapping[Split, Sequence[str]], *, source: Path) -> Sequence[AnnotationFault]:
    listed: dict[str, list[Split]] = {}
    for split in SPLITS:
        for name in lists[split]:
            listed.setdefault(name, []).append(split)
    return [
        AnnotationFault(
            where=str(source / _IMAGE_SETS),
            what=f"{name} is listed {len(splits)} times: in {', '.join(splits)}",
        )
        for name, splits in listed.items()
        if len(splits) > 1
    ]


def _read_split(
    source: Path, names: Sequence[str], *, files: Mapping[str, Path], pixels: VocPixels
) -> _Split:
    images: list[ImageFile] = []
    faults: list[AnnotationFault] = []
    for name in names:
        path = source / _ANNOTATIONS / f"{name}.xml"
        if not stays_below(name):
            what = f"{name} lies outside the folder of annotations"
            faults.append(AnnotationFault(where=str(source / _IMAGE_SETS), what=what))
            continue
        try:
            text = read_regular(path)
        except OSError as failure:
            what = f"can't read the annotations: {failure.strerror}"
            faults.append(AnnotationFault(where=str(path), what=what))
            continue
        parsed = parse_voc(text, source_id=name, pixels=pixels, where=str(path))
        faults.extend(parsed.faults)
        if parsed.image is None:
            continue
        file = _file_of(parsed.image, files)
        if file is None:
            what = f"there is no image {name} in {_IMAGES}"
            faults.append(AnnotationFault(where=str(path), what=what))
        else:
            annotated = dataclasses.replace(parsed.image, file_name=file.name)
            images.append(ImageFile(path=file, annotated=annotated))
    return _Split(images=tuple(images), faults=tuple(faults))


def _file_of(image: AnnotatedImage, files: Mapping[str, Path]) -> Path | None:
    # The list's name comes first: many tools leave a wrong <filename> behind.
    return files.get(image.source_id) or files.get(image.file_name)


def _found_classes(source: Path, images: Mapping[Split, Sequence[ImageFile]]) -> LabelMap:
    names = sorted(
        {
            item.class_name
            for split in SPLITS
            for image in images[split]
            for item in image.annotated.objects
        }
    )
    if not names:
        raise DataError(
            "no object is annotated in any split",
            where=str(source / _ANNOTATIONS),
            expected="at least one <object> with a <name>",
        )
    return contiguous(names)
