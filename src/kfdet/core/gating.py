"""The gate: a policy's rules on a model's metrics, and the decision that follows.

A rule `holds`, `fails` or is `unknown`. One that fails makes the decision `fail`; otherwise one that
is unknown makes it `insufficient_evidence`; only when all of them hold is it `pass`. What can't be
read off the metrics fails: a missing number, a NaN, a class that is not there. A comparison with a
champion that was measured on other images is unknown, whatever the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from kfdet.errors import ConfigError, did_you_mean
from kfdet.schema.gate import Decision, Outcome, RuleResult, Verdict
from kfdet.schema.metrics import Metrics
from kfdet.schema.run_config import ChampionRule, GatePolicy, GateRule

# A sum of decimals such as 0.8 - 0.1 must not decide by its last bit.
_SLACK = 1e-12


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The published model that a candidate is compared with.

    Attributes:
        version: Its number in the registry.
        metrics: What was measured when it was published.
    """

    version: int
    metrics: Metrics


def decide(metrics: Metrics, *, policy: GatePolicy, champion: Champion | None) -> Decision:
    """Applies every rule of a policy.

    Args:
        metrics: The candidate's metrics.
        policy: At least one rule.
        champion: The registry's champion; None when there is none.

    Returns:
        The decision, with one result for each threshold and each comparison.

    Raises:
        ConfigError: The policy has no rules.
    """
    if not policy.rules:
        raise ConfigError(
            "the gate policy has no rules",
            expected="at least one threshold or comparison",
            remedy="Without rules no model can pass: add one under gate.rules.",
        )
    results = tuple(
        result
        for rule in policy.rules
        for result in _apply(rule, metrics=metrics, policy=policy, champion=champion)
    )
    decision, deciding = _verdict(results)
    return Decision(
        decision=decision,
        reasons=tuple(result.reason for result in deciding),
        rules=results,
        policy=policy,
        champion_version=champion.version if champion else None,
        metrics_digest=metrics.fingerprint(),
        split_digest=metrics.split_digest,
        checkpoint_digest=metrics.checkpoint_digest,
    )


def _verdict(results: tuple[RuleResult, ...]) -> tuple[Verdict, list[RuleResult]]:
    fails = [result for result in results if result.outcome == "fails"]
    unknown = [result for result in results if result.outcome == "unknown"]
    if fails:
        return "fail", sorted(fails, key=_margin) + unknown
    if unknown:
        return "insufficient_evidence", unknown
    return "pass", sorted(results, key=_margin)


def _margin(result: RuleResult) -> float:
    """Returns by how much a rule is met; what can't be told comes first."""
    if result.seen is None or result.wanted is None:
        return -math.inf
    return result.seen - result.wanted


def _apply(
    rule: GateRule, *, metrics: Metrics, policy: GatePolicy, champion: Champion | None
) -> Iterator[RuleResult]:
    subject = rule.metric + (f' of "{rule.class_name}"' if rule.class_name is not None else "")
    seen, missing = _read(metrics, rule)
    if rule.at_least is not None:
        yield _threshold(rule, subject=subject, seen=seen, missing=missing)
    if rule.champion is not None:
        yield _comparison(
            rule,
            rule.champion,
            subject=subject,
            seen=seen,
            missing=missing,
            metrics=metrics,
            policy=policy,
            champion=champion,
        )


def _threshold(rule: GateRule, *, subject: str, seen: float | None, missing: str) -> RuleResult:
    wanted = rule.at_least
    assert wanted is not None
    outcome: Outcome
    if seen is None:
        outcome, reason = "fails", missing
    elif seen >= wanted:
        outcome, reason = "holds", f"{subject} is {seen:.4f}, at least {wanted:g}."
    else:
        outcome = "fails"
        reason = f"{subject} is {seen:.4f}, {wanted - seen:.4f} short of {wanted:g}."
    return RuleResult(
        rule=f"{subject} at least {wanted:g}",
        metric=rule.metric,
        class_name=rule.class_name,
        seen=seen,
        wanted=wanted,
        champion=None,
        outcome=outcome,
        reason=reason,
    )


def _comparison(
    rule: GateRule,
    comparison: ChampionRule,
    *,
    subject: str,
    seen: float | None,
    missing: str,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
) -> RuleResult:
    wanted: float | None = None
    theirs: float | None = None
    outcome: Outcome
    if seen is None:
        outcome, reason = "fails", missing
    elif champion is None:
        outcome = "holds" if policy.no_champion == "pass" else "fails"
        reason = (
            f"{subject} is {seen:.4f}; there is no champion to compare with, "
            f"and the policy's no_champion is {policy.no_champion}."
        )
    elif champion.metrics.checkpoint_digest == metrics.checkpoint_digest:
        outcome = "holds"
        theirs, _ = _read(champion.metrics, rule)
        reason = f"{subject} is {seen:.4f}; the champion, {_version(champion)}, is this very model."
    elif champion.metrics.split_digest != metrics.split_digest:
        outcome = "unknown"
        reason = (
            f"{subject} is {seen:.4f}, but the champion, {_version(champion)}, was measured on "
            f"another {metrics.split} set, so that the two numbers can't be compared."
        )
    else:
        theirs, lacking = _read(champion.metrics, rule)
        if theirs is None:
            outcome = "unknown"
            reason = f"The champion, {_version(champion)}, can't be compared with: {lacking}"
        else:
            wanted = theirs + _offset(comparison)
            met = seen >= wanted - _SLACK
            outcome = "holds" if met else "fails"
            relation = "reaches" if met else f"is {wanted - seen:.4f} short of"
            reason = (
                f"{subject} is {seen:.4f} and {relation} {wanted:.4f}, "
                f"which is {_version(champion)}'s {theirs:.4f}{_in_words(comparison)}."
            )
    return RuleResult(
        rule=f"{subject} at least the champion's{_in_words(comparison)}",
        metric=rule.metric,
        class_name=rule.class_name,
        seen=seen,
        wanted=wanted,
        champion=theirs,
        outcome=outcome,
        reason=reason,
    )


def _read(metrics: Metrics, rule: GateRule) -> tuple[float | None, str]:
    """Returns the value of a rule's metric, or None and the sentence that says why it is missing."""
    statistics = metrics.overall
    if rule.class_name is not None:
        entry = metrics.of_class(rule.class_name)
        if entry is None:
            names = [known.name for known in metrics.classes]
            hint = did_you_mean(rule.class_name, names) or f"Known classes: {', '.join(names)}."
            return None, f'The metrics have no class "{rule.class_name}". {hint}'
        statistics = entry.metrics
    value = statistics.value(rule.metric)
    place = f'of "{rule.class_name}"' if rule.class_name is not None else "over all classes"
    if value is None:
        return None, (
            f"{rule.metric} {place} is undefined: the {metrics.split} set has no ground truth for it."
        )
    if not math.isfinite(value):
        return None, f"{rule.metric} {place} is {value}, which is no number."
    return value, ""


def _offset(comparison: ChampionRule) -> float:
    if comparison.min_gain is not None:
        return comparison.min_gain
    assert comparison.max_drop is not None
    return -comparison.max_drop


def _in_words(comparison: ChampionRule) -> str:
    offset = _offset(comparison)
    return f" {'plus' if offset > 0 else 'minus'} {abs(offset):g}" if offset else ""


def _version(champion: Champion) -> str:
    return f"version {champion.version}"
