"""TFRecord framing: records to bytes, and bytes to records or to the faults between them.

A frame is `uint64 length, uint32 masked crc of the length, payload, uint32 masked crc of the
payload`, all little-endian.

Source: tensorflow/core/lib/io/record_writer.h and tensorflow/core/lib/hash/crc32c.h (mask).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import google_crc32c
import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 12
FOOTER_BYTES = 4
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_FIRST_SCAN_BYTES, _MOST_SCAN_BYTES = 1 << 12, 1 << 20
_MOST_FAULTS = 10_000
_MOST_PASSES = 8
# What is taken for a shard and is none, by its first bytes.
_FOREIGN: dict[bytes, str] = {
    b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard", b"PK\x03\x04": "zip",
    b"PAR1": "Parquet", b"\x89HDF": "HDF5", b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG",
}  # fmt: skip

FaultKind = Literal["length", "data", "truncated"]


class ByteSource(Protocol):
    """What frames are read from: bytes, or a memory map."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One whole record.

    Attributes:
        index: Position among the records of the file, from zero; a damaged record counts as one.
        offset: Byte at which its length begins.
        payload: The record itself.
    """

    index: int
    offset: int
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class FrameFault:
    """A place where the file is no sequence of frames.

    Attributes:
        kind: `length`: the length's checksum is wrong. `data`: the payload's is. `truncated`: the
            file ends inside the frame.
        index: Position that the damaged record has, or would have.
        offset: Byte at which the damaged frame begins.
        seen, expected: The two values that disagree.
        resumes_at: Byte of the next whole frame; None when there is none.
    """

    kind: FaultKind
    index: int
    offset: int
    seen: str
    expected: str
    resumes_at: int | None


def masked_crc32c(data: bytes) -> int:
    """Returns the CRC-32C of bytes, rotated and shifted as TFRecord stores it."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def encode_record(payload: bytes) -> bytes:
    """Returns the frame of one record."""
    length = _LENGTH.pack(len(payload))
    return b"".join(
        (
            length,
            _CRC.pack(masked_crc32c(length)),
            payload,
            _CRC.pack(masked_crc32c(payload)),
        )
    )


def read_frames(
    source: ByteSource, *, begin: int = 0, end: int | None = None, first: int = 0
) -> Iterator[Frame | FrameFault]:
    """Yields every whole frame, and a fault for every stretch of bytes that holds none.

    After a fault it goes on at the next frame whose two checksums are both right, so that one
    damaged record costs no others. How many records a stretch without a readable length held is not
    knowable: it counts as one. Bytes made to look like damage everywhere are not followed for ever:
    after 10,000 faults, or checksums over 8 times the file in vain, the last fault says that nothing
    follows.

    Args:
        source: The whole file.
        begin: Byte at which a frame begins.
        end: Byte from which on no frame is read, though one may reach beyond; the source's end when
            absent.
        first: Index that the first frame gets.

    Yields:
        Frames and faults in the order of their bytes.
    """
    size = len(source)
    offset, index = begin, first
    effort = _Effort(faults=_MOST_FAULTS, checksum_bytes=_MOST_PASSES * size)
    while offset < (size if end is None else end):
        item = _frame_at(source, offset=offset, index=index, effort=effort)
        yield item
        if isinstance(item, Frame):
            offset += HEADER_BYTES + len(item.payload) + FOOTER_BYTES
        elif item.resumes_at is None:
            return
        else:
            offset = item.resumes_at
        index += 1


@dataclass(kw_only=True)
class _Effort:
    """What may still be spent on a damaged file.

    Attributes:
        faults: How many more are looked behind.
        checksum_bytes: Of payloads whose checksum turns out wrong.
    """

    faults: int
    checksum_bytes: int

    def is_spent(self) -> bool:
        return self.faults <= 0 or self.checksum_bytes <= 0


def frame_spans(source: ByteSource) -> Iterator[tuple[int, int]]:
    """Yields (offset, payload length) of each frame by its length alone, reading no payload.

    Stops at the first frame whose length is damaged or that goes beyond the end.
    """
    size = len(source)
    offset = 0
    while offset < size:
        length = length_at(source, offset)
        if length is None or offset + HEADER_BYTES + length + FOOTER_BYTES > size:
            return
        yield offset, length
        offset += HEADER_BYTES + length + FOOTER_BYTES


def length_at(source: ByteSource, offset: int) -> int | None:
    """Returns the length that a frame at `offset` says it has, None where its checksum is wrong.

    The payload is not read; the frame may go beyond the end.
    """
    header = source[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES or _crc_at(header, 8) != masked_crc32c(header[:8]):
        return None
    return int(_LENGTH.unpack_from(header)[0])


def _crc_at(data: bytes, offset: int) -> int:
    return int(_CRC.unpack_from(data, offset)[0])


def _foreign(head: bytes) -> str:
    """Returns the words for what kind of file begins so; none where that is not known."""
    kind = next((kind for magic, kind in _FOREIGN.items() if head.startswith(magic)), None)
    return f"; it begins as a {kind} file does" if kind else ""


def _frame_at(
    source: ByteSource, *, offset: int, index: int, effort: _Effort
) -> Frame | FrameFault:
    size = len(source)
    header = source[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES:
        return FrameFault(
            kind="truncated",
            index=index,
            offset=offset,
            seen=f"{len(header)} bytes to the end of the file",
            expected=f"at least {HEADER_BYTES + FOOTER_BYTES}",
            resumes_at=None,
        )
    stored, computed = _crc_at(header, 8), masked_crc32c(header[:8])
    if stored != computed:
        return FrameFault(
            kind="length",
            index=index,
            offset=offset,
            seen=f"{stored:08x}{_foreign(header) if offset == 0 else ''}",
            expected=f"{computed:08x}, the checksum of the length",
            resumes_at=_next_frame(source, offset + 1, effort),
        )
    length = int(_LENGTH.unpack_from(header)[0])
    end = offset + HEADER_BYTES + length + FOOTER_BYTES
    if end > size:
        return FrameFault(
            kind="truncated",
            index=index,
            offset=offset,
            seen=f"{size - offset} bytes to the end of the file",
            expected=f"{end - offset}, as its length says",
            resumes_at=_next_frame(source, offset + HEADER_BYTES, effort),
        )
    payload = source[offset + HEADER_BYTES : end - FOOTER_BYTES]
    stored, computed = _crc_at(source[end - FOOTER_BYTES : end], 0), masked_crc32c(payload)
    if stored == computed:
        return Frame(index=index, offset=offset, payload=payload)
    effort.checksum_bytes -= length
    # A changed byte leaves the next frame where the length says; lost bytes do not.
    in_step = end == size or length_at(source, end) is not None
    return FrameFault(
        kind="data",
        index=index,
        offset=offset,
        seen=f"{stored:08x}",
        expected=f"{computed:08x}, the checksum of the {length:,} bytes",
        resumes_at=end if in_step else _next_frame(source, offset + HEADER_BYTES, effort),
    )


def _next_frame(source: ByteSource, start: int, effort: _Effort) -> int | None:
    """Returns the first byte at or after `start` where a whole frame with right checksums begins."""
    size = len(source)
    effort.faults -= 1
    block_bytes = _FIRST_SCAN_BYTES
    while start + HEADER_BYTES <= size and not effort.is_spent():
        chunk = source[start : start + block_bytes + HEADER_BYTES - 1]
        for candidate in _headers_in(chunk, limit=size):
            offset = start + int(candidate)
            length = int(_LENGTH.unpack_from(chunk, int(candidate))[0])
            end = offset + HEADER_BYTES + length + FOOTER_BYTES
            if end > size:
                continue
            if _crc_at(source[end - FOOTER_BYTES : end], 0) == masked_crc32c(
                source[offset + HEADER_BYTES : end - FOOTER_BYTES]
            ):
                return offset
            effort.checksum_bytes -= length
            if effort.is_spent():
                return None
        start += block_bytes
        block_bytes = min(2 * block_bytes, _MOST_SCAN_BYTES)
    return None


def _headers_in(chunk: bytes, *, limit: int) -> NDArray[np.intp]:
    """Returns the positions in a chunk that hold a length below `limit` with its right checksum."""
    data = np.frombuffer(chunk, dtype=np.uint8)
    count = len(data) - HEADER_BYTES + 1
    if count <= 0:
        return np.zeros(0, dtype=np.intp)
    zero_bytes = 8 - (max(limit, 1).bit_length() + 7) // 8
    plausible = np.ones(count, dtype=np.bool_)
    for position in range(8 - zero_bytes, 8):
        plausible &= data[position : position + count] == 0
    candidates = np.flatnonzero(plausible)
    headers = data[candidates[:, None] + np.arange(HEADER_BYTES)]
    stored = np.ascontiguousarray(headers[:, 8:]).view("<u4")[:, 0]
    found: NDArray[np.intp] = candidates[stored == _masked_crcs_of_lengths(headers[:, :8])]
    return found


def _masked_crcs_of_lengths(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Returns what `masked_crc32c` gives for each row of uint8[N, 8], fast for many rows."""
    zeros, tables = _crc_tables()
    crcs = np.full(len(lengths), zeros, dtype=np.uint32)
    for position in range(8):
        crcs ^= tables[position][lengths[:, position]]
    return (crcs >> np.uint32(15) | crcs << np.uint32(17)) + np.uint32(_MASK_DELTA)


@cache
def _crc_tables() -> tuple[np.uint32, NDArray[np.uint32]]:
    """Returns the checksum of 8 zeros, and uint32[8, 256]: what each byte at each place changes in it.

    A CRC of bytes of equal number is linear but for a constant, so the changes add up.
    """
    zeros = int(google_crc32c.value(bytes(8)))
    tables = np.zeros((8, 256), dtype=np.uint32)
    for position in range(8):
        for byte in range(256):
            message = bytes(position) + bytes((byte,)) + bytes(7 - position)
            tables[position, byte] = int(google_crc32c.value(message)) ^ zeros
    return np.uint32(zeros), tables
