"""What a JPEG decoded in part shows is what Pillow shows of the whole."""

from __future__ import annotations

import random

import numpy as np
import pytest
from dataset_cases import encoded, noise
from hostile_cases import jpeg_of_many_scans, png, zeros
from PIL import Image

from kfdet.core.validation import images
from kfdet.core.validation.images import ImageFacts, decoded_image, look_at_image
from kfdet.core.validation.near_copies import MOST_BITS, NO_HASH


def by_pillow(image: bytes, monkeypatch: pytest.MonkeyPatch) -> ImageFacts:
    with monkeypatch.context() as patch:
        patch.setattr(images, "_sound_jpeg", lambda encoded, *, detailed: None)
        return look_at_image(image)


def bits_apart(one: bytes, other: bytes) -> int:
    return int(
        np.unpackbits(
            np.frombuffer(bytes(a ^ b for a, b in zip(one, other, strict=True)), np.uint8)
        ).sum()
    )


@pytest.mark.parametrize("detailed", [True, False])
@pytest.mark.parametrize("size", [(640, 480), (333, 501), (64, 48), (17, 9), (1500, 20)])
@pytest.mark.parametrize("progressive", [True, False])
def test_facts_are_those_of_the_whole_image(monkeypatch, size, progressive, detailed):
    tags = Image.Exif()
    tags[274] = 3
    image = encoded(noise(*size, seed=4), progressive=progressive, exif=tags)
    fast, whole = look_at_image(image, detailed=detailed), by_pillow(image, monkeypatch)
    for name in ("format", "width_px", "height_px", "mode", "orientation", "is_blank", "problem"):
        assert getattr(fast, name) == getattr(whole, name), name
    assert fast.brightness == pytest.approx(whole.brightness, abs=1.0)
    assert bits_apart(fast.perceptual_hash, whole.perceptual_hash) <= MOST_BITS / 3


def test_a_grey_jpeg_is_grey(monkeypatch):
    image = encoded(noise().convert("L"))
    assert look_at_image(image).mode == by_pillow(image, monkeypatch).mode == "L"


def test_the_grey_image_is_as_large_as_is_asked_for_and_larger_where_exif_rotates():
    tags = Image.Exif()
    tags[274] = 8
    plain, rotated = encoded(noise(640, 480)), encoded(noise(640, 480), exif=tags)
    shapes = [
        facts.grey.shape
        for facts in (
            look_at_image(plain),
            look_at_image(plain, detailed=False),
            look_at_image(rotated, detailed=False),
        )
        if facts.grey is not None
    ]
    assert shapes == [(120, 160), (60, 80), (120, 160)]


def test_fine_patterns_that_vanish_when_scaled_are_not_blank():
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[::2] = 255
    facts = look_at_image(encoded(Image.fromarray(stripes), quality=95), detailed=False)
    assert not facts.is_blank
    assert look_at_image(encoded(Image.new("RGB", (640, 480), "grey")), detailed=False).is_blank


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    # What Pillow converts to a palette is dithered.
    return image.quantize() if mode == "P" else image.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_one_colour_is_blank_in_every_mode(mode):
    image = Image.new("RGB", (64, 48), "black" if mode == "1" else (90, 120, 30))
    facts = look_at_image(encoded(in_mode(image, mode), "JPEG" if mode == "CMYK" else "PNG"))
    assert facts.is_blank


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA", "CMYK"])
def test_two_colours_of_one_brightness_are_not_blank_and_have_no_hash(mode):
    image = Image.new("RGB", (64, 48), (255, 0, 0))
    image.paste((0, 129, 0), (16, 16, 48, 48))
    facts = look_at_image(encoded(in_mode(image, mode), "JPEG" if mode == "CMYK" else "PNG"))
    assert not facts.is_blank
    assert facts.perceptual_hash == NO_HASH
    assert facts.grey is None


def test_every_cut_and_every_changed_byte_of_a_head_is_answered_without_a_crash():
    whole = encoded(noise(24, 18))
    for length in range(len(whole)):
        assert look_at_image(whole[:length]).problem is not None, length
    chance = random.Random(3)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= chance.randint(1, 255)
        look_at_image(bytes(damaged))


def test_frames_that_the_trainer_can_not_decode_are_left_to_pillow():
    whole = encoded(noise(24, 18))
    place = whole.index(b"\xff\xc0")
    arithmetic = whole[: place + 1] + b"\xc9" + whole[place + 2 :]
    assert images._sound_jpeg(whole, detailed=True) is not None
    assert images._sound_jpeg(arithmetic, detailed=True) is None


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (lambda: png(60_000, 60_000, zeros(1)), "60000 x 60000|3600000000 pixels"),
        (lambda: png(13_000, 13_000, zeros(162)), "13,000 x 13,000 pixels"),
        (lambda: jpeg_of_many_scans(2_000), "more than 100 scans"),
        (lambda: b"rubbish", "7 bytes that begin with"),
        (lambda: encoded(noise())[:300], "Truncated"),
        # Pillow would hand it to Ghostscript.
        (lambda: encoded(noise(), "EPS"), "bytes that begin with 25 21 50 53"),
    ],
    ids=["60,000 x 60,000", "bomb", "scans", "rubbish", "cut", "PostScript"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_can_take_minutes_or_gigabytes_is_not_shown(image, reason):
    with pytest.raises(ValueError, match=reason):
        decoded_image(image())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_an_image_is_shown_whatever_its_format(kind):
    assert decoded_image(encoded(noise(), kind)).size == (64, 48)


def test_a_large_jpeg_is_decoded_no_larger_than_it_is_shown():
    large = encoded(noise(1280, 960))
    assert decoded_image(large).size == (1280, 960)
    assert decoded_image(large, width_px=320).size == (320, 240)
    assert decoded_image(large, width_px=300).size == (320, 240)
