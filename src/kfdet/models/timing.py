"""Measuring a few steps of a training on this machine, in a process of its own. Imports no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kfdet.errors import TrainingError
from kfdet.models.parity_files import write_questions
from kfdet.schema.base import parse_json
from kfdet.schema.dataset import Manifest
from kfdet.schema.feasibility import Measurement
from kfdet.schema.training import ResolvedExperiment

_PATIENCE_S = 600


def measure_training(
    experiment: ResolvedExperiment, manifest: Manifest, *, images: Sequence[bytes]
) -> Measurement:
    """Trains a few steps and detects on a few images; keeps nothing.

    Args:
        experiment: The resolved experiment.
        manifest: Of the validated data.
        images: Encoded, a few of those that inference will see.

    Raises:
        TrainingError: The training does not even begin; says TensorFlow's last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = ("experiment.json", "manifest.json", "images.npz", "measurement.json")
        asked, data, seen, answer = (Path(folder, name) for name in names)
        asked.write_text(experiment.pretty_json())
        data.write_text(manifest.pretty_json())
        write_questions(seen, encoded=images, examples=())
        command = [
            sys.executable, "-m", "kfdet.models.timing_worker", str(asked), str(data), str(seen),
            str(answer), str(time.monotonic()),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S
            )
        except subprocess.TimeoutExpired as failure:
            raise TrainingError(
                f"a few training steps took more than {_PATIENCE_S} s",
                remedy="--no-timing leaves the measurement out.",
            ) from failure
        if done.returncode or not answer.is_file():
            last = "\n".join(done.stderr.strip().splitlines()[-3:]) or "it said nothing"
            raise TrainingError(
                f"the first training steps failed (exit code {done.returncode}):\n{last}\n",
                remedy="A training would end here too. --no-timing leaves the measurement out.",
            )
        return parse_json(Measurement, answer.read_text(), where=str(answer))
