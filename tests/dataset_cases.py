"""Detection records and data sets made by hand: sound ones, and ones with a single fault. No TensorFlow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kfdet.core.example import serialise_example
from kfdet.core.label_map import contiguous
from kfdet.core.tfrecord import encode_record
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examine import Examination, examine_records
from kfdet.progress import Progress
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.label_maps import write_label_map

QUIET = Progress("test", quiet=True)
CLASSES = ("cat", "dog")
SPLITS = ("train", "val", "test")


def noise(width: int = 64, height: int = 48, *, seed: int = 0) -> Image.Image:
    """Returns an image that is like no other seed's."""
    levels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def features(
    *, seed: int = 0, boxes: Sequence[Sequence[float]] = ((0.1, 0.2, 0.6, 0.7),), **changes: object
) -> dict[str, object]:
    """Returns the features of a sound record of 64 x 48 pixels.

    Args:
        seed: Decides the image and the source id.
        boxes: [ymin, xmin, ymax, xmax] each; classes alternate between cat and dog.
        changes: Feature name, with `/` as `__` and without `image/`, to a value; None leaves it out.
    """
    count = len(boxes)
    sides = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    ids = np.arange(count, dtype=np.int64) % 2 + 1
    found: dict[str, object] = {
        "image/encoded": [encoded(noise(seed=seed))],
        "image/format": [b"jpeg"],
        "image/height": np.array([48]),
        "image/width": np.array([64]),
        "image/filename": [f"{seed}.jpg".encode()],
        "image/source_id": [str(seed).encode()],
        **{
            f"image/object/bbox/{side}": sides[:, i]
            for i, side in enumerate(("ymin", "xmin", "ymax", "xmax"))
        },
        "image/object/class/label": ids,
        "image/object/class/text": [CLASSES[i - 1].encode() for i in ids],
        "image/object/is_crowd": np.zeros(count, dtype=np.int64),
    }
    for name, value in changes.items():
        key = f"image/{name.replace('__', '/')}"
        if value is None:
            del found[key]
        else:
            found[key] = value
    return found


def payload(**arguments: object) -> bytes:
    return serialise_example(features(**arguments))  # type: ignore[arg-type]


def with_image(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Returns a record of one image, declared as it is."""
    declared = {"JPEG": b"jpeg", "PNG": b"png", "BMP": b"bmp"}.get(kind, b"jpeg")
    return payload(
        encoded=[encoded(image, kind, **options)],
        format=[declared],
        width=np.array([image.width]),
        height=np.array([image.height]),
    )


def examine_record(record: bytes, *, names: Names | None) -> Examination:
    """Returns what a record by itself shows, also where its boxes fit its image."""
    (seen,) = examine_records([record], names=names, placed=[True])
    return seen


def sound_splits(images: int = 3) -> dict[str, list[bytes]]:
    """Returns records of three splits in which every class occurs and no image twice."""
    boxes = ((0.1, 0.2, 0.6, 0.7), (0.5, 0.5, 0.9, 0.8))
    return {
        split: [payload(seed=1000 * number + index, boxes=boxes) for index in range(images)]
        for number, split in enumerate(SPLITS)
    }


def write_dataset(
    folder: Path, splits: Mapping[str, Sequence[bytes]] | None = None, *, shards: int = 2
) -> DatasetConfig:
    """Writes records as shards with a label map of cat and dog."""
    folder.mkdir(parents=True, exist_ok=True)
    write_label_map(folder / "label_map.pbtxt", contiguous(CLASSES))
    for split, records in (splits or sound_splits()).items():
        for shard in range(shards):
            path = folder / f"{split}-{shard:05d}-of-{shards:05d}.tfrecord"
            size = -(-len(records) // shards)
            own = records[shard * size : (shard + 1) * size]
            path.write_bytes(b"".join(encode_record(record) for record in own))
    return config_of(folder)


def config_of(folder: Path, **severities: str) -> DatasetConfig:
    return DatasetConfig.model_validate(
        {
            "label_map": str(folder / "label_map.pbtxt"),
            **{split: str(folder / f"{split}-*.tfrecord") for split in SPLITS},
            "severities": {code.replace("_", "-"): level for code, level in severities.items()},
        }
    )


def damage(file: Path, *, place: int) -> None:
    """Turns one bit of a file over."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
