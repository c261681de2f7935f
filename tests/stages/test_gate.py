import pytest
from evaluation_cases import (
    digest,
    label_map,
    metrics,
    random_data,
    shard_result,
    statistics,
)

from kfdet.core.coco import evaluate, metrics_document
from kfdet.core.evidence import gather_evidence
from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.schema.gate import Decision
from kfdet.schema.gate_policy import ChampionRule, GatePolicy, GateRule
from kfdet.stages import gate
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.evidence import write_evidence

POLICY = GatePolicy(
    no_champion="pass",
    rules=(
        GateRule(metric="ap50", at_least=0.4),
        GateRule(metric="ap", champion=ChampionRule(max_drop=0.05)),
    ),
)


def run(folder, *, policy=POLICY, ap=0.5):
    write_document(folder / "metrics.json", metrics(statistics(ap), checkpoint=digest("candidate")))
    return gate.run(
        metrics=folder / "metrics.json",
        evidence=None,
        policy=policy,
        registry=str(folder / "registry"),
        model="shapes",
        decision=folder / "decision.json",
        report=folder / "report.html",
        progress=Progress("gate", quiet=True),
    )


def test_a_mistyped_model_is_not_taken_for_a_new_one_silently(tmp_path, capsys):
    publish_champion(tmp_path, ap=0.5)
    (tmp_path / "registry" / "shapes").rename(tmp_path / "registry" / "shappes")
    document = metrics(statistics(0.5), checkpoint=digest("candidate"))
    write_document(tmp_path / "metrics.json", document)
    answer = gate.run(
        metrics=tmp_path / "metrics.json", evidence=None, policy=POLICY,
        registry=str(tmp_path / "registry"), model="shapes",
        decision=tmp_path / "decision.json", report=tmp_path / "report.html",
        progress=Progress("gate"),
    )  # fmt: skip
    assert answer.decision == "pass"
    assert 'has "shappes". Did you mean "shappes"?' in capsys.readouterr().err


def publish_champion(folder, *, ap, name="champion"):
    """Publishes a model with that AP through the real stages."""
    from evaluation_cases import write_export

    from kfdet.core.gating import decide
    from kfdet.stages import publish

    measured = metrics(statistics(ap), checkpoint=digest(name))
    policy = GatePolicy(rules=(GateRule(metric="ap", at_least=0.0),))
    write_export(folder / name, checkpoint=digest(name), content=name)
    write_document(folder / "m.json", measured)
    write_document(folder / "d.json", decide(measured, policy=policy, champion=None))
    publish.run(
        export_uri=str(folder / name),
        decision=folder / "d.json",
        metrics=folder / "m.json",
        evidence=None,
        registry=str(folder / "registry"),
        model="shapes",
        run_name="r",
        created="then",
        version=folder / "v.json",
        progress=Progress("publish", quiet=True),
    )


def test_without_a_registry_the_thresholds_decide(tmp_path):
    result = run(tmp_path)
    assert (result.decision, result.holds, result.fails, result.unknown) == ("pass", 2, 0, 0)
    assert read_document(Decision, tmp_path / "decision.json").decision == "pass"
    assert not (tmp_path / "registry").exists()


def test_a_fail_is_an_answer_with_reasons_and_a_report(tmp_path):
    result = run(tmp_path, ap=0.3)
    assert result.decision == "fail"
    assert "ap50 is 0.3000, 0.1000 short of 0.4." in result.reasons
    page = (tmp_path / "report.html").read_text()
    assert "at least one rule fails" in page
    assert "0.1000 short of 0.4" in page


def test_the_champion_of_the_registry_is_compared_with(tmp_path):
    publish_champion(tmp_path, ap=0.6)
    result = run(tmp_path, ap=0.5)
    assert result.decision == "fail"
    assert "version 1" in result.reasons[0]
    decision = read_document(Decision, tmp_path / "decision.json")
    assert decision.champion_version == 1
    assert decision.rules[1].champion == 0.6
    assert "0.6" in (tmp_path / "report.html").read_text()
    assert run(tmp_path, ap=0.56).decision == "pass"


def test_a_damaged_registry_is_an_error_and_leaves_no_decision(tmp_path):
    publish_champion(tmp_path, ap=0.6)
    (tmp_path / "registry/shapes/versions/000001/metrics.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"metrics\.json"):
        run(tmp_path)
    assert not (tmp_path / "decision.json").exists()


def test_missing_metrics_are_an_error(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere\.json"):
        gate.run(
            metrics=tmp_path / "nowhere.json",
            evidence=None,
            policy=POLICY,
            registry=str(tmp_path / "registry"),
            model="shapes",
            decision=tmp_path / "decision.json",
            report=tmp_path / "report.html",
            progress=Progress("gate", quiet=True),
        )


def test_class_names_in_the_report_are_text(tmp_path):
    policy = GatePolicy(
        rules=(GateRule(metric="ap", class_name="<script>alert(1)</script>", at_least=0.1),)
    )
    assert run(tmp_path, policy=policy).decision == "fail"
    assert "<script>alert" not in (tmp_path / "report.html").read_text()


def test_a_policy_with_confidence_reads_the_evidence_beside_the_metrics(tmp_path):
    data = random_data(3, images=60)
    labels = label_map("circle", "square", "triangle")
    matched = gather_evidence(data, label_map=labels)
    measured = metrics_document(
        evaluate(data, label_map=labels), data, shard_result(data), label_map=labels,
        evidence_digest=write_evidence(tmp_path / "evidence", matched),
    )  # fmt: skip
    write_document(tmp_path / "metrics.json", measured)
    rule = {"metric": "ap", "at_least": measured.overall.ap - 0.12}

    def judged(evidence):
        return gate.run(
            metrics=tmp_path / "metrics.json",
            evidence=evidence,
            policy=GatePolicy.model_validate({"rules": [rule], "confidence": 0.9}),
            registry=str(tmp_path / "registry"),
            model="shapes",
            decision=tmp_path / "decision.json",
            report=tmp_path / "report.html",
            progress=Progress("gate", quiet=True),
        ).decision

    assert judged(tmp_path / "evidence") == "pass"
    assert "90 % interval" in (tmp_path / "report.html").read_text()
    assert judged(None) == "insufficient_evidence"
    (tmp_path / "evidence" / "objects.parquet").write_bytes(b"")
    with pytest.raises(ArtifactError, match="belongs to other metrics"):
        judged(tmp_path / "evidence")
