import pytest
from evaluation_cases import digest, metrics, statistics, write_export

from kfdet.core.gating import Champion, decide
from kfdet.core.release import check_release
from kfdet.errors import ArtifactError
from kfdet.schema.gate_policy import ChampionRule, GatePolicy, GateRule

POLICY = GatePolicy(rules=(GateRule(metric="ap", at_least=0.3),))


def test_a_pass_about_this_very_export_lets_it_out(tmp_path):
    measured = metrics(statistics(0.5))
    decision = decide(measured, policy=POLICY, champion=None)
    check_release(decision, measured, write_export(tmp_path), where="decision.json")


def test_insufficient_evidence_is_no_pass(tmp_path):
    measured = metrics(statistics(0.5))
    rival = Champion(
        version=1, metrics=metrics(checkpoint=digest("b"), split_digest=digest("other"))
    )
    policy = GatePolicy(
        no_champion="pass", rules=(GateRule(metric="ap", champion=ChampionRule(max_drop=0.5)),)
    )
    decision = decide(measured, policy=policy, champion=rival)
    with pytest.raises(ArtifactError, match="the decision is insufficient_evidence; expected pass"):
        check_release(decision, measured, write_export(tmp_path), where="decision.json")
