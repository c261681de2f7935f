"""predict: an exported model on single images, for people and programs.

model = load("registry/shapes/versions/000001")
for path in images:
    inference_with_plot(model, path).show()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kfdet.core.detected import Detected
from kfdet.report.pictures import PictureBox, draw_boxes
from kfdet.schema.export import SAVED_MODEL_FOLDER, ExportManifest
from kfdet.storage.copies import local_folder
from kfdet.storage.exports import read_export
from kfdet.storage.pictures import ImageSource, read_upright_image, write_image


class RawOutput(TypedDict):
    """What the model says about one image, in descending order of score.

    Attributes:
        detection_boxes: float32[D, 4], [y1, x1, y2, x2] in pixels of the image.
        detection_classes: int64[D], ids of the label map.
        detection_scores: float32[D], in [0, 1].
        detection_class_names: D names; the id as text where the label map has no name.
    """

    detection_boxes: NDArray[np.float32]
    detection_classes: NDArray[np.int64]
    detection_scores: NDArray[np.float32]
    detection_class_names: list[str]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A loaded model.

    Attributes:
        export: What the model is.
        detect: uint8[H, W, 3] pixels to detections.
        decode: An encoded image to such pixels, as training and evaluation decode.
    """

    export: ExportManifest
    detect: Callable[[NDArray[np.uint8]], Detected]
    decode: Callable[[bytes], NDArray[np.uint8]]


def load(model: Predictor | Path | str) -> Predictor:
    """Loads an export once for many images.

    Args:
        model: Folder of an export or of a registry version; a loaded model is returned as it is.

    Raises:
        ArtifactError: The folder is no export, or its files are not those that it lists.
    """
    if isinstance(model, Predictor):
        return model
    folder = local_folder(model)
    export = read_export(folder)
    from kfdet.models.saved_model import SavedModelDetector, decode_pixels

    detector = SavedModelDetector(folder / SAVED_MODEL_FOLDER)
    return Predictor(export=export, detect=detector.of_pixels, decode=decode_pixels)


def inference_with_plot(
    model: Predictor | Path | str,
    image: ImageSource,
    *,
    out: Path | str | None = None,
    score_threshold: float = 0.5,
) -> Image.Image:
    """Returns the image with boxes, class names and scores drawn into it.

    Args:
        model: A loaded model, or the folder of one.
        image: A path, an encoded file, a Pillow image or uint8[H, W, 3] RGB pixels.
        out: Where the picture is also written; the suffix says the format.
        score_threshold: Objects below are not drawn.

    Raises:
        DataError: The image can't be read.
    """
    picture, found, names = _infer(load(model), image, score_threshold=score_threshold)
    boxes = [
        PictureBox(
            xmin=float(x1),
            ymin=float(y1),
            xmax=float(x2),
            ymax=float(y2),
            label=f"{name} {score:.2f}",
            kind="detection",
        )
        for (y1, x1, y2, x2), name, score in zip(
            found.boxes_yxyx_px, names, found.scores.tolist(), strict=True
        )
    ]
    drawn = draw_boxes(picture, boxes)
    if out is not None:
        write_image(drawn, Path(out))
    return drawn


def inference_as_raw_output(
    model: Predictor | Path | str, image: ImageSource, *, score_threshold: float = 0.0
) -> RawOutput:
    """Returns boxes, classes and scores of one image.

    Args:
        model: A loaded model, or the folder of one.
        image: A path, an encoded file, a Pillow image or uint8[H, W, 3] RGB pixels.
        score_threshold: Objects below are left out.

    Raises:
        DataError: The image can't be read.
    """
    _, found, names = _infer(load(model), image, score_threshold=score_threshold)
    return RawOutput(
        detection_boxes=found.boxes_yxyx_px,
        detection_classes=found.class_ids,
        detection_scores=found.scores,
        detection_class_names=names,
    )


def _infer(
    predictor: Predictor, image: ImageSource, *, score_threshold: float
) -> tuple[Image.Image, Detected, list[str]]:
    picture = read_upright_image(image, decode=predictor.decode)
    found = predictor.detect(np.asarray(picture, dtype=np.uint8)).above(score_threshold)
    label_map = predictor.export.label_map
    names = [label_map.name_of(class_id) or str(class_id) for class_id in found.class_ids.tolist()]
    return picture, found, names
