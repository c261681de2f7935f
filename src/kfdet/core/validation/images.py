"""Looking at an encoded image: what it is, and whether the trainer will decode it.

A JPEG is decoded whole as far as faults go: every byte of its compressed data passes through the
decoder of every channel. Only what can't fail is saved: of the inverse transform no more is computed
than a small grey image needs, and no colours are. Whatever makes the decoder as much as warn is
decoded again, in full and by Pillow, whose answer then counts.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kfdet.core.validation.findings import Fault
from kfdet.core.validation.near_copies import NO_HASH, hash_image

SMALL_SIDE_PX = 16
STRIP_RATIO = 64
MOST_SCANS = 100
_BLANK_RANGE = 3
# Compression moves colours further than the brightness.
_BLANK_COLOURS_RANGE = 12
_ORIENTATION_TAG = 274
_EXIF_HEAD = b"Exif\0\0"
_FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "BMP": "bmp"}
# Pillow knows more, some by handing the file to another program.
_SHOWN_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
# What Pillow raises at damaged images.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError)
_PNG_DEPTH_AT = 24
_MARKER = re.compile(rb"\xff([\x01-\xfe])", re.DOTALL)
_MOST_SEGMENTS = 10_000
_DECLARED = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "bmp": "bmp"}
_BMP_DEPTHS = (8, 24, 32)
_GREY_PALETTE = bytes(v for level in range(256) for v in (level, level, level, 0))
_USUAL_MODE = "RGB"
# What the trainer's own JPEG decoder knows: 8 bits, sequential or progressive, Huffman codes.
_KNOWN_FRAMES = (b"\xc0", b"\xc1", b"\xc2")
_FRAMES = tuple(bytes([code]) for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC))
_MARKERS_WITHOUT_LENGTH = (b"", b"\x01", *(bytes([code]) for code in range(0xD0, 0xD8)))
_USUAL_SEGMENTS = 100
_MODES = {"YCbCr": "RGB", "Gray": "L"}
_LONGER_SIDE_PX = 160
_LONGEST_SIDE_PX = 2048
_LONGER_SIDE_OF_HASH_PX = 64
_SHORTER_SIDE_PX = 32
_SCALES = (8, 4, 2)
# Scaling may round a level, and the transform ring: below this range the full image is looked at.
_SURELY_NOT_BLANK = _BLANK_RANGE + 8

DecodeProblem = Literal["undecodable", "truncated", "unsupported", "too_large"]
Damage = tuple[DecodeProblem, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFacts:
    """What decoding an image showed.

    Attributes:
        format: `jpeg`, `png`, `bmp`, or another format's name; empty when it is none.
        width_px, height_px: Of the stored pixels, before any EXIF rotation; 0 when unknown.
        mode: Pillow's name of channels and depth: RGB, L, CMYK, RGBA, I;16, P, 1.
        orientation: EXIF orientation; 1 when there is none.
        brightness: Mean grey level, 0 to 255; None when it can't be decoded.
        is_blank: All the pixels are of one colour, or nearly.
        perceptual_hash: As `near_copies.hash_image` makes it; NO_HASH when the image is of one grey
            level or can't be decoded.
        grey: uint8[H, W], the image in grey, possibly scaled down; None when that is of one level or
            can't be decoded.
        problem, detail: Why the trainer would not decode it.
    """

    format: str = ""
    width_px: int = 0
    height_px: int = 0
    mode: str = ""
    orientation: int = 1
    brightness: float | None = None
    is_blank: bool = False
    perceptual_hash: bytes = NO_HASH
    grey: NDArray[np.uint8] | None = None
    problem: DecodeProblem | None = None
    detail: str = ""


def look_at_image(encoded: bytes, *, detailed: bool = True) -> ImageFacts:
    """Decodes an image whole.

    Args:
        encoded: The image's file.
        detailed: Whether `grey` is wanted in the size that edges are looked at in, and not smaller;
            where EXIF rotates the image it is in any case.
    """
    if encoded.startswith(b"\xff\xd8"):
        facts = _sound_jpeg(encoded, detailed=detailed)
        if facts is not None:
            return facts
        if excess := jpeg_excess(encoded):
            return ImageFacts(format="jpeg", problem=excess[0], detail=excess[1])
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            found = _FORMATS.get(image.format or "", (image.format or "").lower())
            facts = ImageFacts(
                format=found,
                width_px=image.width,
                height_px=image.height,
                mode=_mode(image, encoded),
            )
            if found not in _FORMATS.values():
                return _with_problem(facts, "unsupported", f"{image.format}")
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                return _with_problem(
                    facts, "too_large", f"{image.width:,} x {image.height:,} pixels"
                )
            damage = _DAMAGE[found](encoded)
            if damage is not None:
                return _with_problem(facts, *damage)
            return _decoded(image, facts)
    except Image.DecompressionBombError as failure:
        return ImageFacts(problem="too_large", detail=str(failure))
    except UnidentifiedImageError:
        return ImageFacts(problem="undecodable", detail=_head(encoded))
    except _DAMAGED as failure:
        return ImageFacts(problem="undecodable", detail=str(failure) or type(failure).__name__)


def decoded_image(encoded: bytes, *, width_px: int | None = None) -> Image.Image:
    """Returns an image to look at, if decoding it takes neither minutes nor gigabytes.

    Args:
        encoded: The image's file: what the trainer decodes, or one of a few formats beside.
        width_px: A JPEG is decoded as small as its decoder makes it at no less than this width; in
            full when None.

    Raises:
        ValueError: It is no such image, is damaged, or is too large; says which.
    """
    excess = jpeg_excess(encoded) if encoded.startswith(b"\xff\xd8") else None
    if excess is not None:
        raise ValueError(excess[1])
    try:
        with Image.open(io.BytesIO(encoded), formats=_SHOWN_FORMATS) as opened:
            width, height = opened.size
            if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise ValueError(f"{width:,} x {height:,} pixels")
            if width_px is not None:
                opened.draft(opened.mode, (width_px, max(1, round(height * width_px / width))))
            opened.load()
            return opened.copy()
    except UnidentifiedImageError as failure:
        raise ValueError(_head(encoded)) from failure
    except (*_DAMAGED, Image.DecompressionBombError) as failure:
        raise ValueError(str(failure) or type(failure).__name__) from failure


def _decoded(image: Image.Image, facts: ImageFacts) -> ImageFacts:
    """Returns the facts that need the pixels."""
    try:
        image.load()
    except _DAMAGED as failure:
        return _with_problem(facts, "undecodable", str(failure) or type(failure).__name__)
    whole = _grey(image)
    low, high = (int(level) for level in cast("tuple[int, int]", whole.getextrema()))
    is_flat = high - low <= _BLANK_RANGE
    if max(whole.size) > _LONGEST_SIDE_PX:
        size = (min(whole.width, _LONGEST_SIDE_PX), min(whole.height, _LONGEST_SIDE_PX))
        whole = whole.resize(size, Image.Resampling.BOX)
    grey = np.asarray(whole, dtype=np.uint8)
    perceptual_hash, brightness = hash_image(grey)
    return ImageFacts(
        format=facts.format,
        width_px=facts.width_px,
        height_px=facts.height_px,
        mode=facts.mode,
        orientation=_orientation(image.getexif),
        brightness=brightness,
        is_blank=is_flat and _is_of_one_colour(image),
        perceptual_hash=NO_HASH if is_flat else perceptual_hash,
        grey=None if is_flat else grey,
    )


def _is_of_one_colour(image: Image.Image) -> bool:
    """Returns whether an image of one grey level has one colour, too."""
    if image.mode.startswith(("1", "L", "I", "F")) and image.mode != "LAB":
        return True
    ranges = cast("tuple[tuple[int, int], ...]", image.convert("RGB").getextrema())
    return all(high - low <= _BLANK_COLOURS_RANGE for low, high in ranges)


def _mode(image: Image.Image, encoded: bytes) -> str:
    """Returns Pillow's mode, and the depth that it does not tell of."""
    is_deep = image.format == "PNG" and encoded[_PNG_DEPTH_AT] == 16
    return f"{image.mode};16" if is_deep and not image.mode.startswith("I") else image.mode


def _sound_jpeg(encoded: bytes, *, detailed: bool) -> ImageFacts | None:
    """Returns the facts of a JPEG without any fault; None where Pillow has to say what it is."""
    head = _jpeg_head(encoded)
    if head is None:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        mode = _MODES.get(colours)
        if mode is None or width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
            return None
        has_exif = _EXIF_HEAD in head
        orientation = _orientation(lambda: _exif(head)) if has_exif else 1
        fewest = _LONGER_SIDE_PX if detailed or orientation != 1 else _LONGER_SIDE_OF_HASH_PX
        shorter, longer = sorted((width, height))
        scale = next(
            (s for s in _SCALES if longer >= s * fewest and shorter >= s * _SHORTER_SIDE_PX), 1
        )
        grey = simplejpeg.decode_jpeg(
            encoded,
            colorspace="GRAY",
            min_height=-(-height // scale),
            min_width=-(-width // scale),
        )[:, :, 0]
    except ValueError:
        return None
    if int(grey.max()) - int(grey.min()) <= _SURELY_NOT_BLANK:
        return None
    perceptual_hash, brightness = hash_image(grey)
    return ImageFacts(
        format="jpeg",
        width_px=width,
        height_px=height,
        mode=mode,
        orientation=orientation,
        brightness=brightness,
        perceptual_hash=perceptual_hash,
        grey=grey,
    )


def _jpeg_head(encoded: bytes) -> bytes | None:
    """Returns what lies before a JPEG's first scan; None where it is of no kind that is known."""
    position, colours = 2, b""
    for _ in range(_USUAL_SEGMENTS):
        marker = encoded[position + 1 : position + 2]
        if encoded[position : position + 1] != b"\xff" or marker in _MARKERS_WITHOUT_LENGTH:
            return None
        if marker == b"\xda":
            # With all its colours in the first scan an image has no other.
            is_whole = encoded[position + 4 : position + 5] == colours
            is_known = colours and (is_whole or jpeg_excess(encoded) is None)
            return encoded[:position] if is_known else None
        if marker in _FRAMES:
            if marker not in _KNOWN_FRAMES or encoded[position + 4 : position + 5] != b"\x08":
                return None
            is_progressive = marker == b"\xc2"
            colours = b"several scans" if is_progressive else encoded[position + 9 : position + 10]
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return None


def _exif(head: bytes) -> Image.Exif:
    """Returns the EXIF data in front of a JPEG's first scan."""
    exif = Image.Exif()
    exif.load(head[head.index(_EXIF_HEAD) :])
    return exif


def _grey(image: Image.Image) -> Image.Image:
    """Returns the image with 8 bits of grey."""
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, dtype=np.float64)
        return Image.fromarray((np.clip(levels, 0, 65535) / 257).astype(np.uint8))
    if image.mode in ("CMYK", "LAB", "HSV"):
        return image.convert("RGB").convert("L")
    return image.convert("L")


def _orientation(read_exif: Callable[[], Image.Exif]) -> int:
    try:
        orientation = read_exif().get(_ORIENTATION_TAG, 1)
    except (*_DAMAGED, TypeError, KeyError):
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def jpeg_excess(encoded: bytes) -> Damage | None:
    """Returns what would make decoding a small JPEG take minutes, or gigabytes.

    Each scan is as slow as a whole image, and each segment is kept. Only a JPEG that is progressive,
    or that has not all its colours in the first scan, may have more than one.
    """
    is_progressive = False
    for segments, found in enumerate(_segments(encoded)):
        if segments >= _MOST_SEGMENTS:
            return "too_large", f"more than {_MOST_SEGMENTS:,} segments before the image's data"
        is_progressive |= found[1] == b"\xc2"
        if found[1] == b"\xda":
            colours = encoded[found.end() + 2 : found.end() + 3]
            is_whole = colours >= b"\3" and not is_progressive
            if not is_whole and encoded.count(b"\xff\xda", found.start()) > MOST_SCANS:
                return "too_large", f"more than {MOST_SCANS} scans"
    return None


def jpeg_damage(encoded: bytes) -> Damage | None:
    """Returns what TensorFlow refuses in a JPEG although viewers show it: a missing end."""
    for found in _segments(encoded):
        if found[1] == b"\xda" and encoded.find(b"\xff\xd9", found.end()) != -1:
            return None
    return "truncated", "no end-of-image marker behind the image's data"


def _segments(encoded: bytes) -> Iterator[re.Match[bytes]]:
    """Yields the markers of a JPEG up to that of its first scan."""
    position = 2
    while found := _MARKER.search(encoded, position):
        yield found
        if found[1] == b"\xda":
            return
        position = found.end() + int.from_bytes(encoded[found.end() : found.end() + 2], "big")


def png_damage(encoded: bytes) -> Damage | None:
    """Returns what TensorFlow refuses in a PNG although viewers show it: a missing or damaged chunk."""
    position = 8
    while position + 12 <= len(encoded):
        length = int.from_bytes(encoded[position : position + 4], "big")
        name = encoded[position + 4 : position + 8]
        end = position + 8 + length
        stored = int.from_bytes(encoded[end : end + 4], "big")
        is_critical = name[:1].isupper()
        if is_critical and stored != zlib.crc32(encoded[position + 4 : end]):
            return "undecodable", f"chunk {name.decode('latin-1')} has a wrong checksum"
        if name == b"IEND":
            return None
        position = end + 4
    return "truncated", "no whole IEND chunk"


def bmp_damage(encoded: bytes) -> Damage | None:
    """Returns what TensorFlow refuses in a BMP, or decodes wrongly: of 8 bits it takes all for grey.

    Source: tensorflow/core/kernels/image/decode_image_op.cc, DecodeBmpV2.
    """
    pixels_at, header, width, height, depth = struct.unpack_from("<Iiii2xH", encoded, 10)
    if depth not in _BMP_DEPTHS:
        return "unsupported", f"BMP of {depth} bits a pixel"
    if depth == 8 and encoded[14 + header : pixels_at] != _GREY_PALETTE:
        return "unsupported", "BMP with a palette"
    expected = pixels_at + (depth // 8 * width + 3) // 4 * 4 * abs(height)
    if len(encoded) != expected:
        kind: DecodeProblem = "truncated" if len(encoded) < expected else "undecodable"
        return kind, f"{len(encoded):,} bytes, its header says {expected:,}"
    return None


_DAMAGE: Mapping[str, Callable[[bytes], Damage | None]] = {
    "jpeg": jpeg_damage,
    "png": png_damage,
    "bmp": bmp_damage,
}


def image_faults(
    facts: ImageFacts, *, declared_format: str, declared_size_px: tuple[int, int] | None
) -> Iterator[Fault]:
    """Yields what is wrong with an image, and with what its record says about it.

    Args:
        facts: As `look_at_image` returns them.
        declared_format: image/format; empty when the record has none.
        declared_size_px: (width, height) as the record has it; None when it has none.
    """
    if facts.problem is not None:
        yield _problem_fault(facts)
    real = (facts.width_px, facts.height_px)
    if facts.width_px and declared_size_px is not None and declared_size_px != real:
        turned = declared_size_px == (facts.height_px, facts.width_px)
        yield Fault(
            code="image-size-mismatch",
            seen=f"declared {declared_size_px[0]} x {declared_size_px[1]} (width x height)"
            + (", the image's sides swapped" if turned else ""),
            expected=f"{facts.width_px} x {facts.height_px}, as decoded",
        )
    if facts.problem is not None:
        return
    known = _DECLARED.get(declared_format.lower())
    if declared_format and known != facts.format:
        yield Fault(
            code="image-format-mismatch",
            seen=f'declared "{declared_format}"',
            expected=facts.format,
        )
    if facts.orientation != 1:
        yield Fault(
            code="image-exif-rotated",
            seen=f"orientation {facts.orientation}",
            expected="1, or none",
        )
    size = f"{facts.width_px} x {facts.height_px} pixels"
    shorter, longer = sorted((facts.width_px, facts.height_px))
    if longer > STRIP_RATIO * shorter:
        yield Fault(
            code="image-extreme-shape", seen=size, expected=f"sides within 1 : {STRIP_RATIO}"
        )
    elif shorter < SMALL_SIDE_PX:
        yield Fault(
            code="image-small", seen=size, expected=f"at least {SMALL_SIDE_PX} pixels a side"
        )
    if facts.is_blank:
        yield Fault(
            code="image-blank",
            seen=f"grey level {facts.brightness or 0:.0f} all over",
            expected="an image of something",
        )
    if facts.mode != _USUAL_MODE:
        yield Fault(code="image-mode-unusual", seen=f"mode {facts.mode}", expected="RGB, 8 bits")


def _problem_fault(facts: ImageFacts) -> Fault:
    if facts.problem == "unsupported":
        return Fault(
            code="image-format-unsupported", seen=facts.detail, expected="JPEG, PNG or BMP"
        )
    if facts.problem == "truncated":
        return Fault(code="image-truncated", seen=facts.detail, expected="a whole image")
    if facts.problem == "too_large":
        return Fault(
            code="image-too-large",
            seen=facts.detail,
            expected=f"at most {Image.MAX_IMAGE_PIXELS or 0:,} pixels and {MOST_SCANS} scans",
        )
    return Fault(code="image-undecodable", seen=facts.detail, expected="a whole JPEG or PNG")


def _with_problem(facts: ImageFacts, problem: DecodeProblem, detail: str) -> ImageFacts:
    return ImageFacts(
        format=facts.format,
        width_px=facts.width_px,
        height_px=facts.height_px,
        mode=facts.mode,
        problem=problem,
        detail=detail,
    )


def _head(encoded: bytes) -> str:
    if not encoded:
        return "no bytes"
    return f"{len(encoded):,} bytes that begin with {encoded[:4].hex(' ')}"
