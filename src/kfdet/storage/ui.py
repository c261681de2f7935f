"""Files that the cluster's UI looks for."""

from __future__ import annotations

import json
from pathlib import Path

from kfdet.storage.atomic import write_text

TENSORBOARD_IMAGE = "tensorflow/tensorflow:2.20.0"


def write_tensorboard_metadata(path: Path, *, source: str) -> None:
    """Tells the cluster's UI to offer TensorBoard for a folder of event files.

    Args:
        path: Where the artifact `mlpipeline_ui_metadata` lies.
        source: Folder of the event files.
    """
    viewer = {"type": "tensorboard", "source": source, "image": TENSORBOARD_IMAGE}
    write_text(path, json.dumps({"outputs": [viewer]}) + "\n")
