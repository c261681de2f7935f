"""Questions and answers between the exporter and the process that reloads the export: plain npz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kfdet.core.detected import Detected


def write_questions(path: Path, *, encoded: Sequence[bytes], examples: Sequence[bytes]) -> None:
    """Writes images and tf.train.Examples, as many of each."""
    arrays: dict[str, Any] = {}
    for kind, values in (("encoded", encoded), ("example", examples)):
        for i, value in enumerate(values):
            arrays[f"{kind}-{i:06d}"] = np.frombuffer(value, np.uint8)
    np.savez(path, **arrays)


def read_questions(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Returns images and tf.train.Examples in the order that they were written in."""
    with np.load(path) as file:
        names = sorted(file.files)
        encoded = [file[name].tobytes() for name in names if name.startswith("encoded-")]
        examples = [file[name].tobytes() for name in names if name.startswith("example-")]
    return encoded, examples


def write_answers(path: Path, answers: Mapping[str, Sequence[Detected]]) -> None:
    """Writes each signature's detections, image by image."""
    arrays: dict[str, Any] = {}
    for signature, images in answers.items():
        for i, detected in enumerate(images):
            arrays[f"{signature}-{i:06d}-boxes"] = detected.boxes_yxyx_px
            arrays[f"{signature}-{i:06d}-classes"] = detected.class_ids
            arrays[f"{signature}-{i:06d}-scores"] = detected.scores
    np.savez(path, **arrays)


def read_answers(path: Path) -> dict[str, list[Detected]]:
    """Returns signature name to detections, image by image."""
    answers: dict[str, list[Detected]] = {}
    with np.load(path) as file:
        for name in sorted(file.files):
            if not name.endswith("-boxes"):
                continue
            stem = name.removesuffix("-boxes")
            signature = stem.rsplit("-", 1)[0]
            answers.setdefault(signature, []).append(
                Detected(
                    boxes_yxyx_px=file[f"{stem}-boxes"],
                    class_ids=file[f"{stem}-classes"],
                    scores=file[f"{stem}-scores"],
                )
            )
    return answers
