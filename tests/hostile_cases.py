"""Records and images made to use up memory or time, and a process that is ended when one succeeds."""

from __future__ import annotations

import multiprocessing
import resource
import struct
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from dataset_cases import encoded, noise, payload
from PIL import Image

CPU_S = 20
MORE_BYTES = 1 << 30


def limited(work: Callable[[], Any], *, more_bytes: int = MORE_BYTES, cpu_s: int = CPU_S) -> Any:
    """Returns what some work returns, done in a process that the system ends at either limit.

    Args:
        work: Its answer must be one that can be pickled.
        more_bytes: Of address space, beyond what the process began with.
        cpu_s: Seconds of computing, of all threads together.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(work, sender, more_bytes, cpu_s)
    )
    process.start()
    sender.close()
    try:
        answer = receiver.recv() if receiver.poll(10 * cpu_s) else None
    except EOFError:
        answer = None
    process.join(10)
    assert process.exitcode == 0, "it used up memory or time, or failed"
    return answer


def _work(work: Callable[[], Any], sender: Connection, more_bytes: int, cpu_s: int) -> None:
    begun = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (begun + more_bytes, begun + more_bytes))
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    sender.send(work())


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, pixels: bytes, *, before: bytes = b"", depth: int = 8) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes << 20), 9)


def jpeg_that_says(width: int, height: int) -> bytes:
    data = bytearray(encoded(noise().convert("L")))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_many_scans(scans: int) -> bytes:
    data = encoded(Image.new("RGB", (4000, 4000)), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def image(data: bytes) -> bytes:
    return payload(encoded=[data], format=None)


def boxes(count: int, sides: tuple[float, float, float, float], text: bytes = b"cow") -> bytes:
    names = ("ymin", "xmin", "ymax", "xmax")
    return payload(
        **{
            f"object__bbox__{name}": np.full(count, side, np.float32)
            for name, side in zip(names, sides, strict=True)
        },
        object__class__label=np.full(count, 7),
        object__class__text=[text] * count,
        object__area=np.full(count, 1e9, np.float32),
        object__is_crowd=None,
    )


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "PNG of 60,000 x 60,000": (lambda: image(png(60_000, 60_000, zeros(1))), "image-too-large"),
    "PNG bomb": (lambda: image(png(13_000, 13_000, zeros(162))), "image-too-large"),
    "PNG below the limit": (lambda: image(png(9_000, 9_000, zeros(78))), "image-blank"),
    "PNG with too many pixels": (lambda: image(png(8, 8, zeros(400))), "image-small"),
    "PNG that is a line": (lambda: image(png(2_000_000, 40, zeros(77))), "image-extreme-shape"),
    "zTXt bomb": (
        lambda: image(png(8, 8, zeros(1), before=chunk(b"zTXt", b"k\0\0" + zeros(300)))),
        "image-undecodable",
    ),
    "iTXt bomb": (
        lambda: image(png(8, 8, zeros(1), before=chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(300)))),
        "image-undecodable",
    ),
    "iCCP bomb": (
        lambda: image(png(8, 8, zeros(1), before=chunk(b"iCCP", b"k\0\0" + zeros(300)))),
        "image-undecodable",
    ),
    "JPEG that says 60,000 x 60,000": (
        lambda: image(jpeg_that_says(60_000, 60_000)), "image-too-large",
    ),
    "JPEG of 2,000 scans": (lambda: image(jpeg_of_many_scans(2_000)), "image-too-large"),
    "JPEG of a million segments": (
        lambda: image(b"\xff\xd8" + b"\xff\xe0\0\2" * 1_000_000), "image-too-large",
    ),
    "JPEG of fill bytes": (lambda: image(b"\xff\xd8" + b"\xff" * (4 << 20)), "image-undecodable"),
    "a million boxes in one place": (lambda: boxes(10**6, (0.1, 0.2, 0.6, 0.7)), "boxes-too-many"),
    "a million boxes that are none": (lambda: boxes(10**6, (np.nan, 0, 1, 1)), "boxes-too-many"),
    "ten thousand boxes in one place": (
        lambda: boxes(10**4, (0.1, 0.2, 0.6, 0.7)), "box-duplicate",
    ),
    "a class text of 50 MB": (lambda: boxes(1, (0.1, 0.2, 0.6, 0.7), b"x" * (50 << 20)), "class-id-unknown"),
    "an id of 50 MB": (lambda: payload(source_id=[b"x" * (50 << 20)], format=[b"png"]), "image-format-mismatch"),
}  # fmt: skip
