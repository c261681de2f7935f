"""A tiny detector on a tiny data set, trained once for all tests that need TensorFlow."""

from __future__ import annotations

import atexit
import functools
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfdet.progress import Progress
from kfdet.schema.dataset import Manifest
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DatasetConfig
from kfdet.schema.training import Ledger, ResolvedExperiment, TrainingSummary
from kfdet.schema.training_config import TrainingConfig
from kfdet.stages import data_synth, evaluate, render, select, train, validate
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
        "nms": {"version": "batched", "score_threshold": 0.001},  # Scores vary with the machine.
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

    def train(
        self, progress: Progress = QUIET, *, model_root: str | None = None
    ) -> train.TrainResult:
        return train.run(
            experiment=self.experiment_file,
            manifest=self.manifest_file,
            model_root=model_root or str(self.models),
            summary=self.summary_file,
            report=self.folder / "train.html",
            progress=progress,
        )

    def evaluate(
        self, out: Path, progress: Progress = QUIET, **changes: Any
    ) -> evaluate.EvaluateResult:
        """Evaluates the last checkpoint on the test split; `changes` are to the stage's inputs."""
        ref = self.summary.checkpoints[-1]
        inputs: dict[str, Any] = {
            "experiment": self.experiment_file,
            "manifest": self.manifest_file,
            "checkpoint": ref.uri,
            "checkpoint_digest": ref.digest,
            "split": "test",
            "shard": 0,
            "num_shards": 1,
            "batch_size": 8,
            "out": out,
            "progress": progress,
        }
        return evaluate.run(**{**inputs, **changes})

    def select(
        self, progress: Progress = QUIET, **changes: Any
    ) -> tuple[select.SelectResult, Ledger]:
        """Selects by ap; `changes` are to the stage's inputs."""
        inputs: dict[str, Any] = {
            "experiment": self.experiment_file,
            "manifest": self.manifest_file,
            "summary": self.summary_file,
            "metric": "ap",
            "batch_size": 8,
            "engine": "hotcoco",
            "config": MeasurementConfig(),
            "ledger": self.folder / "ledger.json",
            "report": self.folder / "select.html",
            "progress": progress,
        }
        result = select.run(**{**inputs, **changes})
        return result, read_document(Ledger, self.folder / "ledger.json")


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from detector_cases import Case, Recorder

class Killer(Recorder):
    def update(self, done, **figures):
        if {moment}:
            os.kill(os.getpid(), signal.SIGKILL)

case, killer = Case(folder=Path({folder!r})), Killer()
{call}
"""


def kill_nine(case: Case, call: str, *, moment: str) -> None:
    """Runs a stage in a process that gets a SIGKILL in the middle of its work.

    Args:
        case: What it works on.
        call: Python, with `case` and `killer`, the progress that brings death.
        moment: When, as Python: a condition on `done` and `figures`, as progress tells them.
    """
    program = _KILLED.format(
        tests=str(Path(__file__).parent), folder=str(case.folder), call=call, moment=moment
    )
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr


@functools.cache
def data_folder() -> Path:
    """Returns a validated data set of 128 px shapes: 64, 15 and 24 images."""
    folder = _folder()
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
    case = rendered(_folder())
    case.train()
    return case


def _folder() -> Path:
    """Returns a folder that is gone with this process."""
    folder = Path(tempfile.mkdtemp(prefix="kfdet-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def copy_of_trained(folder: Path) -> Case:
    """Returns a copy that a test may damage: the summary is gone, so training would go on."""
    case = trained()
    shutil.copytree(case.folder, folder, dirs_exist_ok=True)
    copied = Case(folder=folder)
    (copied.model_dir.path / "training.json").unlink()
    return copied
