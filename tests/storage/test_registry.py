import dataclasses
import json
import shutil

import numpy as np
import pytest
from evaluation_cases import (
    CHECKPOINT,
    digest,
    label_map,
    metrics,
    random_data,
    statistics,
    write_export,
)

from kfdet.core.evidence import gather_evidence
from kfdet.core.gating import decide
from kfdet.errors import ArtifactError, ConfigError
from kfdet.schema.export import ChampionPointer, RegistryVersion
from kfdet.schema.gate_policy import ChampionRule, GatePolicy, GateRule
from kfdet.storage.documents import read_document
from kfdet.storage.evidence import write_evidence
from kfdet.storage.registry import ModelRegistry, Submission

THRESHOLD = GatePolicy(rules=(GateRule(metric="ap", at_least=0.1),))
COMPARISON = GatePolicy(
    no_champion="pass", rules=(GateRule(metric="ap", champion=ChampionRule(max_drop=0.1)),)
)


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "registry", model="shapes")


def submit(registry, folder, name, *, policy=THRESHOLD, against="now", ap=0.5):
    """Exports, gates and returns what publish gets; `against` is the champion that the gate saw."""
    checkpoint = digest(name)
    export = write_export(folder / name, checkpoint=checkpoint, content=name)
    measured = metrics(statistics(ap), checkpoint=checkpoint)
    champion = registry.champion() if against == "now" else against
    return Submission(
        folder=folder / name,
        export=export,
        metrics=measured,
        decision=decide(measured, policy=policy, champion=champion),
        run="run-1",
        created="2026-01-01T00:00:00+00:00",
        model_card=lambda number: f"# version {number}\n",
    )


def submit_with_evidence(registry, folder):
    """Returns what publish gets of a model whose metrics have evidence, and the evidence."""
    submission = submit(registry, folder, "a")
    matched = gather_evidence(random_data(1), label_map=label_map("circle", "square", "triangle"))
    measured = submission.metrics.model_copy(
        update={"evidence_digest": write_evidence(folder / "e", matched), "images": 7}
    )
    decision = decide(measured, policy=THRESHOLD, champion=None)
    whole = dataclasses.replace(
        submission, metrics=measured, decision=decision, evidence=folder / "e"
    )
    return whole, matched


def test_the_evidence_is_kept_with_its_version(registry, tmp_path):
    submission, matched = submit_with_evidence(registry, tmp_path)
    registry.publish(submission)
    champion = registry.champion()
    kept = registry.evidence(champion)
    np.testing.assert_array_equal(kept.hits, matched.hits)
    (tmp_path / "registry/shapes/versions/000001/evidence/objects.parquet").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="as metrics.json says"):
        registry.evidence(champion)


def test_evidence_of_other_metrics_is_not_published(registry, tmp_path):
    submission = submit(registry, tmp_path, "a")
    matched = gather_evidence(random_data(1), label_map=label_map("circle", "square", "triangle"))
    write_evidence(tmp_path / "e", matched)
    measured = submission.metrics.model_copy(update={"evidence_digest": digest("other")})
    with pytest.raises(ArtifactError, match="is not what the metrics follow from"):
        registry.publish(dataclasses.replace(submission, metrics=measured, evidence=tmp_path / "e"))
    assert registry.champion() is None


def test_a_version_without_evidence_has_none(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    assert registry.evidence(registry.champion()) is None


def test_an_empty_registry_has_no_champion(registry):
    assert registry.champion() is None


def test_the_first_publish_makes_version_one_the_champion(registry, tmp_path):
    published = registry.publish(submit(registry, tmp_path, "a"))
    folder = tmp_path / "registry/shapes/versions/000001"
    assert published.folder == str(folder)
    assert not published.already_published
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "decision.json", "export.json", "labels.txt", "metrics.json", "model_card.md",
        "saved_model/saved_model.pb", "saved_model/variables/variables.index", "version.json",
    ]  # fmt: skip
    assert (folder / "model_card.md").read_text() == "# version 1\n"
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.metrics.checkpoint_digest) == (1, digest("a"))


def test_a_second_publish_names_the_first_as_its_predecessor(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    registry.publish(submit(registry, tmp_path, "b"))
    pointer = read_document(ChampionPointer, tmp_path / "registry/shapes/champion.json")
    assert (pointer.version, pointer.previous_version) == (2, 1)


def test_publishing_the_champion_again_changes_nothing(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "registry").rglob("*"))
    again = registry.publish(submit(registry, tmp_path, "a"))
    assert again.already_published
    assert again.version.version == 1
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "registry").rglob("*"))


def test_an_older_model_can_become_the_champion_again(registry, tmp_path):
    for name in ("a", "b", "a"):
        registry.publish(submit(registry, tmp_path, name))
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.metrics.checkpoint_digest) == (3, digest("a"))


def test_a_publish_cut_short_before_the_pointer_is_finished_by_repeating_it(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    submission = submit(registry, tmp_path, "b")
    pointer = tmp_path / "registry/shapes/champion.json"
    old = pointer.read_bytes()
    registry.publish(submission)
    pointer.write_bytes(old)
    again = registry.publish(submission)
    assert again.already_published
    champion = registry.champion()
    assert champion is not None
    assert champion.version == 2
    assert len(list((tmp_path / "registry/shapes/versions").iterdir())) == 2


def test_a_pointer_set_back_stays_when_its_model_is_published_again(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    pointer = tmp_path / "registry/shapes/champion.json"
    old = pointer.read_bytes()
    registry.publish(submit(registry, tmp_path, "b"))
    pointer.write_bytes(old)
    registry.publish(submit(registry, tmp_path, "a"))
    champion = registry.champion()
    assert champion is not None
    assert champion.version == 1


@pytest.mark.parametrize("damage", ["changed", "longer", "missing"])
def test_a_file_that_differs_from_its_digest_is_refused(registry, tmp_path, damage):
    submission = submit(registry, tmp_path, "a")
    path = tmp_path / "a/saved_model/saved_model.pb"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("b" if damage == "changed" else "a and more")
    with pytest.raises(ArtifactError, match=r"saved_model\.pb"):
        registry.publish(submission)
    assert registry.champion() is None
    assert not list((tmp_path / "registry/shapes/versions").iterdir())


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "version.json", "a/../../b"])
def test_a_path_that_leads_elsewhere_is_refused(registry, tmp_path, path):
    submission = submit(registry, tmp_path, "a")
    entry = submission.export.files[0].model_copy(update={"path": path})
    from kfdet.storage.files import digest_of_digests

    export = submission.export.model_copy(
        update={
            "files": (entry,),
            "content_digest": digest_of_digests([(entry.path, entry.sha256)]),
        }
    )
    changed = Submission(**{**vars(submission), "export": export})
    with pytest.raises(ArtifactError, match="can't be a file of an export"):
        registry.publish(changed)


def test_a_content_digest_that_is_not_of_the_files_is_refused(registry, tmp_path):
    submission = submit(registry, tmp_path, "a")
    export = submission.export.model_copy(update={"content_digest": digest("x")})
    with pytest.raises(ArtifactError, match="content_digest is not that of its files"):
        registry.publish(Submission(**{**vars(submission), "export": export}))


def test_a_comparison_with_a_champion_of_the_past_is_refused(registry, tmp_path):
    first = submit(registry, tmp_path, "a", policy=COMPARISON)
    second = submit(registry, tmp_path, "b", policy=COMPARISON)
    registry.publish(first)
    with pytest.raises(ArtifactError, match=r"no champion, but now there is version 1.*gate again"):
        registry.publish(second)
    registry.publish(submit(registry, tmp_path, "b", policy=COMPARISON))
    champion = registry.champion()
    assert champion is not None
    assert champion.version == 2


def test_a_repeated_publish_is_no_comparison_with_the_past(registry, tmp_path):
    submission = submit(registry, tmp_path, "a", policy=COMPARISON)
    registry.publish(submission)
    assert registry.publish(submission).already_published


def test_thresholds_alone_do_not_depend_on_the_champion(registry, tmp_path):
    second = submit(registry, tmp_path, "b")
    registry.publish(submit(registry, tmp_path, "a"))
    assert registry.publish(second).version.version == 2


def damage_pointer(folder):
    (folder / "champion.json").write_text("{")


def lose_pointer(folder):
    (folder / "champion.json").unlink()


def lose_version(folder):
    shutil.rmtree(folder / "versions")


def lose_metrics(folder):
    (folder / "versions/000001/metrics.json").unlink()


def change_metrics(folder):
    path = folder / "versions/000001/metrics.json"
    text = json.loads(path.read_text())
    text["overall"]["ap"] = 0.01
    path.write_text(json.dumps(text))


def point_elsewhere(folder):
    path = folder / "champion.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"export_digest": digest("x")}))


def swap_version(folder):
    path = folder / "versions/000001/version.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "other"}))


@pytest.mark.parametrize(
    "damage",
    [damage_pointer, lose_pointer, lose_version, lose_metrics, change_metrics, point_elsewhere,
     swap_version],
)  # fmt: skip
def test_a_damaged_registry_is_an_error_and_not_an_empty_one(registry, tmp_path, damage):
    registry.publish(submit(registry, tmp_path, "a"))
    damage(tmp_path / "registry/shapes")
    with pytest.raises(ArtifactError):
        registry.champion()


def test_models_do_not_see_one_another(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    assert ModelRegistry(tmp_path / "registry", model="cells").champion() is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_model_needs_a_plain_name(tmp_path, name):
    with pytest.raises(ConfigError, match="can't name a model"):
        ModelRegistry(tmp_path, model=name)


def test_another_kind_of_place_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="Mount it as a volume"):
        ModelRegistry("s3://bucket/registry", model="shapes")


def test_the_record_says_what_was_published(registry, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    record = read_document(
        RegistryVersion, tmp_path / "registry/shapes/versions/000001/version.json"
    )
    assert record.checkpoint_digest == digest("a") != CHECKPOINT
    assert (record.run, record.created) == ("run-1", "2026-01-01T00:00:00+00:00")
