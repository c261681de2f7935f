"""kfdet's own processes on a bucket: the server is a double that speaks the JSON API over HTTP."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from gcs_fake.server import FakeGcs, serving
from tiny_run import KFDET, configuration

from kfdet.cli.local_pipeline import TaskEvent
from kfdet.schema.dataset import Manifest
from kfdet.schema.export import EXPORT_FILE, ExportManifest, RegistryVersion
from kfdet.schema.gate import Decision
from kfdet.schema.metrics import Metrics
from kfdet.schema.run_record import CHAMPION_TASKS, RunRecord
from kfdet.schema.training import TrainingSummary
from kfdet.storage.documents import read_document
from kfdet.storage.exports import content_digest, describe_files

FAULTS = ["503", None, "reset", None, "body cut", None, None, "reset in body", "429", "body short"]


class Machine:
    """A machine with nothing on it but kfdet and the address of the bucket."""

    def __init__(self, folder: Path, endpoint: str):
        self.folder = folder
        self.endpoint = endpoint
        folder.mkdir()

    @property
    def environment(self):
        return os.environ | {
            "STORAGE_EMULATOR_HOST": self.endpoint,
            "KFDET_CACHE": str(self.folder / "cache"),
            "KFDET_STORAGE_DEADLINE_S": "20",
        }

    def kfdet(self, *arguments, check=True, **environment):
        done = subprocess.run(
            [*KFDET, *map(str, arguments)], cwd=self.folder, env=self.environment | environment,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done

    def start(self, *arguments):
        return subprocess.Popen(
            [*KFDET, *map(str, arguments)], cwd=self.folder, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def gcs():
    gcs = FakeGcs()
    gcs.bucket("bucket")
    gcs.page_size = 4
    return gcs


@pytest.fixture(scope="module")
def machine(gcs, tmp_path_factory):
    """A machine whose data set is in the bucket, too."""
    with serving(gcs) as endpoint:
        machine = Machine(tmp_path_factory.mktemp("bucket") / "one", endpoint)
        machine.kfdet("data", "synth", "--out", "data", "--train", 48, "--val", 12, "--test", 12)
        for path in (machine.folder / "data").iterdir():
            gcs.put("bucket", f"data/{path.name}", path.read_bytes())
        here = configuration(at_least=0.0)
        there = {**here, "dataset": {k: f"gs://bucket/{v}" for k, v in here["dataset"].items()}}
        there["registry"] = {"uri": "gs://bucket/registry"}
        for name, config in (("here", here), ("there", there)):
            (machine.folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
        yield machine


def test_data_in_a_bucket_that_stumbles_are_those_of_a_folder(machine, gcs):
    machine.kfdet("validate", "here.yaml", "--out", "validated-here")
    gcs.faults = list(FAULTS)
    machine.kfdet("validate", "there.yaml", "--out", "validated-there")
    assert not gcs.faults
    here, there = (
        read_document(Manifest, machine.folder / f"validated-{where}" / "manifest.json")
        for where in ("here", "there")
    )
    for split in ("train", "val", "test"):
        local, remote = here.split(split), there.split(split)
        assert [shard.uri for shard in remote.shards] == [
            f"gs://bucket/{shard.uri}" for shard in local.shards
        ]
        moved = [shard.model_copy(update={"uri": ""}) for shard in remote.shards]
        assert moved == [shard.model_copy(update={"uri": ""}) for shard in local.shards]
        assert remote.digest == local.digest
    digests = [machine.kfdet("fingerprint", f"{name}.yaml").stdout for name in ("here", "there")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("uri", "environment", "said"),
    [
        ("gs://nowhere/label_map.pbtxt", {}, "there is no bucket nowhere. Check the name"),
        ("gs://locked/label_map.pbtxt", {}, "no permission: robot@project.iam.gserviceaccount.com"),
        ("gs://bucket/none.pbtxt", {}, "there is no such"),
        ("s3://bucket/label_map.pbtxt", {}, "is not known"),
        (
            "gs://bucket/label_map.pbtxt",
            {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9", "KFDET_STORAGE_DEADLINE_S": "0.5"},
            "the storage can't be reached",
        ),
        (
            "gs://bucket/label_map.pbtxt",
            {"STORAGE_EMULATOR_HOST": "", "NO_GCE_CHECK": "true", "HOME": "/nowhere"},
            "no credentials were found. Log in with `gcloud auth application-default login`",
        ),
    ],
)
def test_what_is_wrong_with_a_bucket_is_one_clear_sentence(machine, gcs, uri, environment, said):
    gcs.bucket("locked").denied = {"get", "list"}
    done = machine.kfdet(
        "fingerprint", "there.yaml", "--set", f"dataset.label_map={uri}", check=False,
        **environment,
    )  # fmt: skip
    assert done.returncode in (1, 10, 11)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_registry_that_is_not_there_ends_a_run_before_it_begins(machine):
    done = machine.kfdet(
        "run", "here.yaml", "--out", "never", "--set", "registry.uri=gs://nowhere/registry",
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no bucket nowhere. Check the name" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (machine.folder / "never").exists()


class Verbs:
    """The stages by hand, on a machine."""

    def __init__(self, machine):
        self.machine = machine
        self.inputs = (
            "--experiment", "rendered/experiment.json", "--manifest", "validated/manifest.json",
        )  # fmt: skip
        self.training = ("train", *self.inputs, "--model-root", "gs://bucket/models", "--out")

    def prepare(self):
        run = self.machine.kfdet
        run("validate", "there.yaml", "--out", "validated")
        run(
            "render", "there.yaml", "--manifest", "validated/manifest.json",
            "--statistics", "validated/statistics.json", "--out", "rendered",
        )  # fmt: skip

    def finish(self):
        """From the trained model to the published version."""
        run = self.machine.kfdet
        run("select", *self.inputs, "--summary", "trained/summary.json", "--out", "selected")
        selected = json.loads((self.machine.folder / "selected/ledger.json").read_text())
        best = next(
            entry["checkpoint"]["uri"]
            for entry in selected["entries"]
            if entry["checkpoint"]["step"] == selected["best_step"]
        )
        run("evaluate", *self.inputs, "--checkpoint", best, "--out", "evaluated")
        run(
            "merge", "evaluated/shard-00000-of-00001", "--manifest", "validated/manifest.json",
            "--out", "merged",
        )  # fmt: skip
        registry = ("--registry", "gs://bucket/registry", "--model", "tiny")
        run("gate", "merged/metrics.json", "--policy", "there.yaml", *registry, "--out", "gated")
        run(
            "export", *self.inputs, "--checkpoint", best, "--images", 8, "--out", "exported",
            "--export-root", "gs://bucket/models",
        )  # fmt: skip
        exported = json.loads((self.machine.folder / "exported/export.json").read_text())
        self.publish("gs://bucket/models/" + exported["checkpoint_digest"][:16], *registry)
        return best

    def publish(self, export, *registry):
        self.machine.kfdet(
            "publish", export, "--decision", "gated/decision.json",
            "--metrics", "merged/metrics.json", *registry, "--out", "published",
        )  # fmt: skip


def objects_below(gcs, prefix):
    found = gcs.bucket("bucket")
    return {name.removeprefix(prefix): found[name].content for name in found if prefix in name}


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
@pytest.mark.slow
def test_a_training_killed_in_mid_upload_goes_on_on_another_machine_and_is_published(
    machine, gcs, tmp_path
):
    verbs = Verbs(machine)
    verbs.prepare()
    process = verbs.machine.start(*verbs.training, "lost")

    def kill_between_data_and_index(_, path):
        if path.endswith("ckpt-40.index"):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)

    gcs.before = kill_between_data_and_index
    process.wait(timeout=300)
    gcs.before = None
    assert process.returncode == -signal.SIGKILL, process.stderr.read()
    names = {name.rpartition("/")[2] for name in gcs.bucket("bucket") if "/ckpt-" in name}
    assert names == {
        "ckpt-20.data-00000-of-00001", "ckpt-20.index", "ckpt-40.data-00000-of-00001",
    }  # fmt: skip

    other = Machine(tmp_path / "other", machine.endpoint)
    for name in ("there.yaml", "validated", "rendered"):
        (other.folder / name).symlink_to(machine.folder / name)
    verbs = Verbs(other)
    gcs.faults = [*FAULTS, *["answer lost", None, "half a chunk kept", None, "chunk changed"]]
    other.kfdet(*verbs.training, "trained")
    trained = read_document(TrainingSummary, other.folder / "trained/summary.json")
    assert trained.resumed_from == 20
    assert [ref.step for ref in trained.checkpoints] == [20, 40]
    best = verbs.finish()
    assert best.startswith("gs://bucket/models/")

    version = objects_below(gcs, "registry/tiny/versions/000001/")
    export = ExportManifest.model_validate_json(version[EXPORT_FILE])
    copy = tmp_path / "version"
    for file in export.files:
        (copy / file.path).parent.mkdir(parents=True, exist_ok=True)
        (copy / file.path).write_bytes(version[file.path])
    assert content_digest(describe_files(copy)) == export.content_digest

    # The same, published from a folder into a folder, is the same version to the byte.
    (copy / EXPORT_FILE).write_bytes(version[EXPORT_FILE])
    local = ("--registry", tmp_path / "registry", "--model", "tiny")
    verbs.publish(copy, *local)
    folder = tmp_path / "registry/tiny/versions/000001"
    written = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("version.json", "model_card.md")
    }
    assert written == {
        name: content
        for name, content in version.items()
        if name not in (".claim", "version.json", "model_card.md")
    }
    there = RegistryVersion.model_validate_json(version["version.json"])
    here = read_document(RegistryVersion, folder / "version.json")
    assert there == here.model_copy(update={"created": there.created})
    champions = (
        objects_below(gcs, "registry/tiny/")["champion.json"],
        (tmp_path / "registry/tiny/champion.json").read_bytes(),
    )
    assert champions[0] == champions[1]

    other.kfdet("predict", "gs://bucket/registry/tiny/versions/000001", _picture(tmp_path), "--raw")


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
@pytest.mark.slow
def test_a_whole_run_takes_its_data_from_a_bucket_and_publishes_there(machine, gcs):
    gcs.faults = list(FAULTS)
    record = run(machine, "there.yaml", "dataset.train=['gs://bucket/**/train-*.tfrecord']")
    assert (record.verdict, record.published_version) == ("pass", 1)
    champion = json.loads(objects_below(gcs, "other/tiny/")["champion.json"])
    assert champion["version"] == 1
    assert "version.json" in objects_below(gcs, "other/tiny/versions/000001/")


def run(machine, config, *overrides):
    overrides = ("registry.uri=gs://bucket/other", *overrides)
    machine.kfdet("run", config, "--out", "out", *(x for o in overrides for x in ("--set", o)))
    return read_document(RunRecord, machine.folder / "out" / "run.json")


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
@pytest.mark.slow
def test_a_champion_in_a_bucket_is_evaluated_again_on_another_test_set(machine, gcs):
    """Goes on where the whole run ended: its champion, its folder."""
    if "other/tiny/champion.json" not in gcs.bucket("bucket"):
        run(machine, "there.yaml")
    machine.kfdet(
        "data", "synth", "--out", "data2", "--train", 8, "--val", 4, "--test", 12, "--seed", 5
    )
    for path in (machine.folder / "data2").glob("test-*"):
        gcs.put("bucket", f"data2/{path.name}", path.read_bytes())
    config = yaml.safe_load((machine.folder / "there.yaml").read_text())
    config["gate"] = {
        "no_champion": "fail", "confidence": 0.5, "resamples": 100,
        "rules": [{"metric": "ar_100", "champion": {"max_drop": 1.0}}],
    }  # fmt: skip
    config["dataset"]["test"] = "gs://bucket/data2/test-*.tfrecord"
    # Another model, or there were nothing to compare.
    config["training"]["steps"] = 20
    (machine.folder / "compare.yaml").write_text(yaml.safe_dump(config))
    versions = objects_below(gcs, "other/tiny/versions/000001/")

    gcs.faults = list(FAULTS)
    record = run(machine, "compare.yaml")
    assert record.verdict == "pass"
    gate = next(stage for stage in record.stages if stage.stage == "gate")
    (rule,) = read_document(Decision, gate.outputs["decision_json"]).rules
    assert rule.champion is not None
    assert rule.standard_error is not None
    lines = (machine.folder / "out/logs/tasks.jsonl").read_text().splitlines()
    tasks = [TaskEvent.model_validate_json(line) for line in lines]
    done = {task.task for task in tasks if task.status == "done"}
    assert set(CHAMPION_TASKS) <= done
    kept = objects_below(gcs, "other/tiny/versions/000001/")
    assert versions.items() <= kept.items(), "what was published stays as it was"
    added = {name: content for name, content in kept.items() if name not in versions}
    assert all(name.startswith("measured/") for name in added)
    (metrics,) = [
        Metrics.model_validate_json(content)
        for name, content in added.items()
        if name.endswith("/metrics.json")
    ]
    export = ExportManifest.model_validate_json(kept[EXPORT_FILE])
    assert metrics.checkpoint_digest == export.content_digest
    assert metrics.overall.ar_100 == rule.champion
    assert metrics.images == 12


def _picture(folder):
    from PIL import Image

    path = folder / "picture.png"
    Image.new("RGB", (80, 60), "white").save(path)
    return path
