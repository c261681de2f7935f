"""Reading single images out of TFRecord shards."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from kfdet.core.detection_record import parse_record
from kfdet.errors import DataError
from kfdet.storage.records import read_record_at


def read_picture(file: Path | str, record: int) -> Image.Image:
    """Returns the image of one record, its pixels as stored: EXIF rotation is not applied.

    Args:
        file: The TFRecord shard.
        record: Index of the record within it, from zero.

    Raises:
        DataError: The shard can't be read, or the record or its image is damaged.
    """
    where = f"{file} record {record}"
    encoded = parse_record(read_record_at(Path(file), record), where=where).encoded
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
    except (OSError, ValueError, Image.DecompressionBombError) as failure:
        raise DataError(f"the image can't be decoded: {failure}", where=where) from failure
    return image
