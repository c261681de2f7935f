"""What a run's containers are given, and what is refused before one starts."""

import pytest
import yaml

from kfdet.cli import containers
from kfdet.errors import ConfigError, UsageError
from kfdet.schema.run_config import RunConfig


@pytest.fixture
def pipeline(tmp_path):
    path = tmp_path / "pipeline.yaml"
    executors = {f"exec-{n}": {"container": {"image": f"localhost/python-{n}:1"}} for n in "ab"}
    path.write_text(yaml.safe_dump({"deploymentSpec": {"executors": executors}}))
    return path


def configuration(**dataset):
    return RunConfig.model_validate(
        {
            "name": "held",
            "dataset": {
                "label_map": "maps/label_map.pbtxt",
                "train": "data/train-*.tfrecord",
                "val": "data/val-*.tfrecord",
                "test": "data/*/test-*.tfrecord",
                **dataset,
            },
            "detector": {"input_size": [128, 128]},
            "training": {"steps": 100, "batch_size": 8, "checkpoint_every": 50},
            "gate": {"rules": [{"metric": "ap", "at_least": 0.5}]},
        }
    )


@pytest.fixture
def request_for(monkeypatch, tmp_path, pipeline):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(containers, "_images_digest", " ".join)
    return lambda config: containers.container_request(
        config, root=tmp_path / "run", pipeline=pipeline
    )


def test_data_is_mounted_to_be_read_and_run_and_registry_to_be_written(request_for, tmp_path):
    request = request_for(configuration())
    assert request.read == (str(tmp_path / "data"), str(tmp_path / "maps"))
    assert request.write == (str(tmp_path / "registry"), str(tmp_path / "run"))
    assert (tmp_path / "registry").is_dir()


def test_a_folder_that_is_written_is_not_mounted_twice(request_for, tmp_path):
    request = request_for(configuration(train="run/train-*.tfrecord"))
    assert str(tmp_path / "run") not in request.read


def test_there_is_a_network_only_where_a_location_is_remote(request_for):
    assert not request_for(configuration()).network
    assert request_for(configuration(test="gs://bucket/test-*.tfrecord")).network


def test_images_are_those_that_the_compiled_pipeline_names(request_for):
    assert request_for(configuration()).images_digest == "localhost/python-a:1 localhost/python-b:1"


@pytest.mark.parametrize("pattern", ["/tmp/train-*.tfrecord", "/*/train.tfrecord"])
def test_folders_that_a_container_has_of_its_own_are_refused(request_for, pattern):
    with pytest.raises(ConfigError, match=r"can't be mounted.* folder of its own"):
        request_for(configuration(train=pattern))


def test_an_engine_that_does_not_answer_is_named(monkeypatch, tmp_path, pipeline):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UsageError, match=r"^unix:///nowhere/docker.sock: no Docker engine answers"):
        containers.container_request(configuration(), root=tmp_path, pipeline=pipeline)
