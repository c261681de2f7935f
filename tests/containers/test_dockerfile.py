"""What the Dockerfile and its context promise, read without a Docker engine."""

import re
import tomllib
from pathlib import Path

from components import _images

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()
INSTRUCTIONS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)$", DOCKERFILE, re.M)


def of(kind):
    return [words for name, words in INSTRUCTIONS if name == kind]


def test_there_is_a_target_for_every_image_and_each_has_more_than_one_stage():
    stages = {name: base for base, name in (line.split(" AS ") for line in of("FROM"))}
    assert set(_images.TARGETS) <= set(stages)
    assert {stages[target] for target in _images.TARGETS} == {"runtime"}
    assert len(stages) > len(_images.TARGETS) + 1


def test_the_base_is_an_argument_with_a_public_default_pinned_by_digest():
    (base,) = [argument for argument in of("ARG") if argument.startswith("BASE=")]
    assert re.fullmatch(r"BASE=docker\.io/library/python:[\w.-]+@sha256:[0-9a-f]{64}", base)
    known = {line.split(" AS ")[1] for line in of("FROM")} | {"${BASE}"}
    assert {line.split(" AS ")[0] for line in of("FROM")} <= known


def test_every_image_is_without_entrypoint_and_root():
    assert not of("ENTRYPOINT")
    users = of("USER")
    assert len(users) == len(_images.TARGETS)
    assert set(users) == {"65532:65532"}
    # Such a line has the builder ask a registry before it begins.
    assert not re.search(r"^# *syntax=", DOCKERFILE, re.M)


def test_versions_are_pinned_by_the_lock_file_and_in_one_place():
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["required-version"]
    version = pinned.removeprefix("==")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    for path in ("Makefile", "scripts/setup.sh", "containers/Dockerfile", ".ci/run"):
        assert version not in (ROOT / path).read_text(), path
    script = (ROOT / "containers" / "install-environment.sh").read_text()
    assert "uv sync --quiet --frozen" in script
    assert "--require-hashes" in script


def test_the_context_is_a_list_of_what_may_go_in():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {
        "containers/install-environment.sh", "pyproject.toml", "uv.lock", "README.md", "LICENSE",
        "src", "components", "pipelines",
    }  # fmt: skip
    copied = {
        word.rstrip("/").removeprefix("./")
        for words in of("COPY")
        if not words.startswith("--from")
        for word in words.split()[:-1]
    }
    assert copied <= allowed
