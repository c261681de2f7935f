"""`kfdet predict`: an exported model on images, as pictures or as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kfdet.errors import UsageError

_PLOTTED_FROM = 0.5


def predict(arguments: argparse.Namespace) -> None:
    """Runs the model once an image; several images with --plot go to NAME-000.png, NAME-001.png."""
    raw = arguments.raw or arguments.json
    if not raw and not arguments.plot:
        raise UsageError("neither --plot nor --raw is given", where="kfdet predict")
    from kfdet.stages import predict as stage

    model = stage.load(arguments.model)
    answers = []
    for index, image in enumerate(arguments.images):
        if arguments.plot:
            threshold = _PLOTTED_FROM if arguments.min_score is None else arguments.min_score
            target = _target(Path(arguments.plot), index, of=len(arguments.images))
            stage.inference_with_plot(model, image, out=target, score_threshold=threshold)
            if not raw:
                print(target)
        if raw:
            found = stage.inference_as_raw_output(
                model, image, score_threshold=arguments.min_score or 0.0
            )
            answers.append({"image": image, **_plain(found)})
    if raw:
        print(json.dumps(answers[0] if len(answers) == 1 else answers, indent=2))


def _target(path: Path, index: int, *, of: int) -> Path:
    return path if of == 1 else path.with_name(f"{path.stem}-{index:03d}{path.suffix}")


def _plain(found: Any) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value for name, value in found.items()
    }
