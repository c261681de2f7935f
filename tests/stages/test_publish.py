import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from evaluation_cases import digest, metrics, statistics, write_export

from kfdet.core.gating import decide
from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.schema.export import ChampionPointer, RegistryVersion
from kfdet.schema.gate_policy import GatePolicy, GateRule
from kfdet.stages import publish
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.registry import ModelRegistry

POLICY = GatePolicy(rules=(GateRule(metric="ap", at_least=0.3),))


def prepare(folder: Path, name: str = "a", *, ap: float = 0.5, parity: bool = True) -> Path:
    """Writes an export, its metrics and the gate's decision into a folder."""
    measured = metrics(statistics(ap), checkpoint=digest(name))
    write_export(folder / "export", checkpoint=digest(name), content=name, parity=parity)
    write_document(folder / "metrics.json", measured)
    write_document(folder / "decision.json", decide(measured, policy=POLICY, champion=None))
    return folder


def run(folder: Path, registry: Path) -> publish.PublishResult:
    return publish.run(
        export_uri=str(folder / "export"),
        decision=folder / "decision.json",
        metrics=folder / "metrics.json",
        evidence=None,
        registry=str(registry),
        model="shapes",
        run_name="nightly",
        created="2026-01-01T00:00:00+00:00",
        version=folder / "version.json",
        progress=Progress("publish", quiet=True),
    )


def versions(registry: Path) -> list[str]:
    return sorted(
        p.name for p in (registry / "shapes/versions").iterdir() if not p.name.startswith(".")
    )


def test_a_pass_is_published_with_its_record_and_card(tmp_path):
    result = run(prepare(tmp_path), tmp_path / "registry")
    assert (result.version, result.already_published) == (1, False)
    folder = Path(result.uri)
    assert folder == tmp_path / "registry/shapes/versions/000001"
    assert read_document(RegistryVersion, tmp_path / "version.json") == read_document(
        RegistryVersion, folder / "version.json"
    )
    card = (folder / "model_card.md").read_text()
    assert card.startswith("# shapes, version 1\n")
    assert "| circle | 10 | 0.500 |" in card
    assert "ap is 0.5000, at least 0.3." in card
    assert digest("a") in card


def test_the_time_of_publishing_is_recorded_when_none_is_given(tmp_path):
    folder = prepare(tmp_path)
    publish.run(
        export_uri=str(folder / "export"),
        decision=folder / "decision.json",
        metrics=folder / "metrics.json",
        evidence=None,
        registry=str(tmp_path / "registry"),
        model="shapes",
        run_name="nightly",
        version=folder / "version.json",
        progress=Progress("publish", quiet=True),
    )
    created = read_document(RegistryVersion, tmp_path / "version.json").created
    assert created.endswith("+00:00")


def test_publishing_twice_makes_one_version(tmp_path):
    folder = prepare(tmp_path)
    run(folder, tmp_path / "registry")
    again = run(folder, tmp_path / "registry")
    assert (again.version, again.already_published) == (1, True)
    assert versions(tmp_path / "registry") == ["000001"]


def test_anything_but_a_pass_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"the decision is fail; expected pass.*short of 0\.3"):
        run(prepare(tmp_path, ap=0.1), tmp_path / "registry")
    assert not (tmp_path / "registry").exists()


def test_a_decision_on_other_metrics_is_refused(tmp_path):
    folder = prepare(tmp_path)
    write_document(folder / "metrics.json", metrics(statistics(0.9), checkpoint=digest("a")))
    with pytest.raises(ArtifactError, match="made on metrics"):
        run(folder, tmp_path / "registry")


def test_a_decision_about_another_checkpoint_is_refused(tmp_path):
    folder = prepare(tmp_path)
    write_export(folder / "export", checkpoint=digest("b"), content="b")
    with pytest.raises(ArtifactError, match="about checkpoint"):
        run(folder, tmp_path / "registry")


def test_an_export_that_failed_its_parity_check_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not answer like its checkpoint"):
        run(prepare(tmp_path, parity=False), tmp_path / "registry")


def test_a_folder_without_its_manifest_is_no_export(tmp_path):
    folder = prepare(tmp_path)
    (folder / "export/export.json").unlink()
    with pytest.raises(ArtifactError, match=r"export\.json"):
        run(folder, tmp_path / "registry")


def _publish_in_process(folder: Path, registry: Path, start: object, answers: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    answers.put(run(folder, registry))  # type: ignore[attr-defined]


def _at_once(folders: list[Path], registry: Path) -> list[publish.PublishResult]:
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(len(folders)), context.Queue()
    processes = [
        context.Process(target=_publish_in_process, args=(folder, registry, start, answers))
        for folder in folders
    ]
    for process in processes:
        process.start()
    results = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return results


def test_publishers_at_the_same_time_lose_no_version(tmp_path):
    folders = [prepare(tmp_path / f"p{i}", f"model {i}") for i in range(8)]
    registry = tmp_path / "registry"
    results = _at_once(folders, registry)
    assert sorted(result.version for result in results) == list(range(1, 9))
    assert versions(registry) == [f"{i:06d}" for i in range(1, 9)]
    digests = {
        read_document(
            RegistryVersion, registry / f"shapes/versions/{name}/version.json"
        ).checkpoint_digest
        for name in versions(registry)
    }
    assert digests == {digest(f"model {i}") for i in range(8)}
    assert read_document(ChampionPointer, registry / "shapes/champion.json").version == 8
    assert not [p for p in (registry / "shapes/versions").iterdir() if p.name.startswith(".")]


def test_the_same_export_published_at_the_same_time_is_one_version(tmp_path):
    folders = [prepare(tmp_path / f"p{i}", "the same") for i in range(6)]
    results = _at_once(folders, tmp_path / "registry")
    assert {result.version for result in results} == {1}
    assert sum(not result.already_published for result in results) == 1
    assert versions(tmp_path / "registry") == ["000001"]


KILLED = """
import os, signal, sys
from pathlib import Path
from kfdet.storage import registry
sys.path.insert(0, {tests!r})

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

target, name = {point!r}.rsplit(".", 1)
owner = {{"registry": registry, "ModelRegistry": registry.ModelRegistry, "os": os}}[target]
setattr(owner, name, die)
from test_publish import run
run(Path({folder!r}), Path({registry!r}))
"""


@pytest.mark.parametrize(
    "point", ["registry._copy_file", "registry.write_text", "os.rename", "ModelRegistry._crown"]
)
def test_a_killed_publish_leaves_no_half_version_and_can_be_repeated(tmp_path, point):
    registry = tmp_path / "registry"
    run(prepare(tmp_path / "old", "old"), registry)
    folder = prepare(tmp_path / "new", "new")
    code = KILLED.format(
        tests=str(Path(__file__).parent), point=point, folder=str(folder), registry=str(registry)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    champion = ModelRegistry(registry, model="shapes").champion()
    assert champion is not None
    assert champion.version == 1
    for name in versions(registry):
        read_document(RegistryVersion, registry / f"shapes/versions/{name}/version.json")
    assert run(folder, registry).version == 2
    champion = ModelRegistry(registry, model="shapes").champion()
    assert champion is not None
    assert champion.metrics.checkpoint_digest == digest("new")
    assert versions(registry) == ["000001", "000002"]
