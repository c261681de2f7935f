"""TFRecord files: reading through a memory map, and writing sets of shards."""

from __future__ import annotations

import contextlib
import gzip
import mmap
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

from kfdet.core.shard_names import shard_bounds, shard_names
from kfdet.core.tfrecord import (
    HEADER_BYTES,
    ByteSource,
    Frame,
    FrameFault,
    encode_record,
    frame_spans,
    length_at,
    read_frames,
)
from kfdet.errors import DataError
from kfdet.storage.atomic import explain_os_errors

Compression = Literal["none", "gzip", "zlib"]
_COPY_BYTES = 1 << 20


def compression_of(path: Path) -> Compression:
    """Returns how a file is compressed, by its first bytes; an empty file is not compressed."""
    with open(path, "rb") as stream:
        head = stream.read(HEADER_BYTES)
    if length_at(head, 0) is not None:
        return "none"
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    # The two bytes of a zlib header are a multiple of 31.
    is_zlib = len(head) >= 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0
    return "zlib" if is_zlib else "none"


@contextlib.contextmanager
def open_frames(path: Path) -> Iterator[ByteSource]:
    """Yields the bytes of a TFRecord file, decompressed where need be, without holding them in memory.

    Raises:
        DataError: The file can't be read, or its compression is damaged.
    """
    with contextlib.ExitStack() as stack:
        yield _mapped(path, stack)


def _mapped(path: Path, stack: contextlib.ExitStack) -> ByteSource:
    try:
        compression = compression_of(path)
        if compression == "none":
            stream: IO[bytes] = stack.enter_context(path.open("rb"))
        else:
            stream = stack.enter_context(_decompressed(path, compression))
        if stream.seek(0, 2) == 0:
            return b""
        return stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise DataError(f"its compression is damaged: {failure}", where=str(path)) from failure
    except OSError as failure:
        raise DataError(
            f"can't read: {failure.strerror or failure}",
            where=str(path),
            expected="a TFRecord file",
        ) from failure


def _decompressed(path: Path, compression: Compression) -> IO[bytes]:
    whole = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        if compression == "gzip":
            with gzip.open(path, "rb") as packed:
                shutil.copyfileobj(packed, whole, _COPY_BYTES)
        else:
            unpack = zlib.decompressobj()
            with open(path, "rb") as packed:
                while block := packed.read(_COPY_BYTES):
                    whole.write(unpack.decompress(block))
            whole.write(unpack.flush())
            if not unpack.eof:
                raise EOFError("the compressed data end too early")
        whole.flush()
    except BaseException:
        whole.close()
        raise
    return whole


def scan_records(path: Path) -> Iterator[Frame | FrameFault]:
    """Yields every whole record of a file and a fault for every damaged stretch.

    Raises:
        DataError: The file can't be read at all.
    """
    with open_frames(path) as source:
        yield from read_frames(source)


def read_records(path: Path) -> Iterator[Frame]:
    """Yields the records of a file that must be whole.

    Raises:
        DataError: The file can't be read, or a record is damaged; names file, record and byte.
    """
    for item in scan_records(path):
        if isinstance(item, FrameFault):
            raise DataError(
                f"the record is damaged ({item.kind}): {item.seen}",
                where=f"{path} record {item.index} (byte {item.offset:,})",
                expected=item.expected,
                remedy="Copy or write the shard again; kfdet validate names every damaged record.",
            )
        yield item


def read_record_at(path: Path, index: int) -> bytes:
    """Returns one record, reading of the others no more than their lengths.

    Raises:
        DataError: The file has no whole record of that index.
    """
    with open_frames(path) as source:
        for position, (offset, _) in enumerate(frame_spans(source)):
            if position == index:
                item = next(read_frames(source, begin=offset))
                if isinstance(item, Frame):
                    return item.payload
                break
    raise DataError(f"has no whole record {index}", where=str(path))


def write_shards(
    folder: Path, *, stem: str, payloads: Iterator[bytes], count: int, shards: int
) -> tuple[Path, ...]:
    """Writes `count` records as `stem-00000-of-0000N.tfrecord` and so on, evenly and in order.

    The folder should be one that becomes visible when it is complete: `storage.atomic.new_folder`.

    Raises:
        StorageError: The location can't be written.
    """
    written: list[Path] = []
    names: Sequence[str] = shard_names(stem, total=shards)
    for name, (begin, end) in zip(names, shard_bounds(count, total=shards), strict=True):
        path = folder / name
        with explain_os_errors(path), open(path, "wb") as stream:
            for _ in range(begin, end):
                stream.write(encode_record(next(payloads)))
        written.append(path)
    return tuple(written)
