"""Writing a detector as a SavedModel, and asking it in a process that has never seen the checkpoint."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from kfdet.core.detected import Detected
from kfdet.core.parity import compare
from kfdet.errors import ParityError
from kfdet.models.detector import Detector
from kfdet.models.disk import explain_full_disk
from kfdet.models.parity_files import read_answers, write_questions
from kfdet.models.saved_model import SIGNATURES
from kfdet.schema.detector_config import NmsConfig
from kfdet.schema.export import ParityProof
from kfdet.schema.run_config import ParityConfig

_PATIENCE_S = 900


@dataclass(frozen=True, kw_only=True)
class Question:
    """One image in the forms that the signatures take.

    Attributes:
        encoded: The image's file.
        example: A serialised tf.train.Example that holds it.
    """

    encoded: bytes
    example: bytes


def write_saved_model(detector: Detector, folder: Path) -> None:
    """Writes the detector with its signatures; the folder must not hold one already."""
    servable = tf.Module()
    # Weights and signatures, and nothing of Keras: the export needs TensorFlow alone.
    servable.weights = detector.weights
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    with explain_full_disk(folder):
        tf.saved_model.save(
            servable, str(folder), signatures=detector.signatures(), options=options
        )


def prove_parity(
    detector: Detector,
    saved_model: Path,
    questions: Sequence[Question],
    *,
    tolerance: ParityConfig,
    nms: NmsConfig,
) -> ParityProof:
    """Compares the checkpoint with every signature of the reloaded export, on the same images.

    Returns:
        The proof over all signatures together.

    Raises:
        ParityError: The export can't be loaded in a fresh process.
    """
    reference = [detector([question.encoded])[0] for question in questions]
    answers = answers_of_export(saved_model, questions)
    proofs = [
        compare(reference, answers.get(name, []), tolerance=tolerance, nms=nms)
        for name in SIGNATURES
    ]
    return ParityProof(
        images=len(questions),
        detections=sum(proof.detections for proof in proofs),
        mismatches=sum(proof.mismatches for proof in proofs),
        max_score_difference=max(proof.max_score_difference for proof in proofs),
        max_box_difference_px=max(proof.max_box_difference_px for proof in proofs),
        score_tolerance=tolerance.score_tolerance,
        box_tolerance_px=tolerance.box_tolerance_px,
        passed=all(proof.passed for proof in proofs),
    )


def answers_of_export(
    saved_model: Path, questions: Sequence[Question]
) -> dict[str, list[Detected]]:
    """Loads a SavedModel in a fresh process and has every signature answer every question.

    Returns:
        Signature name to one answer for each question.

    Raises:
        ParityError: The process could not load the model, or not answer.
    """
    with tempfile.TemporaryDirectory(prefix="kfdet-parity-") as folder:
        asked, answered = Path(folder) / "questions.npz", Path(folder) / "answers.npz"
        write_questions(
            asked,
            encoded=[question.encoded for question in questions],
            examples=[question.example for question in questions],
        )
        command = [
            sys.executable, "-m", "kfdet.models.parity_worker",
            str(saved_model), str(asked), str(answered),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S
            )
        except subprocess.TimeoutExpired as failure:
            raise ParityError(
                f"the reloaded export did not answer within {_PATIENCE_S} s", where=str(saved_model)
            ) from failure
        if done.returncode or not answered.is_file():
            last = "\n".join(done.stderr.strip().splitlines()[-5:]) or "it said nothing"
            raise ParityError(
                f"the export can't be loaded and asked (exit code {done.returncode}):\n{last}",
                where=str(saved_model),
            )
        return read_answers(answered)
