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


REMOTE = {"test": "gs://bucket/test-*.tfrecord"}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine on which nobody has logged in; sets variables of its environment."""
    for name in (
        "STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG",
        "KFDET_STORAGE_DEADLINE_S", "XDG_CACHE_HOME",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KFDET_CACHE", str(tmp_path / "copies"))
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("emulator", "network"),
    [
        (None, "default"),
        ("http://storage.example:4443", "default"),
        ("http://127.0.0.1:4443", "host"),
        ("http://localhost:4443", "host"),
    ],
)
def test_there_is_a_network_only_where_a_location_is_remote(
    request_for, machine, emulator, network
):
    if emulator:
        machine("STORAGE_EMULATOR_HOST", emulator)
    assert request_for(configuration()).network == "none"
    assert request_for(configuration(**REMOTE)).network == network


def run_arguments(request):
    arguments = containers.docker_runner(request, events="/run/events").container_run_args
    return arguments["environment"], {
        mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in arguments["mounts"]
    }


def key_file(folder, name="key.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text('{"type": "service_account", "private_key": "secret"}')
    return folder / name


def test_copies_of_a_bucket_are_kept_on_this_machines_disk(request_for, machine, tmp_path):
    request = request_for(configuration(**REMOTE))
    assert str(tmp_path / "copies") in request.write
    environment, mounts = run_arguments(request)
    assert environment["KFDET_CACHE"] == str(tmp_path / "copies")
    assert mounts[str(tmp_path / "copies")] == (str(tmp_path / "copies"), False)
    assert (tmp_path / "copies").is_dir()


@pytest.mark.parametrize("how", ["key file", "log-in", "log-in elsewhere"])
def test_credentials_are_mounted_to_be_read_and_stand_in_no_file(
    request_for, machine, tmp_path, how
):
    if how == "key file":
        source = key_file(tmp_path / "keys")
        machine("GOOGLE_APPLICATION_CREDENTIALS", "keys/key.json")
    else:
        (tmp_path / ".config").mkdir()
        folder = tmp_path / (".config/gcloud" if how == "log-in" else "elsewhere")
        source = key_file(folder, "application_default_credentials.json")
        if how == "log-in elsewhere":
            machine("CLOUDSDK_CONFIG", str(folder))
    request = request_for(configuration(**REMOTE))
    environment, mounts = run_arguments(request)
    there = environment["GOOGLE_APPLICATION_CREDENTIALS"]
    assert mounts[there] == (str(source), True)
    assert str(source) not in request.canonical_json()
    assert "secret" not in str((environment, mounts, request))


def test_containers_that_reach_nothing_and_other_servers_get_no_credentials(
    request_for, machine, tmp_path
):
    machine("GOOGLE_APPLICATION_CREDENTIALS", str(key_file(tmp_path / "keys")))
    environment, mounts = run_arguments(request_for(configuration()))
    assert environment == {"KFDET_EVENTS": "/run/events"}
    assert set(mounts) == {str(tmp_path / name) for name in ("data", "maps", "registry", "run")}
    machine("STORAGE_EMULATOR_HOST", "http://127.0.0.1:4443")
    machine("KFDET_STORAGE_DEADLINE_S", "20")
    environment, mounts = run_arguments(request_for(configuration(**REMOTE)))
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in environment
    assert environment["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:4443"
    assert environment["KFDET_STORAGE_DEADLINE_S"] == "20"
    assert not [source for source, _ in mounts.values() if "keys" in source]


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
