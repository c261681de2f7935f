"""From a few measured steps to what the whole run will take."""

from __future__ import annotations

from kfdet.schema.dataset import Manifest
from kfdet.schema.feasibility import Estimates, Measurement
from kfdet.schema.training_config import TrainingConfig

# Stages that import TensorFlow and build the model: train, select, evaluate, export.
_STARTS = 4


def estimate(
    measured: Measurement,
    training: TrainingConfig,
    data: Manifest,
    *,
    free_disk_bytes: int | None,
) -> Estimates:
    """Returns time, memory and disk of the whole run on the machine that was measured.

    Args:
        measured: On that machine.
        training: Steps and checkpoints.
        data: How many images val and test have.
        free_disk_bytes: Where the checkpoints will lie; None where that is not known.
    """
    checkpoints = -(-training.steps // training.checkpoint_every)
    training_time_s = training.steps * measured.step_time_s
    selection_time_s = checkpoints * data.val.images * measured.image_time_s
    evaluation_time_s = data.test.images * measured.image_time_s
    return Estimates(
        device=measured.device,
        parameters=measured.parameters,
        measured_steps=measured.measured_steps,
        step_time_s=measured.step_time_s,
        startup_time_s=measured.startup_time_s,
        training_time_s=training_time_s,
        selection_time_s=selection_time_s,
        evaluation_time_s=evaluation_time_s,
        total_time_s=training_time_s
        + selection_time_s
        + evaluation_time_s
        + _STARTS * measured.startup_time_s,
        memory_bytes=measured.memory_bytes,
        device_memory_bytes=measured.device_memory_bytes,
        checkpoints=checkpoints,
        checkpoint_bytes=measured.checkpoint_bytes,
        disk_bytes=checkpoints * measured.checkpoint_bytes,
        free_disk_bytes=free_disk_bytes,
    )
