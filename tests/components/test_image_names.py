"""Every task's image is named in one place, by configuration, environment and release in this order."""

import json

import pytest
import yaml

import kfdet
from components import _images
from kfdet.cli.main import main
from kfdet.cli.pipeline_source import compile_pipeline
from kfdet.errors import ConfigError
from kfdet.schema.cluster_config import ImagesConfig, ResourcesConfig
from scripts import containers

DIGEST = "sha256:" + "5e" * 32


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("KFDET_IMAGE_REGISTRY", raising=False)
    monkeypatch.delenv("KFDET_IMAGE_TAG", raising=False)


def compiled_images(tmp_path, **options):
    """Returns each task's image."""
    compile_pipeline(tmp_path / "pipeline.yaml", **options)
    document = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    executors = document["deploymentSpec"]["executors"].items()
    return {name.removeprefix("exec-"): one["container"]["image"] for name, one in executors}


def end_of(*words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return end.value.code


def test_a_name_comes_from_the_configuration_then_the_environment_then_the_release(monkeypatch):
    assert _images.image_name("light") == f"ghcr.io/kfdet/python-light:{kfdet.__version__}"
    monkeypatch.setenv("KFDET_IMAGE_REGISTRY", "localhost:5000/built")
    monkeypatch.setenv("KFDET_IMAGE_TAG", "yesterday")
    assert _images.image_name("light") == "localhost:5000/built/python-light:yesterday"
    said = ImagesConfig.model_validate(
        {"registry": "example.com/a/b/", "tag": "1.2", "digests": {"tensorflow_gpu": DIGEST}}
    )
    assert _images.image_name("light", said) == "example.com/a/b/python-light:1.2"
    assert _images.image_name("tensorflow-gpu", said).endswith(
        f"/python-tensorflow-gpu:1.2@{DIGEST}"
    )


@pytest.mark.parametrize("target", _images.TARGETS)
def test_a_digest_can_be_given_for_every_image(target):
    said = ImagesConfig.model_validate({"digests": {target.replace("-", "_"): DIGEST}})
    named = {other for other in _images.TARGETS if DIGEST in _images.image_name(other, said)}
    assert named == {target}


def test_what_is_no_name_is_refused():
    for section in (
        {"registry": "https://example.com"},
        {"registry": "example.com/Upper/Case"},
        {"registry": "example.com//a"},
        {"tag": "a b"},
        {"digests": {"light": "sha256:12"}},
    ):
        with pytest.raises(ValueError, match=r"registry|tag|digests.light"):
            ImagesConfig.model_validate(section)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KFDET_IMAGE_TAG", "feature/x"),
        ("KFDET_IMAGE_TAG", "v" * 129),
        ("KFDET_IMAGE_REGISTRY", "https://example.com/k"),
    ],
)
def test_what_the_environment_says_is_refused_by_the_variable_s_name(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=variable):
        _images.image_name("light")


def test_tasks_with_accelerators_get_the_image_with_the_cuda_libraries(tmp_path):
    plain = compiled_images(tmp_path)
    assert set(plain.values()) == {_images.image_name("light"), _images.image_name("tensorflow")}
    gpus = {"train": {"gpus": 1}}
    trained = compiled_images(tmp_path, resources=ResourcesConfig.model_validate(gpus))
    gpu = _images.image_name("tensorflow-gpu")
    assert {name for name, image in trained.items() if image == gpu} == {"train"}
    both = gpus | {"inference": {"gpus": 1}, "light": {"gpus": 1}}
    everywhere = compiled_images(tmp_path, resources=ResourcesConfig.model_validate(both))
    assert set(everywhere.values()) == {_images.image_name("light"), gpu}
    light = _images.image_name("light")
    assert {n for n, i in everywhere.items() if i == light} == {
        n for n, i in plain.items() if i == light
    }


def test_a_release_is_pinned_by_its_digests(tmp_path):
    images = ImagesConfig.model_validate(
        {"registry": "r.example/k", "tag": "9", "digests": {"light": DIGEST, "tensorflow": DIGEST}}
    )
    assert set(compiled_images(tmp_path, images=images).values()) == {
        f"r.example/k/python-light:9@{DIGEST}",
        f"r.example/k/python-tensorflow:9@{DIGEST}",
    }


def test_the_command_line_sets_them_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = {
        "name": "shapes",
        "dataset": {k: f"/mnt/kfdet/{k}" for k in ("label_map", "train", "val", "test")},
        "detector": {"input_size": [128, 128]},
        "training": {"steps": 100, "batch_size": 8, "checkpoint_every": 50},
        "gate": {"rules": [{"metric": "ap", "at_least": 0.75}]},
        "cluster": {"volumes": [{"claim": "kfdet", "path": "/mnt/kfdet"}]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    said = ["--set", "images.registry=r.example/k", "--set", "images.tag=v7"]
    assert end_of("compile", "--config", "run.yaml", *said) == 0
    text = (tmp_path / "pipeline.yaml").read_text()
    assert "image: r.example/k/python-tensorflow:v7" in text
    assert "ghcr.io" not in text
    assert end_of("compile", *said) == 2
    assert "--config" in capsys.readouterr().err


def test_pushed_images_are_printed_as_a_configuration_s_section(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KFDET_IMAGE_REGISTRY", "r.example/k")
    asked = []

    class Registry(containers.Engine):
        def docker(self, *arguments, check=True):
            asked.append(arguments)
            if arguments[:2] != ("image", "inspect"):
                return ""
            if "{{.Size}}" in arguments:
                return "385000000"
            return json.dumps(
                [f"other/python-light@sha256:{'0' * 64}", f"r.example/k/python-light@{DIGEST}"]
            )

    monkeypatch.setattr(containers, "running_engine", Registry)
    monkeypatch.setattr(
        containers, "build", lambda engine, target, base: _images.image_name(target)
    )
    containers.main(["light", "--push"])
    printed = capsys.readouterr().out
    section = yaml.safe_load(printed[printed.index("images:") :])
    assert ("push", "--quiet", _images.image_name("light")) in asked
    images = ImagesConfig.model_validate(section["images"])
    assert _images.image_name("light", images) == f"{_images.image_name('light')}@{DIGEST}"
