"""The compiled pipeline in its containers: a gate that fails, one that passes, and an interrupt."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import pytest
import yaml
from gcs_fake.server import FakeGcs, serving
from kfp import compiler, dsl
from tiny_run import configuration, statuses, write_configurations

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


def test_data_and_registry_in_a_bucket_are_reached_from_the_containers(user, engine):
    gcs = FakeGcs()
    for path in (user.folder / "data").iterdir():
        gcs.put("bucket", f"data/{path.name}", path.read_bytes())
    config = configuration(at_least=0.0)
    config["dataset"] = {key: f"gs://bucket/{place}" for key, place in config["dataset"].items()}
    config["registry"] = {"uri": "gs://bucket/registry"}
    (user.folder / "bucket.yaml").write_text(yaml.safe_dump(config))
    with serving(gcs) as endpoint:
        record = run(replace(user, variables={"STORAGE_EMULATOR_HOST": endpoint}), "bucket.yaml")
    assert (record.verdict, record.published_version) == ("pass", 1)
    assert "registry/tiny/versions/000001/version.json" in gcs.bucket("bucket")
    # Every shard was copied once, for all the containers.
    downloads = [line for line in gcs.log if "/download/" in line and ".tfrecord" in line]
    assert len(downloads) == len(set(downloads)) > 2
    assert not containers_left(engine)


def one_component(function, image):
    component = dsl.component(
        function, base_image=image, install_kfp_package=False, packages_to_install=[]
    )

    @dsl.pipeline(name="one-component")
    def pipeline(times: int):
        component(times=times).set_caching_options(enable_caching=False)

    return pipeline


def run_alone(owner, pipeline, name, *, times=0, variables=(), **containers):
    """Runs a pipeline as `kfdet run` would; returns its exit code, the tasks told, and its log."""
    folder = owner.folder / name
    folder.mkdir(exist_ok=True)
    compiler.Compiler().compile(pipeline, str(folder / "pipeline.yaml"))
    tasks = folder / f"tasks-{times}.jsonl"
    settings = {"user": "0:0", "read": (), "network": "none", **containers}
    request = PipelineRequest(
        pipeline=str(folder / "pipeline.yaml"),
        arguments={"times": times},
        pipeline_root=str(folder / "artifacts"),
        cache_root=None,
        tasks=str(tasks),
        containers=ContainerRequest(
            run=uuid.uuid4().hex, write=(str(folder),), images_digest="", **settings
        ),
    )
    (folder / "request.json").write_text(request.canonical_json())
    with subprocess.Popen(
        [sys.executable, "-m", "kfdet.cli.local_pipeline", str(folder / "request.json")],
        env={**owner.environment, "KFDET_EVENTS": str(folder / "events.jsonl"), **dict(variables)},
        cwd=owner.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        log = process.stdout.read()
        process.wait(timeout=120)
    return process.returncode, tasks.read_text(), log


def test_credentials_can_be_read_by_the_stages_alone_and_not_be_changed(user, images):
    def look(times: int):
        import os
        from pathlib import Path

        file = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
        assert "of nobody" in file.read_text()
        try:
            file.write_text("changed")
        except OSError:
            return
        raise SystemExit("it could be written")

    key = user.folder / "key.json"
    key.write_text('{"type": "service_account", "private_key": "of nobody"}')
    key.chmod(0o600)
    code, tasks, log = run_alone(
        user, one_component(look, images["light"]), "looking", network="host",
        variables={"GOOGLE_APPLICATION_CREDENTIALS": str(key)},
    )  # fmt: skip
    assert code == 0, log
    written = [path for path in (user.folder / "looking").rglob("*") if path.is_file()]
    texts = [log, tasks, *(path.read_text() for path in written if path.suffix != ".yaml")]
    assert not [text for text in texts if "private_key" in text or str(key) in text]


def test_a_relative_path_is_the_same_in_a_container(user, images):
    """As that of an initial checkpoint, which names an experiment, and so must not be changed."""

    def look(times: int):
        from pathlib import Path

        assert "one-component" in Path("relative/pipeline.yaml").read_text()

    code, _, log = run_alone(user, one_component(look, images["light"]), "relative")
    assert code == 0, log


def test_a_container_that_fails_at_once_is_a_failure_every_time(user, images):
    def stumble(times: int):
        raise SystemExit(3)

    pipeline = one_component(stumble, images["light"])
    for attempt in range(5):
        code, tasks, _ = run_alone(user, pipeline, "stumbling", times=attempt)
        assert code == 1
        assert "done" not in [json.loads(line)["status"] for line in tasks.splitlines()]
