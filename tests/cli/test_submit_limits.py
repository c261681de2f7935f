"""What is sent stays within the cluster's limits, however many shards the data have."""

import gzip
import inspect
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cluster_cases import configuration
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp_api.payloads import MAX_PARAMETER_BYTES, check_parameters, checked_pipeline
from kfp_api.workflow import nodes

from kfdet.cli.cluster import access
from kfdet.cli.cluster.package import build_package, find_data_digest
from kfdet.cli.pipeline_source import compile_pipeline
from kfdet.errors import ConfigError
from kfdet.schema.run_config import EvaluationConfig, RunConfig, ValidationConfig

PIPELINE = Path(__file__).resolve().parents[2] / "pipelines" / "detection_training"
SHARDS = 2000
# Argo keeps a workflow in one object of at most 1 MiB, its nodes compressed.
MAX_WORKFLOW_BYTES = 1 << 20
# Linux's limit on one argument of a command, MAX_ARG_STRLEN.
MAX_ARGUMENT_BYTES = 1 << 17


def run_on(folder, **changes):
    dataset = {
        "label_map": str(folder / "label_map.pbtxt"),
        **{split: str(folder / f"{split}-*.tfrecord") for split in ("train", "val", "test")},
    }
    cluster = {"volumes": [{"claim": "data", "path": str(folder)}], "root": str(folder / "there")}
    return RunConfig.model_validate(configuration(dataset=dataset, cluster=cluster, **changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    (folder / "label_map.pbtxt").write_text("item {}")
    for split, shards in (("train", SHARDS), ("val", 2), ("test", 2)):
        for shard in range(shards):
            (folder / f"{split}-{shard:05d}-of-{shards:05d}.tfrecord").write_text(str(shard))
    return folder


def without_names(package, folder):
    """Returns the specification as it is sent, without what names folder, data and run."""
    text = json.dumps(package.spec).replace(str(folder), "FOLDER")
    for digest in (package.data_digest, package.config_digest):
        text = text.replace(digest, "DIGEST").replace(digest[:16], "DIGEST")
    return text


def test_two_thousand_shards_are_sent_as_one_pattern_and_one_digest(folder, tmp_path):
    config = run_on(folder)
    digest = find_data_digest(config.dataset, None)
    assert digest is not None
    package = build_package(config, name="run", data_digest=digest)
    check_parameters(package.parameters, checked_pipeline(package.spec))
    sizes = {name: len(json.dumps(value).encode()) for name, value in package.parameters.items()}
    assert max(sizes.values()) < MAX_PARAMETER_BYTES / 4
    assert len(json.dumps(package.parameters)) < MAX_PARAMETER_BYTES / 2

    for split in ("train", "val", "test"):
        shutil.copy(
            folder / f"{split}-00000-of-{SHARDS if split == 'train' else 2:05d}.tfrecord", tmp_path
        )
    shutil.copy(folder / "label_map.pbtxt", tmp_path)
    few = run_on(tmp_path)
    small = build_package(few, name="run", data_digest=find_data_digest(few.dataset, None))
    # But for the names of the two folders and the digests, the same bytes are sent for 3 shards.
    assert without_names(small, tmp_path) == without_names(package, folder)
    for name, value in package.parameters.items():
        if name not in ("dataset", "data_digest", "model_root", "registry"):
            assert value == small.parameters[name]
    assert (
        package.parameters["dataset"].replace(str(folder), str(tmp_path))
        == (small.parameters["dataset"])
    )


def most(section, key):
    """Returns the largest number of tasks that a run may ask for."""
    return next(limit.le for limit in section.model_fields[key].metadata if hasattr(limit, "le"))


MOST = {
    "examine": most(ValidationConfig, "groups"),
    "evaluate": most(EvaluationConfig, "shards"),
}


def test_the_workflow_has_room_for_all_the_tasks_of_its_loops(folder):
    config = run_on(
        folder,
        evaluation={"shards": MOST["evaluate"]},
        validation={"groups": MOST["examine"]},
    )
    package = build_package(config, name="run", data_digest="ab" * 32)
    check_parameters(package.parameters, checked_pipeline(package.spec))
    # The API server writes the specification into the workflow once, as strings within strings.
    specification = len(json.dumps(json.dumps(package.spec)))
    tasks = {"train": "SUCCEEDED"} | {task: ["SUCCEEDED"] * n for task, n in MOST.items()}
    # The champion, measured elsewhere, is evaluated by as many tasks again.
    tasks["champion-evaluate"] = tasks["evaluate"]
    status, _ = nodes("0" * 36, "detection-training-abcde", tasks)
    # Each driver hands its executor a patch with the whole command, which the status keeps.
    executor = package.spec["pipeline_spec"]["deploymentSpec"]["executors"]["exec-evaluate"]
    for node in status:
        node["pod-spec-patch"] = json.dumps([executor, package.parameters, node["task_id"]])
    compressed = len(gzip.compress(json.dumps(status).encode())) * 4 // 3
    assert specification + compressed < MAX_WORKFLOW_BYTES * 3 / 4, (specification, compressed)


@pytest.mark.parametrize("task", MOST)
def test_what_the_task_after_a_loop_is_handed_fits_on_a_command_line(task):
    """The driver hands over an artifact for every task of the loop, as one argument, in JSON."""
    identity = "00000000-0000-0000-0000-000000000000"
    store = {
        "Provider": "minio",
        "Params": {
            "accessKeyKey": "accesskey", "disableSSL": "true", "fromEnv": "false",
            "endpoint": "minio-service.kubeflow:9000", "region": "minio",
            "secretKeyKey": "secretkey", "secretName": "mlpipeline-minio-artifact",
        },
    }  # fmt: skip
    message = pipeline_spec_pb2.ExecutorInput()
    for _ in range(MOST[task]):
        artifact = message.inputs.artifacts["shards"].artifacts.add(
            name="detections",
            uri=f"gs://{'b' * 63}/v2/artifacts/detection-training/{identity}/{task}/{identity}"
            "/detections",
        )
        artifact.type.schema_title = "system.Artifact"
        artifact.metadata.update(
            {"display_name": "detections", "store_session_info": json.dumps(store)}
        )
    written = json.dumps(json_format.MessageToDict(message))
    assert len(written) < MAX_ARGUMENT_BYTES * 3 / 4


def test_what_a_driver_is_handed_fits_on_a_command_line(folder):
    package = build_package(run_on(folder), name="run", data_digest="ab" * 32)
    spec = package.spec["pipeline_spec"]
    platform = package.spec["platform_spec"]["platforms"]["kubernetes"]
    handed = [
        *spec["components"].values(), spec["root"], package.parameters,
        *spec["deploymentSpec"]["executors"].values(),
        *platform["deploymentSpec"]["executors"].values(),
    ]  # fmt: skip
    assert max(len(json.dumps(one)) for one in handed) < MAX_ARGUMENT_BYTES / 4


def test_shards_named_one_by_one_are_refused_with_the_way_out(folder):
    names = [str(path) for path in sorted(folder.glob("train-*"))]
    config = run_on(folder)
    dataset = config.dataset.model_copy(update={"train": tuple(names)})
    with pytest.raises(ConfigError) as failure:
        build_package(config.model_copy(update={"dataset": dataset}), name="run", data_digest=None)
    assert "of them in dataset" in str(failure.value)
    assert "Name the shards by a pattern" in str(failure.value)


def test_the_documents_say_how_large_the_specification_is(tmp_path):
    compile_pipeline(tmp_path / "pipeline.yaml")
    first, second = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text())
    measured = len(json.dumps({"pipeline_spec": first, "platform_spec": second}))
    text = (PIPELINE / "README.md").read_text()
    said = int(re.search(r"the specification has (\d+) kB", text)[1]) * 1000
    assert abs(said - measured) < measured / 10, measured


def test_every_variable_that_opens_the_cluster_is_documented():
    source = inspect.getsource(access)
    variables = set(re.findall(r'^\w+_VARIABLE = "(\w+)"', source, re.MULTILINE))
    rows = re.findall(r"^\| `(K\w+)` \|", (PIPELINE / "README.md").read_text(), re.MULTILINE)
    assert len(variables) == 8
    assert set(rows) == variables
