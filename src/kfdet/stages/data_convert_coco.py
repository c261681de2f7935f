"""`kfdet data convert coco`: COCO instance annotations as TFRecord shards and a label map."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kfdet.core.annotations import AnnotationFault, FaultyBoxes
from kfdet.core.coco_json import CocoSet, parse_coco
from kfdet.core.label_map import contiguous
from kfdet.core.splitting import split_by_fraction
from kfdet.errors import DataError, UsageError
from kfdet.progress import Progress
from kfdet.schema.conversion import Conversion
from kfdet.schema.dataset import SPLITS, LabelMap, Split
from kfdet.storage.conversions import ConversionPlan, ImageFile, write_conversion
from kfdet.storage.label_maps import read_label_map
from kfdet.storage.regular import open_regular

FRACTIONS: Mapping[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def run(
    *,
    annotations: Path | Mapping[Split, Path],
    images: Path | Mapping[Split, Path],
    out: Path,
    fractions: Mapping[Split, float] = FRACTIONS,
    seed: int = 0,
    label_map: Path | None = None,
    faulty: FaultyBoxes = "drop",
    shards: Mapping[Split, int] | None = None,
    progress: Progress,
) -> Conversion:
    """Converts COCO instance files and their images.

    Category ids may have gaps: classes are numbered 1, 2, 3 ... in ascending order of category id,
    and conversion.json says which was which.

    Args:
        annotations: One instances file, divided at random, or one for each split.
        images: Folder that `file_name` is relative to, or one for each split.
        out: Folder for the shards, label_map.pbtxt and conversion.json; there whole or not at all.
        fractions: Split to share of the images, where one file is divided.
        seed: Of that division. Copies of one image go to the same split.
        label_map: Classes and ids to use instead.
        faulty: `drop` clips boxes to the image and leaves out those without area, naming them;
            `keep` writes boxes as they are.
        shards: Split to number of files; chosen by size when absent.
        progress: Told of every image and of every box left out.

    Raises:
        UsageError: The fractions are no division.
        DataError: The files hold what no record can represent.
        StorageError: `out` can't be written.
    """
    files = _by_split(annotations) if isinstance(annotations, Mapping) else (annotations,)
    sets = [_read(path) for path in files]
    faults = [fault for one in sets for fault in one.faults]
    categories = _categories(sets, files=files, faults=faults)
    folders = _by_split(images) if isinstance(images, Mapping) else (images,) * len(files)
    found = [
        _image_files(one, folder=folder, faults=faults)
        for one, folder in zip(sets, folders, strict=True)
    ]
    if isinstance(annotations, Mapping):
        splits = dict(zip(SPLITS, found, strict=True))
        options: dict[str, str] = {"faulty": faulty}
    else:
        splits = _divided(found[0], fractions=fractions, seed=seed)
        shares = "/".join(f"{fractions.get(split, 0.0):g}" for split in SPLITS)
        options = {"faulty": faulty, "fractions": shares, "seed": str(seed)}
    plan = ConversionPlan(
        source_format="coco",
        source=tuple(str(path) for path in files),
        options=options,
        label_map=_label_map(categories, label_map=label_map, where=str(files[0]), faults=faults),
        category_ids={name: number for number, name in categories.items()},
        splits=_with_unique_ids(splits),
        faulty=faulty,
        shards=shards,
        faults=faults,
        unused=(),
    )
    return write_conversion(out, plan, progress=progress)


def _by_split(paths: Mapping[Split, Path]) -> tuple[Path, ...]:
    missing = [split for split in SPLITS if split not in paths]
    if missing:
        raise UsageError(
            f"split {', '.join(missing)} has no path",
            expected="one for each of train, val and test",
        )
    return tuple(paths[split] for split in SPLITS)


def _read(path: Path) -> CocoSet:
    try:
        text = path.read_bytes()
    except OSError as failure:
        raise DataError(
            f"can't read: {failure.strerror}", where=str(path), expected="a COCO instances file"
        ) from failure
    return parse_coco(text, where=str(path))


def _categories(
    sets: Sequence[CocoSet], *, files: Sequence[Path], faults: list[AnnotationFault]
) -> dict[int, str]:
    """Returns the categories of all the files, which must not contradict one another."""
    merged: dict[int, str] = {}
    for one, path in zip(sets, files, strict=True):
        for number, name in one.categories.items():
            known = merged.setdefault(number, name)
            if known != name:
                what = f'category {number} is "{name}" here and "{known}" in another file'
                faults.append(AnnotationFault(where=str(path), what=what))
    return dict(sorted(merged.items()))


def _label_map(
    categories: Mapping[int, str],
    *,
    label_map: Path | None,
    where: str,
    faults: list[AnnotationFault],
) -> LabelMap:
    if label_map is not None:
        return read_label_map(label_map)
    names = list(categories.values())
    for name in sorted({name for name in names if names.count(name) > 1}):
        what = f'category name "{name}" has different ids in different files'
        faults.append(AnnotationFault(where=where, what=what))
    if not names:
        reasons = "; ".join(str(fault) for fault in faults[:3])
        raise DataError(
            "no category is declared" + (f" ({reasons})" if reasons else ""), where=where
        )
    return contiguous(list(dict.fromkeys(names)))


def _image_files(
    one: CocoSet, *, folder: Path, faults: list[AnnotationFault]
) -> tuple[ImageFile, ...]:
    root = os.path.realpath(folder)
    found: list[ImageFile] = []
    for image in one.images:
        path = folder / image.file_name
        if not Path(os.path.realpath(path)).is_relative_to(root):
            what = f"image {image.source_id}: {image.file_name} lies outside the folder of images"
            faults.append(AnnotationFault(where=str(folder), what=what))
        else:
            found.append(ImageFile(path=path, annotated=image))
    return tuple(found)


def _divided(
    images: Sequence[ImageFile], *, fractions: Mapping[Split, float], seed: int
) -> dict[Split, tuple[ImageFile, ...]]:
    shares = [fractions.get(split, 0.0) for split in SPLITS]
    if not all(share > 0 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise UsageError(
            f"the fractions are {', '.join(f'{share:g}' for share in shares)}",
            expected="three shares above 0 that add up to 1",
        )
    assigned = split_by_fraction(
        [_digest(image.path) for image in images], fractions=fractions, seed=seed
    )
    return {
        split: tuple(i for i, taken in zip(images, assigned, strict=True) if taken == split)
        for split in SPLITS
    }


def _digest(path: Path) -> str:
    try:
        with open_regular(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        # A missing image is named once, where its bytes are wanted.
        return str(path)


def _with_unique_ids(
    splits: Mapping[Split, Sequence[ImageFile]],
) -> dict[Split, tuple[ImageFile, ...]]:
    """Returns the images with ids that are unique over all splits: files often count from 1 each."""
    ids = [image.annotated.source_id for images in splits.values() for image in images]
    if len(set(ids)) == len(ids):
        return {split: tuple(images) for split, images in splits.items()}
    return {
        split: tuple(
            dataclasses.replace(
                image,
                annotated=dataclasses.replace(
                    image.annotated, source_id=f"{split}-{image.annotated.source_id}"
                ),
            )
            for image in images
        )
        for split, images in splits.items()
    }
