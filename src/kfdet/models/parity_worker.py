"""`python -m kfdet.models.parity_worker SAVED_MODEL QUESTIONS ANSWERS`: asks a reloaded export.

A process of its own, without Model Garden: what it can answer, a user's server can.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kfdet.core.detected import Detected
from kfdet.models.parity_files import read_questions, write_answers
from kfdet.models.saved_model import SavedModelDetector, decode_pixels

# Not 1, so that a batch is proven too.
_BATCH_SIZE = 5


def main(saved_model: str, questions: str, answers: str) -> None:
    """Has every signature of a SavedModel answer the questions of one file into another."""
    detector = SavedModelDetector(Path(saved_model))
    encoded, examples = read_questions(Path(questions))
    write_answers(
        Path(answers),
        {
            "serving_default": [detector.of_pixels(decode_pixels(image)) for image in encoded],
            "image_bytes": _in_batches(detector, encoded),
            "tf_example": _in_batches(detector.of_examples, examples),
        },
    )


def _in_batches(
    ask: Callable[[Sequence[bytes]], list[Detected]], values: Sequence[bytes]
) -> list[Detected]:
    return [
        answer
        for first in range(0, len(values), _BATCH_SIZE)
        for answer in ask(values[first : first + _BATCH_SIZE])
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
