"""kfdet's reading of records beside TensorFlow's own."""

from __future__ import annotations

import io
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from dataset_cases import encoded, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.example import ExampleError, parse_example, serialise_example
from kfdet.core.tfrecord import Frame, FrameFault, encode_record
from kfdet.core.validation.images import look_at_image
from kfdet.storage.records import compression_of, scan_records

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

NAMES = st.sampled_from(["a", "b", "image/encoded", "é"])
VALUES = st.one_of(
    st.lists(st.binary(max_size=12), max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(lambda v: np.array(v, np.int64)),
    st.lists(st.floats(width=32), max_size=4).map(lambda v: np.array(v, np.float32)),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_examples_are_read_as_tensorflow_reads_them(features: dict):
    import tensorflow as tf

    payload = serialise_example(features)
    theirs = tf.train.Example.FromString(payload).features.feature
    ours = parse_example(payload)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        kind = theirs[name].WhichOneof("kind")
        expected = getattr(theirs[name], kind).value
        if kind == "bytes_list":
            assert values == list(expected)
        else:
            np.testing.assert_array_equal(values, np.array(expected, dtype=values.dtype))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_examples_that_tensorflow_wrote_are_read(features: dict):
    import tensorflow as tf

    example = tf.train.Example()
    example.ParseFromString(serialise_example(features))
    again = parse_example(example.SerializeToString())
    assert serialise_example(again) == serialise_example(features)


def test_frames_are_those_of_tensorflows_writer(tmp_path):
    import tensorflow as tf

    payloads = [b"", b"abc", bytes(1000)]
    path = tmp_path / "x.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in payloads:
            writer.write(payload)
    assert path.read_bytes() == b"".join(map(encode_record, payloads))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.sampled_from([("", "none"), ("GZIP", "gzip"), ("ZLIB", "zlib")]),
)
def test_files_that_tensorflow_wrote_are_read_as_tensorflow_reads_them(payloads, compression):
    import tensorflow as tf

    theirs, ours = compression
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.tfrecord")
        with tf.io.TFRecordWriter(str(path), options=theirs) as writer:
            for payload in payloads:
                writer.write(payload)
        read = [record.numpy() for record in tf.data.TFRecordDataset(str(path), theirs)]
        items = list(scan_records(path))
        assert compression_of(path) == (ours if path.stat().st_size else "none")
    assert [item.payload for item in items if isinstance(item, Frame)] == read == payloads
    assert len(items) == len(payloads)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.data())
def test_up_to_the_first_damage_frames_are_those_that_tensorflow_reads(payloads, data):
    import tensorflow as tf

    whole = bytearray(b"".join(map(encode_record, payloads)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    read: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.tfrecord")
        path.write_bytes(whole)
        with pytest.raises((tf.errors.DataLossError, tf.errors.InvalidArgumentError)):
            read.extend(record.numpy() for record in tf.data.TFRecordDataset(str(path)))
        items = list(scan_records(path))
    first = next(n for n, item in enumerate(items) if isinstance(item, FrameFault))
    frames = [item.payload for item in items if isinstance(item, Frame)]
    assert frames[:first] == payloads[:first]
    assert read == payloads[: len(read)]
    assert len(read) <= len(frames), "nothing that TensorFlow reads is lost"


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=3), st.data())
def test_bytes_are_an_example_exactly_where_tensorflow_takes_them_for_one(features, data):
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    payload = bytearray(serialise_example(features))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(payload)))
        payload[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        theirs = tf.train.Example.FromString(bytes(payload)).features.feature
    except DecodeError:
        theirs = None
    try:
        ours = parse_example(bytes(payload))
    except ExampleError:
        ours = None
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        # A feature of no kind is missing for TensorFlow's parser, too.
        assert ours.keys() == {name for name in theirs if theirs[name].WhichOneof("kind")}
        for name, values in ours.items():
            expected = getattr(theirs[name], theirs[name].WhichOneof("kind")).value
            if isinstance(values, list):
                assert values == list(expected)
            else:
                np.testing.assert_array_equal(values, np.array(expected, dtype=values.dtype))


def decodes(image: bytes) -> bool:
    import tensorflow as tf

    try:
        tf.io.decode_image(image, channels=3).shape.assert_has_rank(3)
    except (tf.errors.InvalidArgumentError, ValueError):
        return False
    return True


JPEG = encoded(noise(40, 30), quality=80)
PROGRESSIVE = encoded(noise(40, 30), progressive=True)
PNG = encoded(noise(20, 10), "PNG")


@pytest.mark.parametrize("whole", [JPEG, PROGRESSIVE, PNG], ids=["jpeg", "progressive", "png"])
def test_every_truncation_that_tensorflow_refuses_is_found(whole: bytes):
    for lost in (*range(24), len(whole) // 2, len(whole) - 20, len(whole) - 1):
        cut = whole[: len(whole) - lost]
        if not decodes(cut):
            assert look_at_image(cut).problem is not None, f"{lost} bytes lost"
    assert decodes(whole)
    assert look_at_image(whole).problem is None


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP", "PNG", "JPEG"])
def test_formats_that_tensorflow_does_not_decode_to_an_image_are_found(kind: str):
    image = encoded(noise(20, 20), kind)
    assert (look_at_image(image).problem is None) == decodes(image)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_no_damage_that_tensorflow_refuses_goes_unseen(kind: str):
    chance = random.Random(7)
    for seed in range(120):
        damaged = bytearray(encoded(noise(24, 18, seed=seed), kind))
        place = chance.randrange(len(damaged))
        match chance.choice(["change", "cut", "insert", "delete"]):
            case "change":
                damaged[place] ^= chance.randint(1, 255)
            case "cut":
                del damaged[place:]
            case "insert":
                damaged[place:place] = chance.randbytes(chance.randint(1, 9))
            case _:
                del damaged[place : place + chance.randint(1, 9)]
        if not decodes(bytes(damaged)):
            assert look_at_image(bytes(damaged)).problem is not None, f"seed {seed}"


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "I;16", "1", "LA"])
def test_modes_that_tensorflow_decodes_are_no_error(mode: str):
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    stream = io.BytesIO()
    grey = noise(20, 20).convert("L")
    image = (
        grey.point(lambda v: v * 257, "I").convert("I;16")
        if mode == "I;16"
        else noise(20, 20).convert(mode)
    )
    image.save(stream, format=kind)
    assert decodes(stream.getvalue())
    assert look_at_image(stream.getvalue()).problem is None
