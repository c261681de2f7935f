"""A tiny detector on a tiny data set, trained once for all tests that need TensorFlow."""

from __future__ import annotations

import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kfdet.progress import Progress
from kfdet.schema.dataset import Manifest
from kfdet.schema.run_config import DatasetConfig, DetectorConfig, TrainingConfig
from kfdet.schema.training import ResolvedExperiment, TrainingSummary
from kfdet.stages import data_synth, render, train, validate
from kfdet.storage.documents import read_document
from kfdet.storage.model_dir import ModelDir

QUIET = Progress("test", quiet=True)

DETECTOR = DetectorConfig.model_validate(
    {
        "input_size": [64, 64],
        "backbone": {"model_id": 10, "depth_multiplier": 0.25},
        "min_level": 3,
        "max_level": 5,
        "fpn_filters": 24,
        "head_convs": 1,
        "head_filters": 24,
        "anchors": {"aspect_ratios": [1.0], "num_scales": 2, "size": 2.0},
        "nms": {"version": "batched", "score_threshold": 0.02},
    }
)
TRAINING = TrainingConfig.model_validate(
    {
        "steps": 60,
        "batch_size": 8,
        "checkpoint_every": 20,
        "learning_rate": {"peak": 0.005, "warmup_steps": 10},
    }
)


class Recorder(Progress):
    """Keeps what a stage says."""

    def __init__(self) -> None:
        super().__init__("test", quiet=True)
        self.notes: list[str] = []
        self.updates: list[tuple[int, dict[str, float]]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def update(self, done: int, *, total: int, unit: str, **figures: float) -> None:
        self.updates.append((done, figures))


@dataclass(frozen=True, kw_only=True)
class Case:
    """Files of a validated data set, a rendered experiment and, maybe, its training."""

    folder: Path

    @property
    def manifest_file(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def experiment_file(self) -> Path:
        return self.folder / "experiment.json"

    @property
    def summary_file(self) -> Path:
        return self.folder / "summary.json"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def manifest(self) -> Manifest:
        return read_document(Manifest, self.manifest_file)

    @property
    def experiment(self) -> ResolvedExperiment:
        return read_document(ResolvedExperiment, self.experiment_file)

    @property
    def summary(self) -> TrainingSummary:
        return read_document(TrainingSummary, self.summary_file)

    @property
    def model_dir(self) -> ModelDir:
        digest = self.experiment.fingerprint()
        return ModelDir.of(str(self.models), experiment_digest=digest)

    def train(self, progress: Progress = QUIET) -> train.TrainResult:
        return train.run(
            experiment=self.experiment_file,
            manifest=self.manifest_file,
            model_root=str(self.models),
            summary=self.summary_file,
            report=self.folder / "train.html",
            progress=progress,
        )


@functools.cache
def data_folder() -> Path:
    """Returns a validated data set of 128 px shapes: 64, 15 and 24 images."""
    folder = Path(tempfile.mkdtemp(prefix="kfdet-test-"))
    data_synth.run(
        out=folder / "data",
        images={"train": 64, "val": 15, "test": 24},
        shards={"train": 2, "val": 1, "test": 3},
        progress=QUIET,
    )
    patterns = {split: f"{folder}/data/{split}-*.tfrecord" for split in ("train", "val", "test")}
    validate.run(
        dataset=DatasetConfig.model_validate(
            {"label_map": str(folder / "data" / "label_map.pbtxt"), **patterns}
        ),
        manifest=folder / "manifest.json",
        statistics=folder / "statistics.json",
        findings=folder / "findings.json",
        report=folder / "validate.html",
        progress=QUIET,
    )
    return folder


def rendered(folder: Path, training: TrainingConfig = TRAINING) -> Case:
    """Renders an experiment for the shared data into a folder."""
    shutil.copy(data_folder() / "manifest.json", folder / "manifest.json")
    render.run(
        detector=DETECTOR,
        training=training,
        manifest=folder / "manifest.json",
        statistics=data_folder() / "statistics.json",
        experiment=folder / "experiment.json",
        experiment_yaml=folder / "experiment.yaml",
        report=folder / "render.html",
        progress=QUIET,
    )
    return Case(folder=folder)


@functools.cache
def trained() -> Case:
    """Returns the one training that tests share; they must not change it."""
    case = rendered(Path(tempfile.mkdtemp(prefix="kfdet-test-")))
    case.train()
    return case


def copy_of_trained(folder: Path) -> Case:
    """Returns a copy that a test may damage: the summary is gone, so training would go on."""
    case = trained()
    shutil.copytree(case.folder, folder, dirs_exist_ok=True)
    copied = Case(folder=folder)
    (copied.model_dir.path / "training.json").unlink()
    return copied
