import dataclasses
import math

import pytest
from evaluation_cases import digest, metrics, statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.gating import Champion, decide
from kfdet.errors import ConfigError
from kfdet.schema.base import parse
from kfdet.schema.gate_policy import ChampionRule, GatePolicy, GateRule
from kfdet.schema.metrics import METRIC_NAMES, CocoSettings

OTHER = digest("another checkpoint")


def policy(*rules: GateRule, no_champion: str = "pass") -> GatePolicy:
    return GatePolicy.model_validate({"rules": rules, "no_champion": no_champion})


def at_least(value: float, metric: str = "ap50", class_name: str | None = None) -> GateRule:
    return GateRule.model_validate({"metric": metric, "class_name": class_name, "at_least": value})


def against(metric: str = "ap", **rule: float) -> GateRule:
    return GateRule.model_validate({"metric": metric, "champion": rule})


def champion(ap: float | None = 0.5, **changes: str) -> Champion:
    return Champion(version=4, metrics=metrics(statistics(ap), checkpoint=OTHER, **changes))


values = st.one_of(st.none(), st.floats(0, 1))
rules = st.builds(
    lambda metric, class_name, threshold, rule: GateRule.model_validate(
        {"metric": metric, "class_name": class_name, "at_least": threshold, "champion": rule}
    ),
    metric=st.sampled_from(METRIC_NAMES),
    class_name=st.sampled_from([None, "circle", "square", "hexagon"]),
    threshold=st.floats(0, 1),
    rule=st.sampled_from([None, {"max_drop": 0.1}, {"min_gain": 0.0}, {"min_gain": 0.05}]),
)
candidates = st.builds(
    lambda overall, circle: metrics(statistics(overall), classes={"circle": statistics(circle)}),
    values,
    values,
)
champions = st.one_of(
    st.none(),
    st.builds(champion, values, split_digest=st.sampled_from([digest("test"), digest("other")])),
)
RANK = {"fail": 0, "insufficient_evidence": 1, "pass": 2}


@settings(max_examples=200)
@given(
    candidate=candidates,
    chosen=st.lists(rules, min_size=1, max_size=4),
    rival=champions,
    raises=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    no_champion=st.sampled_from(["pass", "fail"]),
)
def test_raising_a_threshold_never_betters_the_decision(
    candidate, chosen, rival, raises, no_champion
):
    stricter = [
        rule.model_copy(update={"at_least": min(1.0, rule.at_least + more)})
        for rule, more in zip(chosen, raises, strict=False)
    ]
    before = decide(
        candidate, policy=policy(*chosen, no_champion=no_champion), champion=rival
    ).decision
    after = decide(
        candidate, policy=policy(*stricter, no_champion=no_champion), champion=rival
    ).decision
    assert RANK[after] <= RANK[before]


@settings(max_examples=100)
@given(candidate=candidates, chosen=st.lists(rules, min_size=1, max_size=3), rival=champions)
def test_another_rule_never_betters_the_decision(candidate, chosen, rival):
    fewer = decide(candidate, policy=policy(*chosen), champion=rival).decision
    more = decide(candidate, policy=policy(*chosen, at_least(0.7, "ap75")), champion=rival).decision
    assert RANK[more] <= RANK[fewer]


@settings(max_examples=100)
@given(candidate=candidates, chosen=st.lists(rules, min_size=1, max_size=3), rival=champions)
def test_a_pass_means_that_every_rule_holds_on_numbers(candidate, chosen, rival):
    decision = decide(candidate, policy=policy(*chosen), champion=rival)
    if decision.decision == "pass":
        assert all(rule.outcome == "holds" and rule.seen is not None for rule in decision.rules)
    assert decision.reasons


def test_the_threshold_itself_is_enough():
    decision = decide(metrics(statistics(0.9)), policy=policy(at_least(0.9)), champion=None)
    assert decision.decision == "pass"
    assert decision.reasons == ("ap50 is 0.9000, at least 0.9.",)


def test_below_the_threshold_fails_and_says_by_how_much():
    decision = decide(metrics(statistics(0.88)), policy=policy(at_least(0.9)), champion=None)
    assert decision.decision == "fail"
    assert decision.reasons == ("ap50 is 0.8800, 0.0200 short of 0.9.",)
    assert decision.rules[0].rule == "ap50 at least 0.9"


def test_a_rule_on_a_class_reads_that_class():
    weak = metrics(classes={"circle": statistics(0.9), "square": statistics(0.2)})
    decision = decide(
        weak,
        policy=policy(at_least(0.5, class_name="circle"), at_least(0.5, class_name="square")),
        champion=None,
    )
    assert [rule.outcome for rule in decision.rules] == ["holds", "fails"]
    assert decision.decision == "fail"


def test_an_unknown_class_fails_and_names_the_nearest():
    decision = decide(metrics(), policy=policy(at_least(0.0, class_name="cirle")), champion=None)
    assert decision.decision == "fail"
    assert 'no class "cirle". Did you mean "circle"?' in decision.reasons[0]


def test_an_undefined_metric_fails_even_at_a_threshold_of_zero():
    decision = decide(
        metrics(statistics(0.9, ap_small=None)),
        policy=policy(at_least(0.0, "ap_small")),
        champion=None,
    )
    assert decision.decision == "fail"
    assert "undefined" in decision.reasons[0]
    assert decision.rules[0].seen is None


@pytest.mark.parametrize(("boxes", "value"), [(0, None), (9, 0.9)])
def test_what_rests_on_too_few_boxes_is_not_told_even_when_there_is_none(boxes, value):
    scarce = metrics(classes={"circle": statistics(value)})
    (entry,) = scarce.classes
    scarce = scarce.model_copy(
        update={"classes": (entry.model_copy(update={"boxes": boxes, "boxes_by_area": {"small": 3}}),)}
    )  # fmt: skip
    asked = policy(at_least(0.5, class_name="circle")).model_copy(update={"min_boxes": 10})
    decision = decide(scarce, policy=asked, champion=None)
    assert decision.decision == "insufficient_evidence"
    assert f"rests on {boxes} boxes" in decision.reasons[0]
    assert "from 10 on" in decision.reasons[0]
    strange = policy(at_least(0.5, class_name="cube")).model_copy(update={"min_boxes": 10})
    assert decide(scarce, policy=strange, champion=None).decision == "fail"


@pytest.mark.parametrize(
    ("key", "where"),
    [("at_least", "rules.0"), ("at", "rules.0"), ("min_boxes", ""), ("confidence", ""), ("seed", "")],
)  # fmt: skip
def test_true_is_no_number(key, where):
    rule = {"metric": "ap", "at_least": 0.5}
    data = {"rules": [rule | ({key: True} if where else {})]} | ({} if where else {key: True})
    with pytest.raises(ConfigError, match=f"{key} must be a number"):
        parse(GatePolicy, data, where="gate")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_metric_that_is_no_number_fails(bad):
    broken = statistics().model_copy(update={"ap50": bad})
    decision = decide(metrics(broken), policy=policy(at_least(0.0)), champion=None)
    assert decision.decision == "fail"
    assert "is no number" in decision.reasons[0]


def test_a_policy_without_rules_is_refused():
    empty = GatePolicy.model_construct(rules=(), no_champion="pass")
    with pytest.raises(ConfigError, match="has no rules"):
        decide(metrics(), policy=empty, champion=None)


@pytest.mark.parametrize(("answer", "decision"), [("pass", "pass"), ("fail", "fail")])
def test_without_a_champion_the_policy_decides(answer, decision):
    found = decide(
        metrics(), policy=policy(against(max_drop=0.0), no_champion=answer), champion=None
    )
    assert found.decision == decision
    assert found.champion_version is None
    assert "no champion" in found.reasons[0]


@pytest.mark.parametrize(
    ("rule", "ap", "decision"),
    [
        ({"max_drop": 0.1}, 0.7, "pass"),
        ({"max_drop": 0.1}, 0.6999, "fail"),
        ({"max_drop": 0.0}, 0.8, "pass"),
        ({"min_gain": 0.0}, 0.8, "pass"),
        ({"min_gain": 0.1}, 0.9, "pass"),
        ({"min_gain": 0.1}, 0.8999, "fail"),
    ],
)
def test_a_comparison_holds_up_to_its_very_edge(rule, ap, decision):
    found = decide(metrics(statistics(ap)), policy=policy(against(**rule)), champion=champion(0.8))
    assert found.decision == decision
    assert found.champion_version == 4
    assert found.rules[0].champion == 0.8


def test_a_champion_measured_on_other_images_is_no_evidence():
    found = decide(
        metrics(statistics(1.0)),
        policy=policy(against(max_drop=0.5)),
        champion=champion(0.1, split_digest=digest("other images")),
    )
    assert found.decision == "insufficient_evidence"
    assert "another test set" in found.reasons[0]


def test_a_champion_measured_with_other_settings_is_no_evidence():
    rival = champion(0.1)
    other = rival.metrics.model_copy(update={"settings": CocoSettings(iou_thresholds=(0.5,))})
    found = decide(
        metrics(statistics(1.0)),
        policy=policy(against(max_drop=0.5)),
        champion=dataclasses.replace(rival, metrics=other),
    )
    assert found.decision == "insufficient_evidence"
    assert "other IoU thresholds" in found.reasons[0]


def test_a_failing_threshold_outweighs_what_is_unknown():
    found = decide(
        metrics(statistics(0.2)),
        policy=policy(against(max_drop=0.5), at_least(0.9)),
        champion=champion(0.1, split_digest=digest("other images")),
    )
    assert found.decision == "fail"
    assert len(found.reasons) == 2


def test_the_champion_itself_passes_its_comparisons():
    itself = Champion(version=4, metrics=metrics(statistics(0.5)))
    found = decide(metrics(statistics(0.5)), policy=policy(against(min_gain=0.2)), champion=itself)
    assert found.decision == "pass"
    assert "this very model" in found.reasons[0]


def test_a_champion_without_the_number_is_no_evidence():
    found = decide(metrics(), policy=policy(against(max_drop=0.1)), champion=champion(None))
    assert found.decision == "insufficient_evidence"


def test_a_candidate_without_the_number_fails_the_comparison():
    found = decide(
        metrics(statistics(None)), policy=policy(against(max_drop=0.1)), champion=champion(0.5)
    )
    assert found.decision == "fail"


def test_a_rule_with_both_gives_both_results():
    both = GateRule(metric="ap", at_least=0.4, champion=ChampionRule(max_drop=0.01))
    found = decide(metrics(statistics(0.5)), policy=policy(both), champion=champion(0.6))
    assert [rule.outcome for rule in found.rules] == ["holds", "fails"]
    assert found.decision == "fail"


def test_the_worst_reason_comes_first():
    found = decide(
        metrics(statistics(0.5)),
        policy=policy(at_least(0.6), at_least(0.9, "ap"), at_least(0.7, "ap75")),
        champion=None,
    )
    assert [reason.split()[0] for reason in found.reasons] == ["ap", "ap75", "ap50"]


def test_the_decision_names_what_it_was_made_on():
    candidate = metrics()
    found = decide(candidate, policy=policy(at_least(0.1)), champion=None)
    assert found.metrics_digest == candidate.fingerprint()
    assert found.checkpoint_digest == candidate.checkpoint_digest
    assert found.split_digest == candidate.split_digest
