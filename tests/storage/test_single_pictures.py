import io
import os
import signal

import numpy as np
import pytest
from dataset_cases import encoded, noise
from hostile_cases import png, zeros
from PIL import Image

from kfdet.errors import DataError, UsageError
from kfdet.storage.pictures import read_image_file, read_upright_image, write_image


def decode(content):
    """Decodes JPEG only, and applies no EXIF rotation, as TensorFlow does."""
    image = Image.open(io.BytesIO(content))
    if image.format != "JPEG":
        raise ValueError("unknown format")
    return np.asarray(image.convert("RGB"))


def upright(source):
    return read_upright_image(source, decode=decode)


def test_every_form_of_an_image_is_read_alike(tmp_path):
    content = encoded(noise())
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    pixels = decode(content)
    for form in (content, path, str(path), pixels, Image.fromarray(pixels)):
        assert np.array_equal(np.asarray(upright(form)), pixels)


def test_an_image_is_turned_upright_however_it_is_decoded():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "WEBP"):
        lying = encoded(noise(48, 64), kind, exif=exif)
        assert upright(lying).size == (64, 48)
        assert upright(Image.open(io.BytesIO(lying))).size == (64, 48)


def test_what_is_no_image_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(DataError, match=r"notes\.txt"):
        upright(path)
    with pytest.raises(DataError, match=r"missing\.jpg"):
        upright(tmp_path / "missing.jpg")
    with pytest.raises(UsageError, match=r"float32\[4, 4\]"):
        upright(np.zeros((4, 4), np.float32))


def test_a_picture_is_written_in_the_format_of_its_suffix(tmp_path):
    write_image(noise(), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").format == "PNG"
    with pytest.raises(UsageError, match="no image format"):
        write_image(noise(), tmp_path / "a.what")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_bomb_is_named_and_not_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, zeros(1)))
    for read in (upright, read_image_file):
        with pytest.raises(DataError, match=r"bomb\.png: .*3600000000 pixels"):
            read(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    signal.alarm(20)
    with pytest.raises(DataError, match=r"pipe\.png: can't read: it is a pipe"):
        read_image_file(tmp_path / "pipe.png")
    signal.alarm(0)
