"""What the cluster's UI shows: what is written is what it reads."""

import json

import kubernetes_validate
import pytest
from evaluation_cases import digest, label_map, metrics, random_data, shard_result

from kfdet.core.coco import metrics_document
from kfdet.core.measurement import measure
from kfdet.schema.cluster_config import VolumeConfig
from kfdet.schema.metrics import MeasurementConfig
from kfdet.storage.documents import write_document
from kfdet.storage.ui import volumes_of_this_task, write_confusion, write_tensorboard_metadata

DATA = VolumeConfig(claim="data.of-all", path="/mnt")
RUNS = VolumeConfig(claim="kfdet", path="/mnt/kfdet")
PART = VolumeConfig(claim="shared", path="/mnt/kfdet", sub_path="teams/vision")


def written(tmp_path, source, *volumes):
    write_tensorboard_metadata(tmp_path / "metadata", source=source, volumes=volumes)
    (viewer,) = json.loads((tmp_path / "metadata").read_text())["outputs"]
    assert viewer["type"] == "tensorboard"
    assert viewer["image"].startswith("tensorflow/tensorflow:2.20")
    return viewer


def folder_in_viewer(viewer):
    """Finds the folder as the UI's server does: by the volume's name, then the part that is mounted."""
    scheme, _, rest = viewer["source"].partition("://")
    assert scheme == "volume"
    name, _, key = rest.partition("/")
    (container,) = viewer["pod_template_spec"]["spec"]["containers"]
    for mount in container["volumeMounts"]:
        part = mount.get("subPath", "")
        if mount["name"] == name and key.startswith(part):
            return f"{mount['mountPath']}/{key.removeprefix(part).lstrip('/')}"
    raise AssertionError(f"no volume for {viewer['source']}")


@pytest.mark.parametrize("volume", [RUNS, PART], ids=["whole", "part"])
def test_a_folder_on_a_volume_is_mounted_at_the_same_place_for_tensorboard(tmp_path, volume):
    viewer = written(tmp_path, "/mnt/kfdet/models/0123", DATA, volume)
    assert folder_in_viewer(viewer) == "/mnt/kfdet/models/0123"
    spec = viewer["pod_template_spec"]["spec"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"]]
    assert claims == [volume.claim]
    # The viewer's controller names the container and gives it an image.
    (container,) = spec["containers"]
    pod = spec | {"containers": [container | {"name": "tensorboard", "image": viewer["image"]}]}
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "viewer"}, "spec": pod}
    kubernetes_validate.validate(whole, "1.34", strict=True)


@pytest.mark.parametrize("source", ["gs://bucket/models/0123", "/elsewhere/0123"])
def test_any_other_place_is_named_as_it_is(tmp_path, source):
    viewer = written(tmp_path, source, RUNS)
    assert viewer["source"] == source
    assert "pod_template_spec" not in viewer


def test_a_task_reads_its_volumes_from_the_environment():
    said = json.dumps([RUNS.model_dump(mode="json"), PART.model_dump(mode="json")])
    assert volumes_of_this_task({"KFDET_VOLUMES": said}) == [RUNS, PART]
    assert volumes_of_this_task({}) == []


class Confusion:
    """In the place of kfp's artifact."""

    def __init__(self, path):
        self.path, self.logged = str(path), None

    def log_confusion_matrix(self, categories, matrix):
        self.logged = categories, matrix


def test_the_confusion_matrix_is_logged_and_kept_in_a_file(tmp_path):
    data = random_data(1, images=20)
    labels = label_map("circle", "square", "triangle")
    found = measure(data, label_map=labels, engine="hotcoco", config=MeasurementConfig())
    document = metrics_document(
        found.evaluation, data, shard_result(data), label_map=labels, evidence_digest=digest("e"),
        details=found.details,
    )  # fmt: skip
    write_document(tmp_path / "metrics.json", document)
    artifact = Confusion(tmp_path / "confusion")
    write_confusion(artifact, metrics_json=tmp_path / "metrics.json")
    categories, matrix = artifact.logged
    assert categories == ["circle", "square", "triangle", "background"]
    assert tuple(map(tuple, matrix)) == document.details.confusion.matrix
    kept = json.loads((tmp_path / "confusion").read_text())
    assert kept == {"categories": categories, "matrix": matrix}


def test_metrics_without_details_log_no_matrix_and_leave_a_file(tmp_path):
    write_document(tmp_path / "metrics.json", metrics())
    artifact = Confusion(tmp_path / "confusion")
    write_confusion(artifact, metrics_json=tmp_path / "metrics.json")
    assert artifact.logged is None
    assert (tmp_path / "confusion").read_text() == "{}\n"
