"""champion and record: the champion is measured again where that is needed, and only there."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

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
from kfdet.schema.metrics import COCO, MeasurementConfig
from kfdet.schema.training import SelectedCheckpoint
from kfdet.stages import champion, gate, publish, record
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.evidence import write_evidence
from kfdet.storage.stores import store_of

LABELS = label_map("circle", "square")
COMPARES = GatePolicy.model_validate(
    {
        "no_champion": "pass", "confidence": 0.9, "resamples": 100,
        "rules": [{"metric": "ap", "champion": {"max_drop": 0.5}}],
    }
)  # fmt: skip
THRESHOLD = GatePolicy.model_validate({"rules": [{"metric": "ap", "at_least": 0.0}]})
PUBLISHED_ON, NEW = "test", "another test set"
PLAIN = MeasurementConfig()
WIDER = MeasurementConfig(areas={"tiny": (0, 900)}, max_detections=(1, 300))


def write_metrics(folder, *, model, split, seed=1, labels=LABELS, settings=COCO):
    """Metrics of a model on a split, with the evidence beside them."""
    data = random_data(seed, images=30, classes=len(labels.classes), unlisted_class=False)
    matched = gather_evidence(data, label_map=labels, settings=settings)
    document = metrics_document(
        evaluate(data, label_map=labels, settings=settings), data,
        shard_result(data, checkpoint_digest=model, split_digest=digest(split)), label_map=labels,
        evidence_digest=write_evidence(folder / "evidence", matched),
    )  # fmt: skip
    write_document(folder / "metrics.json", document)
    return document


@dataclass
class Case:
    """A folder to work in, and a registry."""

    folder: Path
    registry: str

    def kept(self, name):
        """Name to content of all objects of the registry below a folder of that name."""
        store = store_of(self.registry)
        found = [one.location for one in store.list(f"{self.registry}/")]
        return {place: store.read(place) for place in found if f"/{name}/" in place}


@pytest.fixture(params=["folder", "bucket"])
def case(request, tmp_path):
    if request.param == "folder":
        return Case(tmp_path, str(tmp_path / "registry"))
    request.getfixturevalue("remote")
    return Case(tmp_path, "gs://bucket/registry")


def publish_champion(case, *, labels=LABELS):
    """Publishes a model that was measured on PUBLISHED_ON; returns its export's manifest."""
    folder = case.folder
    export = write_export(folder / "export", checkpoint=digest("champion"))
    document = write_metrics(
        folder / "published", model=digest("champion"), split=PUBLISHED_ON, labels=labels
    )
    decision = decide(document, policy=THRESHOLD, champion=None)
    write_document(folder / "d.json", decision)
    publish.run(
        export_uri=str(folder / "export"), decision=folder / "d.json",
        metrics=folder / "published" / "metrics.json", evidence=folder / "published" / "evidence",
        registry=case.registry, model="shapes", run_name="r", created="then",
        version=folder / "v.json", progress=Progress("publish", quiet=True),
    )  # fmt: skip
    return export


def look(case, *, split=NEW, policy=COMPARES, labels=LABELS, config=PLAIN):
    folder = case.folder
    write_document(folder / "manifest.json", manifest(split_manifest([30], name=split), labels))
    return champion.run(
        policy=policy, registry=case.registry, model="shapes", split="test", config=config,
        manifest=folder / "manifest.json", selected=folder / "selected.json",
        progress=Progress("champion", quiet=True),
    )  # fmt: skip


def keep(case, measured):
    return record.run(
        registry=case.registry, model="shapes", metrics=measured / "metrics.json",
        evidence=measured / "evidence", progress=Progress("record", quiet=True),
    )  # fmt: skip


def judge(case, *, policy=COMPARES, split=NEW, settings=COCO):
    folder = case.folder
    write_metrics(
        folder / "candidate", model=digest("candidate"), split=split, seed=2, settings=settings
    )
    gate.run(
        metrics=folder / "candidate" / "metrics.json", evidence=folder / "candidate" / "evidence",
        policy=policy, registry=case.registry, model="shapes",
        decision=folder / "decision.json", report=folder / "report.html",
        progress=Progress("gate", quiet=True),
    )  # fmt: skip
    return read_document(Decision, folder / "decision.json")


def test_without_a_champion_nothing_is_measured(case):
    assert look(case) == champion.ChampionResult(answer="keep", version=None)


def test_on_the_same_images_nothing_is_measured(case):
    publish_champion(case)
    assert look(case, split=PUBLISHED_ON).answer == "keep"


def test_a_policy_that_does_not_compare_asks_for_nothing(case):
    publish_champion(case)
    assert look(case, policy=THRESHOLD).answer == "keep"


def test_other_classes_are_not_measured(case):
    publish_champion(case)
    assert look(case, labels=label_map("circle", "triangle")).answer == "keep"


def test_on_other_images_its_export_is_named_for_evaluation(case):
    export = publish_champion(case)
    assert look(case) == champion.ChampionResult(answer="evaluate", version=1)
    named = read_document(SelectedCheckpoint, case.folder / "selected.json").checkpoint
    assert named.digest == export.content_digest
    assert named.uri == f"{case.registry}/shapes/versions/000001"


def test_what_was_measured_again_is_compared_with_and_not_measured_twice(case):
    export = publish_champion(case)
    assert judge(case).decision == "insufficient_evidence"
    again = write_metrics(case.folder / "again", model=export.content_digest, split=NEW, seed=7)
    assert keep(case, case.folder / "again").version == 1
    assert look(case).answer == "keep"
    decision = judge(case)
    assert decision.rules[0].champion == again.overall.ap
    assert decision.rules[0].standard_error is not None
    assert "measured again" in (case.folder / "report.html").read_text()
    # The champion's own numbers stay what they were.
    assert look(case, split=PUBLISHED_ON).answer == "keep"
    assert judge(case, split=PUBLISHED_ON).rules[0].champion != again.overall.ap


def test_by_other_settings_it_is_measured_again_on_the_same_images(case):
    export = publish_champion(case)
    chosen, place = WIDER.settings(), {"split": PUBLISHED_ON}
    assert look(case, **place, config=WIDER).answer == "evaluate"
    asked = GatePolicy.model_validate(
        COMPARES.model_dump() | {"rules": [{"metric": "ap_tiny", "champion": {"max_drop": 0.5}}]}
    )
    before = judge(case, policy=asked, **place, settings=chosen)
    assert before.decision == "insufficient_evidence"
    assert "by other IoU thresholds, areas or counts" in before.reasons[0]
    again = case.folder / "again"
    write_metrics(again, model=export.content_digest, **place, settings=chosen)
    keep(case, again)
    assert look(case, **place, config=WIDER).answer == "keep"
    assert look(case, **place).answer == "keep"
    compared = judge(case, policy=asked, **place, settings=chosen).rules[0]
    assert compared.champion is not None
    assert compared.standard_error is not None
    # On other images it is still unknown by these settings, and by COCO's.
    assert look(case, config=WIDER).answer == look(case).answer == "evaluate"


def test_keeping_it_twice_changes_nothing(case):
    export = publish_champion(case)
    kept = []
    for seed in (7, 8):
        folder = case.folder / f"again {seed}"
        write_metrics(folder, model=export.content_digest, split=NEW, seed=seed)
        keep(case, folder)
        kept.append(case.kept("measured"))
    assert kept[0] == kept[1]
    (metrics,) = [name for name in kept[0] if name.endswith("/metrics.json")]
    assert metrics.endswith(f"/shapes/versions/000001/measured/{digest(NEW)}/metrics.json")
    assert kept[0][metrics] == (case.folder / "again 7" / "metrics.json").read_bytes()


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("when", range(0, 40, 3))
def test_of_two_runs_that_keep_it_at_the_same_time_one_is_kept_whole(tmp_path, gcs, when):
    """On another machine, inference may end in other scores."""
    case = Case(tmp_path, "gs://bucket/registry")
    export = publish_champion(case)
    for seed in (7, 8):
        write_metrics(tmp_path / f"again {seed}", model=export.content_digest, split=NEW, seed=seed)
    requests = []

    def overtake(*request):
        requests.append(request)
        if len(requests) == when + 1:
            gcs.before = None
            keep(case, tmp_path / "again 8")

    gcs.before = overtake
    keep(case, tmp_path / "again 7")
    gcs.before = None
    decision = judge(case)
    assert decision.rules[0].standard_error is not None
    kept = case.kept("measured")
    (metrics,) = [content for name, content in kept.items() if name.endswith("/metrics.json")]
    assert metrics in [
        (tmp_path / f"again {seed}" / "metrics.json").read_bytes() for seed in (7, 8)
    ]


def test_metrics_of_another_model_are_not_kept(case):
    publish_champion(case)
    write_metrics(case.folder / "other", model=digest("other"), split=NEW)
    with pytest.raises(ArtifactError, match="Another model was published meanwhile"):
        keep(case, case.folder / "other")
    assert not case.kept("measured")


def test_evidence_that_is_not_theirs_is_not_kept(case):
    export = publish_champion(case)
    write_metrics(case.folder / "again", model=export.content_digest, split=NEW)
    (case.folder / "again/evidence/objects.parquet").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not what the metrics follow from"):
        keep(case, case.folder / "again")
    assert not case.kept("measured")


def test_a_champion_of_other_classes_can_not_be_compared_with(case):
    publish_champion(case, labels=label_map("circle", "triangle"))
    decision = judge(case, split=PUBLISHED_ON)
    assert decision.decision == "insufficient_evidence"
    assert '"triangle", which this model has not and has not "square"' in decision.reasons[0]


def test_the_very_model_is_known_again_by_its_checkpoint(case):
    export = publish_champion(case)
    write_metrics(case.folder / "again", model=export.content_digest, split=NEW)
    keep(case, case.folder / "again")
    found = dataclasses.replace(
        gate.ModelRegistry(case.registry, model="shapes").champion(), evidence=None
    )
    assert found.is_of(found.metrics)
    write_metrics(case.folder / "same", model=digest("champion"), split=NEW)
    gate.run(
        metrics=case.folder / "same/metrics.json", evidence=case.folder / "same/evidence",
        policy=COMPARES, registry=case.registry, model="shapes",
        decision=case.folder / "decision.json", report=case.folder / "report.html",
        progress=Progress("gate", quiet=True),
    )  # fmt: skip
    assert "is this very model" in read_document(Decision, case.folder / "decision.json").reasons[0]
