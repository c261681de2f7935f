"""An exported detector, loaded the way that a user would: with TensorFlow alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kfdet.core.detected import Detected
from kfdet.errors import ArtifactError

SIGNATURES: Mapping[str, str] = {
    "serving_default": "inputs: uint8 [B, H, W, 3], RGB images of one size",
    "image_bytes": "inputs: string [B], JPEG, PNG or BMP files of any sizes",
    "tf_example": "inputs: string [B], serialised tf.train.Example with image/encoded",
}


class SavedModelDetector:
    """A SavedModel with the signatures of an export.

    Args:
        folder: The folder that holds `saved_model.pb`.

    Raises:
        ArtifactError: There is no SavedModel, or it lacks a signature.
    """

    def __init__(self, folder: Path) -> None:
        use_exact_floats()
        try:
            # Keeps the variables alive: signatures hold them weakly.
            self._model = tf.saved_model.load(str(folder))
        except (OSError, tf.errors.OpError, ValueError) as failure:
            reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
            raise ArtifactError(
                f"the SavedModel can't be loaded: {reason}",
                where=str(folder),
                expected="saved_model.pb with its variables",
            ) from failure
        missing = [name for name in SIGNATURES if name not in self._model.signatures]
        if missing:
            raise ArtifactError(
                f"the SavedModel lacks the signature {', '.join(missing)}",
                where=str(folder),
                expected=", ".join(SIGNATURES),
            )

    def __call__(self, encoded: Sequence[bytes]) -> list[Detected]:
        """Detects objects in encoded images of any sizes.

        Raises:
            ValueError: One of them can't be decoded.
        """
        return self._strings("image_bytes", encoded)

    def of_examples(self, payloads: Sequence[bytes]) -> list[Detected]:
        """Detects objects in serialised tf.train.Examples."""
        return self._strings("tf_example", payloads)

    def of_pixels(self, image: NDArray[np.uint8]) -> Detected:
        """Detects objects in one image.

        Args:
            image: uint8[H, W, 3], RGB.
        """
        batch = tf.constant(image[None], tf.uint8)
        return unpack(self._model.signatures["serving_default"](inputs=batch))[0]

    def _strings(self, signature: str, values: Sequence[bytes]) -> list[Detected]:
        try:
            batch = tf.constant(list(values), tf.string)
            return unpack(self._model.signatures[signature](inputs=batch))
        except tf.errors.InvalidArgumentError as failure:
            raise ValueError(failure.message) from failure


def use_exact_floats() -> None:
    """Has GPUs multiply in float32, not in TF32, whose ten bits are no basis for a comparison."""
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)


def decode_pixels(encoded: bytes) -> NDArray[np.uint8]:
    """Decodes an image as the export does: uint8[H, W, 3], RGB.

    Raises:
        ValueError: It can't be decoded.
    """
    try:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as failure:
        raise ValueError(failure.message) from failure
    pixels: NDArray[np.uint8] = image.numpy()
    return pixels


def unpack(outputs: Mapping[str, Any]) -> list[Detected]:
    """Returns a batch of outputs image by image, without the rows that only fill it up."""
    counts = outputs["num_detections"].numpy()
    boxes = outputs["detection_boxes"].numpy()
    classes = outputs["detection_classes"].numpy()
    scores = outputs["detection_scores"].numpy()
    return [
        Detected(
            boxes_yxyx_px=boxes[i, :count].astype(np.float32),
            class_ids=classes[i, :count].astype(np.int64),
            scores=scores[i, :count].astype(np.float32),
        )
        for i, count in enumerate(counts.tolist())
    ]
