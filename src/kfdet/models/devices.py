"""Which device works, with which numbers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf
import tf_keras

from kfdet.cores import usable_cores
from kfdet.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Device:
    """Attributes:
    kind: What computes.
    count: Number of GPUs, or 1.
    description: For people: `CPU, 2 cores`, `GPU NVIDIA L4`.
    strategy: The tf.distribute strategy that covers it; for one device the default one, since
        the iterators of OneDeviceStrategy block for seconds when they are destroyed.
    """

    kind: Literal["cpu", "gpu"]
    count: int
    description: str
    strategy: Any


def choose_device(wanted: Literal["auto", "cpu", "gpu"]) -> Device:
    """Chooses the device; call it before anything else uses TensorFlow.

    Args:
        wanted: auto takes the GPUs where there are any.

    Raises:
        ConfigError: A GPU is wanted and TensorFlow sees none.
    """
    if wanted == "cpu":
        # Refused once TensorFlow is at work.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    gpus = [] if wanted == "cpu" else tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise ConfigError(
            "training.device is gpu, and TensorFlow sees no GPU",
            expected="a CUDA device that TensorFlow can open",
            remedy="Ask the cluster for one with resources.train.gpus, check the driver with "
            "nvidia-smi, or set training.device to auto or cpu.",
        )
    if not gpus:
        return Device(
            kind="cpu",
            count=1,
            description=f"CPU, {usable_cores()} cores",
            strategy=tf.distribute.get_strategy(),
        )
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "of unknown name")
    several = f"{len(gpus)} x " if len(gpus) > 1 else ""
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
    return Device(
        kind="gpu", count=len(gpus), description=f"GPU {several}{name}", strategy=strategy
    )


def set_precision(policy: Literal["float32", "mixed_bfloat16", "mixed_float16"]) -> None:
    """Sets the numeric policy of the models that are built from now on."""
    tf_keras.mixed_precision.set_global_policy(policy)
