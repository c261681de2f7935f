"""Geometry of the resize that training, evaluation and export share.

Source: official/vision/ops/preprocess_ops.py, resize_and_crop_image without jitter.
"""

from __future__ import annotations


def resize_scale(
    *, height_px: int, width_px: int, input_size: tuple[int, int], keep_aspect_ratio: bool
) -> tuple[float, float]:
    """Returns the factors (y, x) from an image's pixels to those of the model's input.

    Args:
        height_px: Height of the image, at least 1.
        width_px: Width of the image, at least 1.
        input_size: [height, width] of the model's input in pixels.
        keep_aspect_ratio: One factor for both sides, up to rounding to whole pixels.
    """
    if not keep_aspect_ratio:
        return input_size[0] / height_px, input_size[1] / width_px
    factor = min(input_size[0] / height_px, input_size[1] / width_px)
    return round(height_px * factor) / height_px, round(width_px * factor) / width_px


def padding_share(
    *, height_px: int, width_px: int, input_size: tuple[int, int], keep_aspect_ratio: bool
) -> float:
    """Returns the share of the model's input, in [0, 1], that padding wastes on such an image."""
    y_scale, x_scale = resize_scale(
        height_px=height_px,
        width_px=width_px,
        input_size=input_size,
        keep_aspect_ratio=keep_aspect_ratio,
    )
    used = (height_px * y_scale) * (width_px * x_scale)
    return max(0.0, 1.0 - used / (input_size[0] * input_size[1]))
