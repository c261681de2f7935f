"""The compiled pipeline in its containers: a gate that fails, one that passes, and an interrupt."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from kfp import compiler, dsl
from tiny_run import statuses, write_configurations

from kfdet.cli.containers import ContainerRequest
from kfdet.cli.local_pipeline import PipelineRequest
from kfdet.schema.run_record import STAGES, RunRecord
from kfdet.storage.documents import read_document
from tests.containers.unknown_user import GID, UID, User

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.containers,
    pytest.mark.xdist_group("containers"),
]

EVALUATED = STAGES[: STAGES.index("gate")]


@pytest.fixture(scope="module")
def user(engine, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    os.chown(folder, UID, GID)
    user = User(engine, folder)
    user.kfdet("data", "synth", "--out", "data", "--train", 24, "--val", 8, "--test", 8)
    write_configurations(folder)
    return user


def run(user, config):
    user.kfdet("run", config, "--out", "out", "--runner", "docker")
    return read_document(RunRecord, user.folder / "out" / "run.json")


def containers_left(engine):
    return engine.docker("ps", "--all", "--quiet").split()


def test_a_gate_that_fails_leaves_no_export(user, engine):
    record = run(user, "strict.yaml")
    assert statuses(record) == {
        **dict.fromkeys((*EVALUATED, "gate"), "done"),
        "export": "skipped",
        "publish": "skipped",
    }
    assert record.verdict == "fail"
    assert any("ar_100" in reason for reason in record.reasons)
    assert not list(user.folder.rglob("saved_model.pb"))
    assert not list((user.folder / "registry").iterdir())
    checkpoints = list((user.folder / "out" / "models").rglob("*.index"))
    assert len(checkpoints) >= 2
    for stage in record.stages:
        if stage.report:
            assert (user.folder / "out" / stage.report).read_text().startswith("<!doctype html>")
    assert not containers_left(engine)


def test_a_gate_that_passes_ends_in_an_export_that_is_published(user, engine):
    record = run(user, "lenient.yaml")
    assert statuses(record) == {
        **dict.fromkeys(EVALUATED, "cached"),
        # Its rules are others, and merge tells what check found of them.
        **dict.fromkeys(("check", "merge"), "done"),
        **dict.fromkeys(("gate", "export", "publish"), "done"),
    }
    assert record.verdict == "pass"
    assert record.published_version == 1
    version = user.folder / "registry" / "tiny" / "versions" / "000001"
    assert (version / "saved_model" / "saved_model.pb").stat().st_size > 100_000
    champion = json.loads((user.folder / "registry" / "tiny" / "champion.json").read_text())
    assert champion["version"] == 1
    assert not containers_left(engine)


def test_whatever_the_containers_wrote_belongs_to_the_user_who_ran_them(user):
    written = [*(user.folder / "out").rglob("*"), *(user.folder / "registry").rglob("*")]
    assert len(written) > 50
    assert {path.stat().st_uid for path in written} == {UID}


def test_an_interrupted_training_saves_what_it_has_and_leaves_no_container(user, engine):
    process = subprocess.Popen(
        user.command(
            "run", "lenient.yaml", "--out", "long", "--runner", "docker",
            "--set", "training.steps=100000", "--set", "training.checkpoint_every=20000",
        ),
        cwd=user.folder, env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    events = user.folder / "long" / "logs" / "events.jsonl"
    deadline = time.monotonic() + 300
    while not (events.exists() and '"steps"' in events.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert containers_left(engine)
    os.kill(process.pid, signal.SIGINT)
    _, words = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in words
    assert len(list((user.folder / "long" / "models").rglob("*.index"))) == 1
    assert not containers_left(engine)


def test_a_pipeline_whose_parent_dies_takes_its_containers_along(user, engine):
    process = subprocess.Popen(
        user.command(
            "run", "lenient.yaml", "--out", "orphan", "--runner", "docker",
            "--set", "training.steps=99999", "--set", "training.checkpoint_every=20000",
        ),
        cwd=user.folder, env=user.environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not containers_left(engine):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while containers_left(engine):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_image_that_is_not_there_is_named(user):
    done = subprocess.run(
        user.command("run", "lenient.yaml", "--out", "never", "--runner", "docker"),
        cwd=user.folder, env={**user.environment, "KFDET_IMAGE_TAG": "of-yesterday"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "python-light:of-yesterday" in done.stderr
    assert "make images" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_is_not_there_is_said_so(user):
    done = subprocess.run(
        user.command("run", "lenient.yaml", "--out", "never", "--runner", "docker"),
        cwd=user.folder, env={**user.environment, "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no Docker engine answers" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_container_that_fails_at_once_is_a_failure_every_time(user, images):
    component = functools.partial(
        dsl.component,
        base_image=images["light"],
        install_kfp_package=False,
        packages_to_install=[],
    )

    @component
    def stumble(times: int):
        raise SystemExit(3)

    @dsl.pipeline(name="stumbling")
    def stumbling(times: int):
        stumble(times=times).set_caching_options(enable_caching=False)

    folder = user.folder / "stumbling"
    folder.mkdir()
    compiler.Compiler().compile(stumbling, str(folder / "pipeline.yaml"))
    for attempt in range(5):
        tasks = folder / f"tasks-{attempt}.jsonl"
        request = PipelineRequest(
            pipeline=str(folder / "pipeline.yaml"),
            arguments={"times": attempt},
            pipeline_root=str(folder / "artifacts"),
            cache_root=None,
            tasks=str(tasks),
            containers=ContainerRequest(
                run=uuid.uuid4().hex, user="0:0", read=(), write=(str(folder),), network=False,
                images_digest="",
            ),
        )  # fmt: skip
        Path(folder, "request.json").write_text(request.canonical_json())
        with subprocess.Popen(
            [sys.executable, "-m", "kfdet.cli.local_pipeline", str(folder / "request.json")],
            env={**user.environment, "KFDET_EVENTS": str(folder / "events.jsonl")},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            process.wait(timeout=120)
        assert process.returncode == 1
        statuses = [json.loads(line)["status"] for line in tasks.read_text().splitlines()]
        assert "done" not in statuses
