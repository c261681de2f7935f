import pytest
from evaluation_cases import digest, metrics, statistics

from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.schema.gate import Decision
from kfdet.schema.run_config import ChampionRule, GatePolicy, GateRule
from kfdet.stages import gate
from kfdet.storage.documents import read_document, write_document

POLICY = GatePolicy(
    rules=(
        GateRule(metric="ap50", at_least=0.4),
        GateRule(metric="ap", champion=ChampionRule(max_drop=0.05)),
    )
)


def run(folder, *, policy=POLICY, ap=0.5):
    write_document(folder / "metrics.json", metrics(statistics(ap), checkpoint=digest("candidate")))
    return gate.run(
        metrics=folder / "metrics.json",
        policy=policy,
        registry=str(folder / "registry"),
        model="shapes",
        decision=folder / "decision.json",
        report=folder / "report.html",
        progress=Progress("gate", quiet=True),
    )


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
