"""The training loop: Model Garden's task and trainer, with checkpoints that survive anything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
import tf_keras
from official.core import base_trainer, train_utils

from kfdet.core.training_file import TrainingFile
from kfdet.errors import ConfigError, KfdetError, TrainingError
from kfdet.models.curve import CURVE_EVERY, PointInTheMaking
from kfdet.models.devices import Device, choose_device, set_precision
from kfdet.models.disk import explain_full_disk
from kfdet.models.experiment import build_config, weights_of
from kfdet.models.interruption import StopRequest, TrainingInterrupted, stop_requests
from kfdet.models.task import DetectionTask
from kfdet.progress import Progress
from kfdet.schema.training import CurvePoint, ResolvedExperiment, TrainingJournal

_SECONDS_BETWEEN_LOOKS = 0.5


class CheckpointStore(Protocol):
    """Where checkpoints and curve are kept."""

    @property
    def path(self) -> Path: ...
    @property
    def location(self) -> str: ...
    @property
    def events(self) -> Path: ...
    def steps(self) -> tuple[int, ...]: ...
    def prefix(self, step: int) -> str: ...
    def commit(self, step: int, write: Callable[[str], None]) -> None: ...
    def check_uploads(self) -> None: ...
    def wait_for_uploads(self) -> None: ...
    def set_aside(self, step: int) -> str: ...
    def write_journal(self, journal: TrainingJournal) -> None: ...


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """Attributes:
    parameters: Number of the model's weights.
    resumed_from: Step that this attempt began at; 0 for a fresh start.
    """

    journal: TrainingJournal
    device: str
    parameters: int
    resumed_from: int


def train(
    experiment: ResolvedExperiment,
    *,
    files: Sequence[TrainingFile],
    store: CheckpointStore,
    journal: TrainingJournal,
    progress: Progress,
    init_checkpoint: str | None = None,
) -> TrainingOutcome:
    """Trains to the last step, from the newest checkpoint that can be read.

    Args:
        experiment: What to train.
        files: Shards of the training split.
        store: Keeps the checkpoints: one every `checkpoint_every` steps and the last.
        journal: What earlier attempts measured.
        progress: Told of step, loss and speed.
        init_checkpoint: Where `training.init_checkpoint` lies on this machine.

    Raises:
        ConfigError: A GPU is wanted where there is none, or the initial checkpoint does not fit.
        StorageError: A checkpoint can't be written, or not be uploaded.
        TrainingError: The loss is no longer a number, TensorFlow gave up, or another process has
            begun to train in the same place of a bucket.
        TrainingInterrupted: Ctrl-C or SIGTERM.
    """
    settings = experiment.training
    device = choose_device(settings.device)
    progress.note(f"training on {device.description}")
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    start = _newest_readable(store, progress)
    # A resume continues with other images than the first attempt began with.
    seed = (settings.seed + start) % 2**31
    tf_keras.utils.set_random_seed(seed)
    set_precision(settings.precision)
    trainer = build_trainer(
        experiment, files=files, seed=seed, device=device, init_checkpoint=init_checkpoint
    )
    _load(trainer, experiment, store=store, start=start)
    loop = _Loop(
        experiment=experiment,
        trainer=trainer,
        store=store,
        progress=progress,
        step=start,
        curve=[point for point in journal.curve if point.step <= start],
        earlier_s=journal.train_time_s if start else 0.0,
    )
    with _explained(loop), stop_requests() as stop:
        loop.run(stop)
    return TrainingOutcome(
        journal=loop.journal(),
        device=device.description,
        parameters=weights_of(trainer.model),
        resumed_from=start,
    )


def is_readable(prefix: str) -> bool:
    """Whether every tensor of a checkpoint can be read and has its checksum."""
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError):
        return False
    return True


def _newest_readable(store: CheckpointStore, progress: Progress) -> int:
    for step in reversed(store.steps()):
        if is_readable(store.prefix(step)):
            progress.note(f"going on from the checkpoint at step {step:,}")
            return step
        folder = store.set_aside(step)
        progress.note(f"the checkpoint at step {step:,} can't be read; moved it to {folder}")
    return 0


class _Trainer(base_trainer.Trainer):  # type: ignore[misc]
    """Also notes the first step whose loss was no number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken_at = tf.Variable(-1, dtype=tf.int64, trainable=False)

    def train_step(self, iterator: Any) -> None:
        super().train_step(iterator)
        is_number = tf.math.is_finite(self.train_loss.total)
        is_first = tf.logical_and(self.broken_at < 0, tf.logical_not(is_number))
        self.broken_at.assign(tf.where(is_first, self.global_step, self.broken_at))


def build_trainer(
    experiment: ResolvedExperiment,
    *,
    files: Sequence[TrainingFile],
    seed: int,
    device: Device,
    init_checkpoint: str | None = None,
) -> Any:
    """Builds model, optimizer and input of an experiment.

    Args:
        experiment: What to train.
        files: Shards of the training split.
        seed: Of the input's order.
        device: Where the model lies.
        init_checkpoint: Where `training.init_checkpoint` lies on this machine.

    Raises:
        ConfigError: The batch can't be shared evenly by the GPUs.
    """
    batch_size = experiment.training.batch_size
    if batch_size % device.count:
        raise ConfigError(
            f"training.batch_size {batch_size} can't be shared evenly by {device.count} GPUs",
            expected=f"a multiple of {device.count}",
        )
    config = build_config(experiment).replace()
    paths = [file.uri for file in files]
    config.task.train_data.override({"input_path": paths, "seed": seed})
    if init_checkpoint:
        config.task.override({"init_checkpoint": init_checkpoint})
    with device.strategy.scope():
        task = DetectionTask(config.task)
        task.augmentation = experiment.training.augmentation
        task.files = tuple(files)
        model = task.build_model()
        optimizer = train_utils.create_optimizer(task, config)
        return _Trainer(config, task, model, optimizer, train=True, evaluate=False)


def _load(
    trainer: _Trainer, experiment: ResolvedExperiment, *, store: CheckpointStore, start: int
) -> None:
    if start:
        trainer.checkpoint.read(store.prefix(start)).assert_existing_objects_matched()
        return
    if experiment.training.init_checkpoint:
        try:
            trainer.initialize()
        except (tf.errors.OpError, AssertionError, AttributeError, ValueError) as failure:
            reason = str(failure).strip().splitlines()[0] if str(failure).strip() else "not found"
            raise ConfigError(
                f"{experiment.training.init_checkpoint} can't be loaded: {reason}",
                where="training.init_checkpoint",
                expected="a Model Garden checkpoint of the same backbone, decoder and input",
                remedy="Check the path, or leave parts out of training.init_modules.",
            ) from failure


@dataclass(kw_only=True)
class _Loop:
    """The loop's state.

    Attributes:
        earlier_s: Seconds of earlier attempts.
        speed: Steps a second, of late; 0 before it is known.
    """

    experiment: ResolvedExperiment
    trainer: _Trainer
    store: CheckpointStore
    progress: Progress
    step: int
    curve: list[CurvePoint]
    earlier_s: float
    began: float = field(default_factory=time.monotonic)
    speed: float = 0.0

    def run(self, stop: StopRequest) -> None:
        steps = self.experiment.training.steps
        every = self.experiment.training.checkpoint_every
        saved = self.step
        point = PointInTheMaking()
        with (
            self._checkpoints_up(),
            tf.summary.create_file_writer(str(self.store.events)).as_default(),
        ):
            while self.step < steps and stop.received is None:
                # An upload that failed is no reason to train on to the next one.
                self.store.check_uploads()
                size = self._chunk(steps, every)
                point.add(self._advance(size), steps=size)
                if self.step % CURVE_EVERY == 0 or self.step == steps:
                    self._record(point)
                    point = PointInTheMaking()
                if self.step % every == 0 or self.step == steps:
                    self._save()
                    saved = self.step
            if saved < self.step:
                self._save()
        if self.step < steps:
            raise TrainingInterrupted(
                f"stopped at step {self.step:,} of {steps:,}, with a checkpoint in "
                f"{self.store.location}. Run the same command again to go on from there."
            )

    @contextmanager
    def _checkpoints_up(self) -> Iterator[None]:
        """Leaves no checkpoint on its way, unless the process must end at once."""
        try:
            yield
        except Exception:
            try:
                self.store.wait_for_uploads()
            except KfdetError as failure:
                # What went wrong first is what the training ends with.
                self.progress.note(f"the newest checkpoint is lost: {failure}")
            raise
        self.store.wait_for_uploads()

    def journal(self) -> TrainingJournal:
        return TrainingJournal(
            experiment_digest=self.experiment.fingerprint(),
            train_time_s=round(self.earlier_s + time.monotonic() - self.began, 3),
            curve=tuple(self.curve),
        )

    def _chunk(self, steps: int, every: int) -> int:
        """Returns the steps to take before looking up: short, and to the next event at most."""
        calm = max(1, int(self.speed * _SECONDS_BETWEEN_LOOKS))
        to_point = CURVE_EVERY - self.step % CURVE_EVERY
        return min(calm, to_point, every - self.step % every, steps - self.step)

    def _advance(self, size: int) -> dict[str, float]:
        first, began = self.speed == 0, time.monotonic()
        if first:
            self.progress.note("compiling the training step")
        logs = self.trainer.train(tf.constant(size, tf.int32))
        values = {name: float(value) for name, value in logs.items()}
        self.step += size
        self._check(values)
        took = max(time.monotonic() - began, 1e-6)
        if first:
            # The first step compiles: it says nothing about the speed.
            self.speed = 1e-9
        else:
            recent = size / took
            self.speed = recent if self.speed < 1e-6 else 0.8 * self.speed + 0.2 * recent
        values["seconds"] = 0.0 if first else took
        steps = self.experiment.training.steps
        figures = {"loss": values["total_loss"]}
        if self.speed > 1e-6:
            figures["steps_per_s"] = self.speed
            figures["eta_s"] = (steps - self.step) / self.speed
        self.progress.update(self.step, total=steps, unit="steps", **figures)
        return values

    def _check(self, values: dict[str, float]) -> None:
        broken_at = int(self.trainer.broken_at.numpy())
        if broken_at < 0:
            return
        parts = [name for name in ("cls_loss", "box_loss") if not math.isfinite(values[name])]
        names = {"cls_loss": "class loss", "box_loss": "box loss"}
        which = " and ".join(names[part] for part in parts) or "total loss"
        rate = self.experiment.training.learning_rate
        last = (
            f"; it was {self.curve[-1].loss:.4g} at step {self.curve[-1].step}"
            if self.curve
            else ""
        )
        raise TrainingError(
            f"the loss is no longer a number at step {broken_at:,} ({which}{last})",
            where=self.store.location,
            remedy=f"Lower training.learning_rate.peak ({rate.peak:g}) or lengthen warmup_steps "
            f"({rate.warmup_steps}), set training.optimizer.gradient_clip_norm, look for odd boxes "
            "in the report of validate, and train in float32 if precision is mixed. "
            "No checkpoint of these weights was kept.",
        )

    def _record(self, point: PointInTheMaking) -> None:
        finished = point.finish(self.step)
        self.curve.append(finished)
        for name, value in finished.model_dump(exclude={"step"}).items():
            tf.summary.scalar(name, value, step=self.step)
        tf.summary.flush()

    def _save(self) -> None:
        # The journal first: points beyond the newest checkpoint are dropped by a resume.
        self.store.write_journal(self.journal())
        self.store.commit(self.step, self.trainer.checkpoint.write)


@contextmanager
def _explained(loop: _Loop) -> Iterator[None]:
    """Turns TensorFlow's own failures into errors that say what to do."""
    try:
        with explain_full_disk(loop.store.path):
            yield
    except tf.errors.ResourceExhaustedError as failure:
        raise TrainingError(
            f"out of memory at step {loop.step:,}",
            where=loop.store.location,
            remedy="Lower training.batch_size or detector.input_size, or ask for more memory. "
            "A smaller batch is another experiment and starts anew.",
        ) from failure
    except tf.errors.OpError as failure:
        raise TrainingError(
            f"TensorFlow stopped after step {loop.step:,}: {_reason(failure)}",
            where=loop.store.location,
            remedy="If this is about an image or a record, run validate: it names the record. "
            "Else run again: training goes on from the newest checkpoint.",
        ) from failure


def _reason(failure: Any) -> str:
    """Returns the line of TensorFlow's message that says what happened, not where in its graph."""
    lines = [line.strip() for line in failure.message.splitlines()]
    noise = ("Graph execution error", "Detected at node", "<stack traces", "[[", "File ", "node:")
    said = [line for line in lines if line and not line.startswith(noise)]
    return said[-1] if said else type(failure).__name__
