"""Reading single images, in all the forms that they come in, and writing them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kfdet.core.validation.images import decoded_image
from kfdet.errors import DataError, UsageError
from kfdet.storage.atomic import write_bytes
from kfdet.storage.regular import read_regular

_ORIENTATION = 0x0112
ImageSource = str | Path | bytes | Image.Image | NDArray[np.uint8]


def read_picture(file: Path | str, record: int) -> Image.Image:
    """Returns the image of one record, its pixels as stored: EXIF rotation is not applied.

    Args:
        file: The TFRecord shard.
        record: Index of the record within it, from zero.

    Raises:
        DataError: The shard can't be read, or the record or its image is damaged.
    """
    # Records need protobuf, which merge loads for nothing where there is no picture to show.
    from kfdet.core.detection_record import parse_record
    from kfdet.storage.records import read_record_at

    where = f"{file} record {record}"
    encoded = parse_record(read_record_at(file, record), where=where).encoded
    return _decoded(encoded, where=where)


def read_image_file(path: Path | str) -> Image.Image:
    """Returns the image of a file, its pixels as stored.

    Raises:
        DataError: The file can't be read, or is no image.
    """
    try:
        return _decoded(read_regular(path), where=str(path))
    except OSError as failure:
        raise DataError(f"can't read: {failure.strerror}", where=str(path)) from failure


def read_upright_image(
    image: ImageSource, *, decode: Callable[[bytes], NDArray[np.uint8]]
) -> Image.Image:
    """Returns an RGB image, upright as its EXIF data say.

    Args:
        image: A path, an encoded file, a Pillow image or uint8[H, W, 3] RGB pixels.
        decode: An encoded file to such pixels; a ValueError says that it does not know the format,
            and Pillow is asked instead.

    Raises:
        DataError: It can't be read.
        UsageError: The array has another type or shape.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(
                f"the image is {image.dtype}{list(image.shape)}", expected="uint8[height, width, 3]"
            )
        return Image.fromarray(image)
    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image).convert("RGB")
    where = "the image" if isinstance(image, bytes) else str(image)
    try:
        encoded = image if isinstance(image, bytes) else Path(image).read_bytes()
        with Image.open(io.BytesIO(encoded)) as opened:
            try:
                picture = Image.fromarray(decode(encoded))
                picture.getexif()[_ORIENTATION] = opened.getexif().get(_ORIENTATION, 1)
            except ValueError:
                # A format that TensorFlow does not know.
                return ImageOps.exif_transpose(opened).convert("RGB")
        return ImageOps.exif_transpose(picture)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as failure:
        raise DataError(
            f"can't be read as an image: {failure}", where=where, expected="JPEG, PNG or BMP"
        ) from failure


def write_image(picture: Image.Image, path: Path) -> None:
    """Writes an image whole; the suffix says the format.

    Raises:
        UsageError: No image format has that suffix.
    """
    known = Image.registered_extensions()
    form = known.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            f'"{path.suffix}" is no image format', where=str(path), expected=".png or .jpg"
        )
    buffer = io.BytesIO()
    picture.save(buffer, format=form)
    write_bytes(path, buffer.getvalue())


def _decoded(encoded: bytes, *, where: str) -> Image.Image:
    try:
        return decoded_image(encoded)
    except ValueError as failure:
        raise DataError(f"the image can't be decoded: {failure}", where=where) from failure
