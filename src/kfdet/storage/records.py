"""TFRecord files: reading through a memory map, and writing sets of shards."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
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
from kfdet.schema.dataset import Compression
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.copies import local_file
from kfdet.storage.regular import open_regular

CompressionFault = Literal["damaged", "bomb"]
OnFault = Callable[[CompressionFault, str, str], None]

# A file that grows more than this is no set of images: reading it would fill the disk.
MOST_EXPANSION = 100
_ALWAYS_UNPACKED_BYTES = 64 << 20
_COPY_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


def compression_of(path: Path) -> Compression:
    """Returns how a file is compressed, by its first bytes; an empty file is not compressed."""
    with open_regular(path) as stream:
        head = stream.read(HEADER_BYTES)
    if length_at(head, 0) is not None:
        return "none"
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    # The two bytes of a zlib header are a multiple of 31.
    is_zlib = len(head) >= 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0
    return "zlib" if is_zlib else "none"


@contextlib.contextmanager
def open_frames(location: Path | str, *, on_fault: OnFault | None = None) -> Iterator[ByteSource]:
    """Yields the bytes of a TFRecord file, decompressed where need be, without holding them in memory.

    Args:
        location: The file or object; gzip and zlib are known by their first bytes.
        on_fault: Told of a fault of the compression: which kind, what was seen, what was expected.
            What can be decompressed in front of it is yielded.

    Raises:
        DataError: The file can't be read, or its compression has a fault and nobody is told.
    """
    with contextlib.ExitStack() as stack:
        yield _mapped(location, stack, on_fault or functools.partial(_refuse, location))


def _refuse(location: Path | str, kind: CompressionFault, seen: str, expected: str) -> None:
    what = "its compression is damaged" if kind == "damaged" else "it is no set of images"
    raise DataError(f"{what}: {seen}", where=str(location), expected=expected)


def _mapped(location: Path | str, stack: contextlib.ExitStack, on_fault: OnFault) -> ByteSource:
    try:
        path = local_file(location)
        compression = compression_of(path)
        stream: IO[bytes] = stack.enter_context(open_regular(path))
        if compression != "none":
            whole: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  the stack closes it
            stack.enter_context(whole)
            _unpack(stream, whole, compression=compression, on_fault=on_fault)
            stream = whole
        if stream.seek(0, 2) == 0:
            return b""
        return stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as failure:
        raise DataError(
            f"can't read: {failure.strerror or failure}",
            where=str(location),
            expected="a TFRecord file",
        ) from failure


def _unpack(
    packed: IO[bytes], whole: IO[bytes], *, compression: Compression, on_fault: OnFault
) -> None:
    """Writes what a compressed file holds; at a fault it stops, and for a bomb writes nothing."""
    limit = max(_ALWAYS_UNPACKED_BYTES, MOST_EXPANSION * os.fstat(packed.fileno()).st_size)
    try:
        for block in _unpacked(packed, compression):
            if whole.tell() + len(block) > limit:
                whole.seek(0)
                whole.truncate()
                on_fault(
                    "bomb",
                    f"it grows beyond {limit:,} bytes",
                    f"at most {MOST_EXPANSION} times its size, or {_ALWAYS_UNPACKED_BYTES:,} bytes",
                )
                break
            whole.write(block)
    except zlib.error as failure:
        on_fault("damaged", str(failure), f"whole {compression} data")
    whole.flush()


def _unpacked(packed: IO[bytes], compression: Compression) -> Iterator[bytes]:
    """Yields the decompressed bytes in blocks of bounded size.

    A gzip file may be several members one after another, as TensorFlow reads them too.

    Raises:
        zlib.error: The data are damaged, end too early, or have other bytes behind them.
    """
    wbits = 31 if compression == "gzip" else 15
    unpack, behind = zlib.decompressobj(wbits), b""
    while block := behind or packed.read(_COPY_BYTES):
        yield unpack.decompress(block, _COPY_BYTES)
        behind = unpack.unconsumed_tail
        if unpack.eof:
            behind = unpack.unused_data
            if len(behind) < len(_GZIP_MAGIC):
                behind += packed.read(_COPY_BYTES)
            if not behind:
                return
            if compression != "gzip" or not behind.startswith(_GZIP_MAGIC):
                raise zlib.error("other bytes lie behind the end of the compressed data")
            unpack = zlib.decompressobj(wbits)
    # What is still inside the decompressor is no more than it was limited to above.
    yield unpack.flush()
    if not unpack.eof:
        raise zlib.error("the compressed data end too early")


def scan_records(
    location: Path | str, *, on_fault: OnFault | None = None
) -> Iterator[Frame | FrameFault]:
    """Yields every whole record of a file and a fault for every damaged stretch.

    Args:
        location: The file or object.
        on_fault: Told of a fault of the compression, as `open_frames` tells it.

    Raises:
        DataError: The file can't be read at all, or its compression has a fault and nobody is told.
    """
    with open_frames(location, on_fault=on_fault) as source:
        yield from read_frames(source)


def read_records(location: Path | str, *, excluded: Set[int] = frozenset()) -> Iterator[Frame]:
    """Yields the records of a file, all of which must be whole.

    Args:
        location: The file or object.
        excluded: Indices of records that are left out, damaged ones too.

    Raises:
        DataError: The file can't be read, or a record is damaged; names file, record and byte.
    """
    missed = set(excluded)
    for item in scan_records(location):
        if item.index in excluded:
            missed.discard(item.index)
            continue
        if isinstance(item, FrameFault):
            raise DataError(
                f"the record is damaged ({item.kind}): {item.seen}",
                where=f"{location} record {item.index} (byte {item.offset:,})",
                expected=item.expected,
                remedy="Copy or write the shard again; kfdet validate names every damaged record.",
            )
        yield item
    if missed:
        raise DataError(f"has no record {min(missed)} to leave out", where=str(location))


def read_record_at(location: Path | str, index: int) -> bytes:
    """Returns one record, reading of the others no more than their lengths where these are whole.

    Raises:
        DataError: The file has no whole record of that index.
    """
    with open_frames(location) as source:
        for position, (offset, _) in enumerate(frame_spans(source)):
            if position == index:
                item = next(read_frames(source, begin=offset))
                if isinstance(item, Frame):
                    return item.payload
                break
        else:
            # The lengths end at a damaged one; behind it only the checksums find records.
            for item in read_frames(source):
                if item.index == index and isinstance(item, Frame):
                    return item.payload
    raise DataError(f"has no whole record {index}", where=str(location))


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
