"""`python -m kfdet.models.timing_worker EXPERIMENT MANIFEST IMAGES ANSWER BEGAN`: times a few steps.

A process of its own: its memory is that of a training and of nothing else, and it keeps no checkpoint.
BEGAN is the monotonic clock, which processes share, when it was started.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from kfdet.core.training_file import TrainingFile
from kfdet.models.detector import Detector
from kfdet.models.devices import Device, choose_device, set_precision
from kfdet.models.experiment import weights_of
from kfdet.models.parity_files import read_questions
from kfdet.models.training import build_trainer
from kfdet.schema.base import parse_json
from kfdet.schema.dataset import Manifest, SplitManifest
from kfdet.schema.feasibility import Measurement
from kfdet.schema.training import ResolvedExperiment

_LEAST_STEPS, _MOST_STEPS = 3, 40
_SECONDS = 8.0


def main(experiment: str, manifest: str, images: str, answer: str, began: str) -> None:
    """Trains a few steps, detects on a few images, and writes what that took since `began`."""
    resolved = parse_json(ResolvedExperiment, Path(experiment).read_text(), where=experiment)
    data = parse_json(Manifest, Path(manifest).read_text(), where=manifest)
    settings = resolved.training
    device = choose_device(settings.device)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf_keras.utils.set_random_seed(settings.seed % 2**31)
    set_precision(settings.precision)
    trainer = build_trainer(
        resolved, files=_files(data.train), seed=settings.seed % 2**31, device=device
    )
    trainer.train(tf.constant(1, tf.int32))
    startup_time_s = time.monotonic() - float(began)
    steps, step_time_s = _timed_steps(trainer)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    device_memory = _device_memory(device)
    measured = Measurement(
        device=device.description,
        parameters=weights_of(trainer.model),
        startup_time_s=startup_time_s,
        measured_steps=steps,
        step_time_s=step_time_s,
        memory_bytes=memory,
        device_memory_bytes=device_memory,
        checkpoint_bytes=_checkpoint_bytes(trainer),
        image_time_s=_image_time_s(resolved, read_questions(Path(images))[0]),
    )
    Path(answer).write_text(measured.pretty_json())


def _files(train: SplitManifest) -> list[TrainingFile]:
    """Returns shards to take a few steps on: those without records in quarantine, where there are."""
    whole = [shard for shard in train.shards if not shard.excluded] or train.shards
    return [TrainingFile(uri=shard.uri, compression=shard.compression) for shard in whole]


def _timed_steps(trainer: Any) -> tuple[int, float]:
    """Returns how many steps were timed, and the mean of one."""
    # What the first step filled, the shuffle buffer for one, makes the next ones look fast.
    trainer.train(tf.constant(2, tf.int32))
    began, steps = time.monotonic(), 0
    while steps < _MOST_STEPS and (steps < _LEAST_STEPS or time.monotonic() - began < _SECONDS):
        trainer.train(tf.constant(_LEAST_STEPS, tf.int32))
        steps += _LEAST_STEPS
    return steps, (time.monotonic() - began) / steps


def _checkpoint_bytes(trainer: Any) -> int:
    kept = trainer.optimizer.variables
    # A method of the older optimizers, an attribute of the newer ones.
    variables = [*trainer.model.variables, *(kept() if callable(kept) else kept)]
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


def _device_memory(device: Device) -> int | None:
    if device.kind == "cpu":
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def _image_time_s(resolved: ResolvedExperiment, images: list[bytes]) -> float:
    """Returns the time of inference for one image, of two batches after one that compiles."""
    detect = Detector(resolved)
    half = max(1, len(images) // 2)
    detect(images[:half])
    began = time.monotonic()
    detect(images[:half])
    detect(images[-half:])
    return (time.monotonic() - began) / (2 * half)


if __name__ == "__main__":
    main(*sys.argv[1:])
