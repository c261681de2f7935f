"""What training and inference do alike to an image once it is resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from official.vision.ops import preprocess_ops


def normalise_and_pad(image: Any, *, size: Sequence[int]) -> Any:
    """Returns the image as the network takes it.

    After the resize, where there are fewest pixels; the padding is zero, not normalised black.

    Args:
        image: float32 [h, w, 3], RGB in [0, 1].
        size: Height and width with the padding at the bottom and at the right.

    Returns:
        float32 [*size, 3] of zero mean and unit variance over ImageNet.
    """
    normalised = preprocess_ops.normalize_scaled_float_image(
        image, preprocess_ops.MEAN_NORM, preprocess_ops.STDDEV_NORM
    )
    padded = tf.image.pad_to_bounding_box(normalised, 0, 0, *size)
    return tf.ensure_shape(padded, [*size, 3])
