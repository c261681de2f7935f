"""Reading single images, out of TFRecord shards or from files."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from kfdet.errors import DataError
from kfdet.storage.files import read_input


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
    encoded = parse_record(read_record_at(Path(file), record), where=where).encoded
    return _decoded(encoded, where=where)


def read_image_file(path: Path | str) -> Image.Image:
    """Returns the image of a file, its pixels as stored.

    Raises:
        DataError: The file can't be read, or is no image.
    """
    return _decoded(read_input(path), where=str(path))


def _decoded(encoded: bytes, *, where: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
    except (OSError, ValueError, Image.DecompressionBombError) as failure:
        raise DataError(f"the image can't be decoded: {failure}", where=where) from failure
    return image
