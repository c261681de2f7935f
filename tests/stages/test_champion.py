"""champion and record: the champion is measured again where that is needed, and only there."""

import dataclasses

import pytest
from evaluation_cases import (
    digest,
    label_map,
    manifest,
    random_data,
    shard_result,
    split_manifest,
    write_export,
)

from kfdet.core.coco import evaluate, metrics_document
from kfdet.core.evidence import gather_evidence
from kfdet.core.gating import decide
from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.schema.gate import Decision
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.training import SelectedCheckpoint
from kfdet.stages import champion, gate, publish, record
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.evidence import write_evidence

LABELS = label_map("circle", "square")
COMPARES = GatePolicy.model_validate(
    {
        "no_champion": "pass", "confidence": 0.9, "resamples": 100,
        "rules": [{"metric": "ap", "champion": {"max_drop": 0.5}}],
    }
)  # fmt: skip
THRESHOLD = GatePolicy.model_validate({"rules": [{"metric": "ap", "at_least": 0.0}]})
PUBLISHED_ON, NEW = "test", "another test set"


def write_metrics(folder, *, model, split, seed=1, labels=LABELS):
    """Metrics of a model on a split, with the evidence beside them."""
    data = random_data(seed, images=30, classes=len(labels.classes), unlisted_class=False)
    matched = gather_evidence(data, label_map=labels)
    document = metrics_document(
        evaluate(data, label_map=labels), data,
        shard_result(data, checkpoint_digest=model, split_digest=digest(split)), label_map=labels,
        evidence_digest=write_evidence(folder / "evidence", matched),
    )  # fmt: skip
    write_document(folder / "metrics.json", document)
    return document


def publish_champion(folder, *, labels=LABELS):
    """Publishes a model that was measured on PUBLISHED_ON; returns its export's manifest."""
    export = write_export(folder / "export", checkpoint=digest("champion"))
    document = write_metrics(
        folder / "published", model=digest("champion"), split=PUBLISHED_ON, labels=labels
    )
    decision = decide(document, policy=THRESHOLD, champion=None)
    write_document(folder / "d.json", decision)
    publish.run(
        export_uri=str(folder / "export"), decision=folder / "d.json",
        metrics=folder / "published" / "metrics.json", evidence=folder / "published" / "evidence",
        registry=str(folder / "registry"), model="shapes", run_name="r", created="then",
        version=folder / "v.json", progress=Progress("publish", quiet=True),
    )  # fmt: skip
    return export


def look(folder, *, split=NEW, policy=COMPARES, labels=LABELS):
    write_document(folder / "manifest.json", manifest(split_manifest([30], name=split), labels))
    return champion.run(
        policy=policy, registry=str(folder / "registry"), model="shapes", split="test",
        manifest=folder / "manifest.json", selected=folder / "selected.json",
        progress=Progress("champion", quiet=True),
    )  # fmt: skip


def keep(folder, measured):
    return record.run(
        registry=str(folder / "registry"), model="shapes", metrics=measured / "metrics.json",
        evidence=measured / "evidence", progress=Progress("record", quiet=True),
    )  # fmt: skip


def judge(folder, *, policy=COMPARES, split=NEW):
    write_metrics(folder / "candidate", model=digest("candidate"), split=split, seed=2)
    gate.run(
        metrics=folder / "candidate" / "metrics.json", evidence=folder / "candidate" / "evidence",
        policy=policy, registry=str(folder / "registry"), model="shapes",
        decision=folder / "decision.json", report=folder / "report.html",
        progress=Progress("gate", quiet=True),
    )  # fmt: skip
    return read_document(Decision, folder / "decision.json")


def test_without_a_champion_nothing_is_measured(tmp_path):
    assert look(tmp_path) == champion.ChampionResult(answer="keep", version=None)


def test_on_the_same_images_nothing_is_measured(tmp_path):
    publish_champion(tmp_path)
    assert look(tmp_path, split=PUBLISHED_ON).answer == "keep"


def test_a_policy_that_does_not_compare_asks_for_nothing(tmp_path):
    publish_champion(tmp_path)
    assert look(tmp_path, policy=THRESHOLD).answer == "keep"


def test_other_classes_are_not_measured(tmp_path):
    publish_champion(tmp_path)
    assert look(tmp_path, labels=label_map("circle", "triangle")).answer == "keep"


def test_on_other_images_its_export_is_named_for_evaluation(tmp_path):
    export = publish_champion(tmp_path)
    assert look(tmp_path) == champion.ChampionResult(answer="evaluate", version=1)
    named = read_document(SelectedCheckpoint, tmp_path / "selected.json").checkpoint
    assert named.digest == export.content_digest
    assert named.uri == str(tmp_path / "registry/shapes/versions/000001")


def test_what_was_measured_again_is_compared_with_and_not_measured_twice(tmp_path):
    export = publish_champion(tmp_path)
    assert judge(tmp_path).decision == "insufficient_evidence"
    again = write_metrics(tmp_path / "again", model=export.content_digest, split=NEW, seed=7)
    assert keep(tmp_path, tmp_path / "again").version == 1
    assert look(tmp_path).answer == "keep"
    decision = judge(tmp_path)
    assert decision.rules[0].champion == again.overall.ap
    assert decision.rules[0].standard_error is not None
    assert "measured again" in (tmp_path / "report.html").read_text()
    # The champion's own numbers stay what they were.
    assert look(tmp_path, split=PUBLISHED_ON).answer == "keep"
    assert judge(tmp_path, split=PUBLISHED_ON).rules[0].champion != again.overall.ap


def test_keeping_it_twice_changes_nothing(tmp_path):
    export = publish_champion(tmp_path)
    for seed in (7, 8):
        folder = tmp_path / f"again {seed}"
        write_metrics(folder, model=export.content_digest, split=NEW, seed=seed)
        keep(tmp_path, folder)
    first = (tmp_path / "again 7" / "metrics.json").read_text()
    kept = tmp_path / f"registry/shapes/versions/000001/measured/{digest(NEW)}"
    assert (kept / "metrics.json").read_text() == first


def test_metrics_of_another_model_are_not_kept(tmp_path):
    publish_champion(tmp_path)
    write_metrics(tmp_path / "other", model=digest("other"), split=NEW)
    with pytest.raises(ArtifactError, match="Another model was published meanwhile"):
        keep(tmp_path, tmp_path / "other")
    assert not list(tmp_path.rglob("measured"))


def test_evidence_that_is_not_theirs_is_not_kept(tmp_path):
    export = publish_champion(tmp_path)
    write_metrics(tmp_path / "again", model=export.content_digest, split=NEW)
    (tmp_path / "again/evidence/objects.parquet").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not what the metrics follow from"):
        keep(tmp_path, tmp_path / "again")
    assert not list(tmp_path.rglob("measured"))


def test_a_champion_of_other_classes_can_not_be_compared_with(tmp_path):
    publish_champion(tmp_path, labels=label_map("circle", "triangle"))
    decision = judge(tmp_path, split=PUBLISHED_ON)
    assert decision.decision == "insufficient_evidence"
    assert '"triangle", which this model has not and has not "square"' in decision.reasons[0]


def test_the_very_model_is_known_again_by_its_checkpoint(tmp_path):
    export = publish_champion(tmp_path)
    write_metrics(tmp_path / "again", model=export.content_digest, split=NEW)
    keep(tmp_path, tmp_path / "again")
    found = dataclasses.replace(
        gate.ModelRegistry(str(tmp_path / "registry"), model="shapes").champion(), evidence=None
    )
    assert found.is_of(found.metrics)
    write_metrics(tmp_path / "same", model=digest("champion"), split=NEW)
    gate.run(
        metrics=tmp_path / "same/metrics.json", evidence=tmp_path / "same/evidence",
        policy=COMPARES, registry=str(tmp_path / "registry"), model="shapes",
        decision=tmp_path / "decision.json", report=tmp_path / "report.html",
        progress=Progress("gate", quiet=True),
    )  # fmt: skip
    assert "is this very model" in read_document(Decision, tmp_path / "decision.json").reasons[0]
