"""What `render`, `train` and `select` give."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from kfdet.schema.base import Document, Schema, Sha256
from kfdet.schema.dataset import LabelMap
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.metrics import COCO, CocoSettings, CocoStatistics, MetricName
from kfdet.schema.training_config import TrainingConfig


class ResolvedExperiment(Document):
    """Everything training, inference and export need, and nothing that changes with the machine.

    Attributes:
        experiment: Name of the Model Garden experiment.
        params: Overrides that were laid over it, checked against the experiment factory.
        train_digest: Digest of the training split.
    """

    experiment: str
    detector: DetectorConfig
    training: TrainingConfig
    label_map: LabelMap
    train_digest: Sha256
    train_images: int
    params: dict[str, Any]


class CheckpointRef(Schema):
    """Attributes:
    uri: Prefix of the checkpoint's files, without `.index`.
    digest: SHA-256 over the names and bytes of its files.
    """

    step: Annotated[int, Field(ge=0)]
    uri: str
    digest: Sha256


class CurvePoint(Schema):
    step: int
    loss: float
    class_loss: float
    box_loss: float
    learning_rate: float
    steps_per_s: float


class TrainingJournal(Document):
    """What a training has measured so far; written with every checkpoint, so that a resume goes on.

    Attributes:
        train_time_s: Seconds of the training loop, all attempts together.
        curve: Points up to the newest checkpoint.
    """

    experiment_digest: Sha256
    train_time_s: float
    curve: tuple[CurvePoint, ...]


class TrainingSummary(Document):
    """Attributes:
    model_dir: Checkpoints and TensorBoard events.
    resumed_from: Step that this attempt began at; 0 for a fresh start.
    train_time_s: Seconds of the training loop, all attempts together.
    """

    model_dir: str
    experiment_digest: Sha256
    steps: int
    images_per_step: int
    parameters: int
    device: str
    resumed_from: int
    train_time_s: float
    curve: tuple[CurvePoint, ...]
    checkpoints: tuple[CheckpointRef, ...]


class LedgerEntry(Schema):
    checkpoint: CheckpointRef
    metrics: CocoStatistics
    evaluation_time_s: float


class SelectedCheckpoint(Document):
    """The checkpoint that is evaluated, gated and exported."""

    checkpoint: CheckpointRef


class Ledger(Document):
    """One entry for every checkpoint, in ascending order of step.

    Attributes:
        split_digest: Digest of the val split that they were measured on.
        settings: What they were measured with.
        best_step: Step of the best checkpoint; the earliest of equals.
    """

    split_digest: Sha256
    settings: CocoSettings = COCO
    metric: MetricName
    entries: tuple[LedgerEntry, ...] = Field(min_length=1)
    best_step: int

    @property
    def best(self) -> LedgerEntry:
        return next(e for e in self.entries if e.checkpoint.step == self.best_step)
