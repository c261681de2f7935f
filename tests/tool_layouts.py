"""Records as other tools lay them out, feature by feature: which there are, and of which type.

Source: the feature dictionaries of object_detection/dataset_tools/create_{pascal,pet,coco,kitti}_tf_record.py,
oid_tfrecord_creation.py and object_detection/utils/dataset_util.py in tensorflow/models, and of
official/vision/data/{create_coco_tf_record,tfrecord_lib}.py in tf-models-official 2.20.
"""

from __future__ import annotations

import hashlib

import numpy as np
from dataset_cases import CLASSES, encoded, noise
from PIL import Image

from kfdet.core.example import FeatureInput, serialise_example

F32 = np.float32
WIDTH, HEIGHT = 64, 48
BOXES = np.array([[0.1, 0.2, 0.6, 0.7], [0.5, 0.5, 0.9, 0.8]], F32)
JPEG = encoded(noise(WIDTH, HEIGHT))
MASK = encoded(Image.new("L", (WIDTH, HEIGHT), 255), "PNG")
AREAS = np.array([600.0, 200.0], F32)


def _image(source_id: str, *, kind: bytes = b"jpeg") -> dict[str, FeatureInput]:
    return {
        "image/height": [HEIGHT],
        "image/width": [WIDTH],
        "image/filename": [b"000017.jpg"],
        "image/source_id": [source_id.encode()],
        "image/key/sha256": [hashlib.sha256(JPEG).hexdigest().encode()],
        "image/encoded": [JPEG],
        "image/format": [kind],
    }


def _objects() -> dict[str, FeatureInput]:
    sides = ("ymin", "xmin", "ymax", "xmax")
    return {
        **{f"image/object/bbox/{side}": BOXES[:, at] for at, side in enumerate(sides)},
        "image/object/class/text": [name.encode() for name in CLASSES],
        "image/object/class/label": [1, 2],
    }


def _pascal(difficult: tuple[int, int] = (0, 0)) -> dict[str, FeatureInput]:
    return {
        **_image("000017.jpg"),
        **_objects(),
        "image/object/difficult": list(difficult),
        "image/object/truncated": [0, 1],
        "image/object/view": [b"Frontal", b"Unspecified"],
    }


def _coco(*, kind: bytes = b"jpeg") -> dict[str, FeatureInput]:
    crowd_and_area = {"image/object/is_crowd": [0, 1], "image/object/area": AREAS}
    return {**_image("17", kind=kind), **_objects(), **crowd_and_area}


def _open_images() -> dict[str, FeatureInput]:
    """No size and no format; and labels of the whole image beside the boxes."""
    return {
        **{
            k: v
            for k, v in _image("0a1b2c").items()
            if k in ("image/filename", "image/source_id", "image/encoded")
        },
        **_objects(),
        "image/object/group_of": [0, 1],
        "image/object/occluded": [1, 0],
        "image/object/truncated": [0, 0],
        "image/object/depiction": [0, 0],
        "image/class/label": [2],
        "image/class/text": [b"dog"],
    }


_FEATURES: dict[str, dict[str, FeatureInput]] = {
    "OD API, Pascal VOC": _pascal(),
    "OD API, Pascal VOC with a difficult object": _pascal((0, 1)),
    "OD API, pets' faces": _pascal(),
    "OD API, pets with masks": {**_pascal(), "image/object/mask": np.ones(2 * WIDTH * HEIGHT, F32)},
    "OD API, COCO": _coco(),
    "OD API, COCO with masks and captions": {
        **_coco(), "image/object/mask": [MASK, MASK], "image/caption": [b"Two animals."],
    },
    "OD API, COCO image without annotations": _image("17"),
    "OD API, COCO image whose annotations were all skipped": {
        **_image("17"),
        **{name: np.zeros(0, F32) for name in _coco() if "bbox" in name or name.endswith("area")},
        "image/object/class/label": np.zeros(0, np.int64),
        "image/object/is_crowd": np.zeros(0, np.int64),
        "image/object/class/text": [],
    },
    "OD API, KITTI": {
        **_image("000017.png"),
        **_objects(),
        "image/object/difficult": [0, 0],
        "image/object/truncated": np.array([0.0, 0.4], F32),
        "image/object/alpha": np.array([-1.5, 0.2], F32),
        "image/object/3d_bbox/height": np.array([1.5, 1.6], F32),
    },
    "OD API, Open Images": _open_images(),
    "Model Garden, COCO": _coco(kind=b"jpg"),
    "Model Garden, COCO with masks": {**_coco(kind=b"jpg"), "image/object/mask": [MASK, MASK]},
    "Model Garden, COCO image without annotations": _image("17", kind=b"jpg"),
}  # fmt: skip
LAYOUTS: dict[str, bytes] = {name: serialise_example(f) for name, f in _FEATURES.items()}
# What is told of some, none of it an error.
TOLD: dict[str, list[str]] = {
    "OD API, Pascal VOC with a difficult object": ["difficult-ignored"],
    "OD API, Open Images": ["image-size-missing", "group-of-ignored"],
}
