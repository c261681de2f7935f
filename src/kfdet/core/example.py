"""`tf.train.Example` without TensorFlow.

The message is described in a descriptor pool of its own: TensorFlow registers the same names in the
default pool, and the two must not meet. On the wire the bytes are the same.

Source: tensorflow/core/example/example.proto and feature.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray

Feature = list[bytes] | NDArray[np.int64] | NDArray[np.float32]
FeatureInput = (
    list[bytes] | list[int] | NDArray[np.int64] | NDArray[np.float32] | NDArray[np.float64]
)


class ExampleError(ValueError):
    """The bytes are no tf.train.Example."""


@cache
def _example_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="kfdet/example.proto", package="kfdet.example", syntax="proto3"
    )

    def add(name: str) -> descriptor_pb2.DescriptorProto:
        added = file.message_type.add()
        added.name = name
        return added

    lists = (("BytesList", field.TYPE_BYTES), ("FloatList", field.TYPE_FLOAT))
    for name, kind in (*lists, ("Int64List", field.TYPE_INT64)):
        value = add(name).field.add(name="value", number=1, label=field.LABEL_REPEATED, type=kind)
        if kind != field.TYPE_BYTES:
            value.options.packed = True
    feature = add("Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind_name) in enumerate(
        (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), 1
    ):
        feature.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=f".kfdet.example.{kind_name}",
            oneof_index=0,
        )
    features = add("Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=".kfdet.example.Feature",
    )
    features.field.add(
        name="feature",
        number=1,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name=".kfdet.example.Features.FeatureEntry",
    )
    add("Example").field.add(
        name="features",
        number=1,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=".kfdet.example.Features",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("kfdet.example.Example"))


def parse_example(payload: bytes) -> dict[str, Feature]:
    """Parses a serialised tf.train.Example.

    Args:
        payload: One record.

    Returns:
        Feature name to its values: a list of bytes, int64[N] or float32[N]. A feature whose kind is
        not set is left out: TensorFlow's parser takes it for missing too.

    Raises:
        ExampleError: The bytes are no tf.train.Example.
    """
    try:
        features = _example_class().FromString(payload).features.feature
    except message.DecodeError as failure:
        raise ExampleError("the record is no tf.train.Example") from failure
    parsed: dict[str, Feature] = {}
    for name in features:
        feature = features[name]
        kind = feature.WhichOneof("kind")
        # A slice is a list, which numpy reads far faster than protobuf's own sequence.
        if kind == "bytes_list":
            parsed[name] = feature.bytes_list.value[:]
        elif kind == "int64_list":
            parsed[name] = np.array(feature.int64_list.value[:], dtype=np.int64)
        elif kind == "float_list":
            parsed[name] = np.array(feature.float_list.value[:], dtype=np.float32)
    return parsed


def serialise_example(features: Mapping[str, FeatureInput]) -> bytes:
    """Serialises features so that equal features give equal bytes.

    Args:
        features: Feature name to values: a list of bytes, a list or array of integers, or an array
            of floats. An empty list is written as an empty list of bytes.
    """
    example = _example_class()()
    for name, values in features.items():
        feature = example.features.feature[name]
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            feature.float_list.SetInParent()
            feature.float_list.value.extend(values.astype(np.float32).tolist())
        elif isinstance(values, np.ndarray):
            feature.int64_list.SetInParent()
            feature.int64_list.value.extend(values.tolist())
        elif values and isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.SetInParent()
            feature.bytes_list.value.extend(values)
    return bytes(example.SerializeToString(deterministic=True))
