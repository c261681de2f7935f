"""Files that the cluster's UI looks for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from kfdet.core.confusion import in_short
from kfdet.schema.cluster_config import VOLUMES_VARIABLE, VolumeConfig
from kfdet.schema.metrics import Metrics
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import read_document

TENSORBOARD_IMAGE = "tensorflow/tensorflow:2.20.0"
_VOLUME = "events"


def write_tensorboard_metadata(
    path: Path, *, source: str, volumes: Sequence[VolumeConfig] = ()
) -> None:
    """Tells the cluster's UI to offer TensorBoard for a folder of event files.

    The UI starts TensorBoard in a pod of its own, which must be told of the volume, and takes no
    plain path.

    Args:
        path: Where the artifact `mlpipeline_ui_metadata` lies.
        source: Folder of the event files.
        volumes: Volumes that this task sees.
    """
    viewer: dict[str, Any] = {"type": "tensorboard", "source": source, "image": TENSORBOARD_IMAGE}
    holding = [v for v in volumes if Path(source).is_relative_to(v.path)]
    if holding:
        volume = max(holding, key=lambda v: len(Path(v.path).parts))
        below = Path(volume.sub_path) / Path(source).relative_to(volume.path)
        viewer["source"] = f"volume://{_VOLUME}/{below}"
        viewer["pod_template_spec"] = {"spec": _pod_with(volume)}
    write_text(path, json.dumps({"outputs": [viewer]}) + "\n")


def _pod_with(volume: VolumeConfig) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": _VOLUME, "mountPath": volume.path, "readOnly": True}
    if volume.sub_path:
        mount["subPath"] = volume.sub_path
    claim = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": volume.claim}}
    return {"containers": [{"volumeMounts": [mount]}], "volumes": [claim]}


def volumes_of_this_task(environment: Mapping[str, str] | None = None) -> list[VolumeConfig]:
    """Returns the volumes that the compiled pipeline says this task sees; none on one machine."""
    said = (os.environ if environment is None else environment).get(VOLUMES_VARIABLE)
    return TypeAdapter(list[VolumeConfig]).validate_json(said) if said else []


class ClassificationArtifact(Protocol):
    """What a `system.ClassificationMetrics` output offers; kfp's own class is not needed."""

    path: str

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None: ...


def write_confusion(artifact: ClassificationArtifact, *, metrics_json: Path) -> None:
    """Logs the confusion matrix in short, and writes what was logged at the artifact's path.

    The file matters: kfp takes a task with an artifact without a file for one that never ran.

    Args:
        artifact: What the UI shows.
        metrics_json: Metrics; without details nothing is logged.
    """
    metrics = read_document(Metrics, metrics_json)
    if metrics.details is None:
        write_text(artifact.path, "{}\n")
        return
    short = in_short(metrics.details.confusion)
    matrix = [list(row) for row in short.matrix]
    artifact.log_confusion_matrix(list(short.labels), matrix)
    write_text(artifact.path, json.dumps({"categories": short.labels, "matrix": matrix}) + "\n")
