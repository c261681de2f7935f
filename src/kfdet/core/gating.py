"""The gate: a policy's rules on a model's metrics, and the decision that follows.

A rule `holds`, `fails` or is `unknown`. One that fails makes the decision `fail`; otherwise one that
is unknown makes it `insufficient_evidence`; only when all of them hold is it `pass`. What can't be
read off the metrics fails: a missing number, a NaN, a class that is not there. A comparison with a
champion that was measured on other images is unknown, whatever the numbers.

With a confidence, a rule is judged by an interval. A pass needs every interval to lie on the right
side: to be wrong there, all rules would have to err together, so that the number of rules needs no
correction. A fail needs only one on the wrong side, which with many rules comes about by chance: there
Holm's correction counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from kfdet.core.evidence import Evidence
from kfdet.core.uncertainty import Subject, spreads
from kfdet.errors import ConfigError, did_you_mean
from kfdet.schema.gate import Decision, Outcome, RuleResult, Verdict
from kfdet.schema.metrics import Metrics
from kfdet.schema.run_config import ChampionRule, GatePolicy, GateRule

# A sum of decimals such as 0.8 - 0.1 must not decide by its last bit.
_SLACK = 1e-12
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The published model that a candidate is compared with.

    Attributes:
        version: Its number in the registry.
        metrics: What was measured when it was published.
        evidence: What these follow from; None when it was not kept, or is not asked for.
    """

    version: int
    metrics: Metrics
    evidence: Evidence | None = None


def decide(
    metrics: Metrics,
    *,
    policy: GatePolicy,
    champion: Champion | None,
    evidence: Evidence | None = None,
) -> Decision:
    """Applies every rule of a policy.

    Args:
        metrics: The candidate's metrics.
        policy: At least one rule.
        champion: The registry's champion; None when there is none.
        evidence: What the candidate's metrics follow from; without it no interval can be told.

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
    claims = [
        claim
        for rule in policy.rules
        for claim in _claims(rule, metrics=metrics, policy=policy, champion=champion)
    ]
    results = _judged(claims, metrics=metrics, policy=policy, champion=champion, evidence=evidence)
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


def comparable(metrics: Metrics, other: Metrics) -> bool:
    """Tells whether two models' metrics were measured on the same images."""
    return metrics.split_digest == other.split_digest


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


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """One threshold or one comparison, before it is judged.

    Attributes:
        words: The rule in words.
        subject: What it reads, in words.
        target: What `wanted` is, in words.
        settled: The outcome and its reason, where no judging is needed.
    """

    rule: GateRule
    words: str
    subject: str
    seen: float | None
    wanted: float | None = None
    theirs: float | None = None
    target: str = ""
    boxes: int | None
    compares: bool
    settled: tuple[Outcome, str] | None = None

    def result(self, outcome: Outcome, reason: str, **interval: float | int | None) -> RuleResult:
        return RuleResult.model_validate(
            {
                "rule": self.words, "metric": self.rule.metric, "class_name": self.rule.class_name,
                "seen": self.seen, "wanted": self.wanted, "champion": self.theirs,
                "outcome": outcome, "reason": reason, "boxes": self.boxes, **interval,
            }
        )  # fmt: skip


def _claims(
    rule: GateRule, *, metrics: Metrics, policy: GatePolicy, champion: Champion | None
) -> Iterator[_Claim]:
    subject = rule.metric + (f' of "{rule.class_name}"' if rule.class_name is not None else "")
    seen, missing = _read(metrics, rule)
    boxes = _boxes(metrics, rule)
    unfit: tuple[Outcome, str] | None = None
    if seen is None:
        unfit = "fails", missing
    elif boxes < policy.min_boxes:
        unfit = (
            "unknown",
            (
                f"{subject} is {seen:.4f}, but rests on {boxes:,} boxes; the policy counts a value from "
                f"{policy.min_boxes:,} on."
            ),
        )
    if rule.at_least is not None:
        yield _Claim(
            rule=rule, words=f"{subject} at least {rule.at_least:g}", subject=subject, seen=seen,
            wanted=rule.at_least, target=f"{rule.at_least:g}", boxes=boxes, compares=False,
            settled=unfit,
        )  # fmt: skip
    if rule.champion is not None:
        theirs, wanted, target, settled = _against(
            rule, rule.champion, subject=subject, seen=seen, metrics=metrics, policy=policy,
            champion=champion,
        )  # fmt: skip
        yield _Claim(
            rule=rule, words=f"{subject} at least the champion's{_in_words(rule.champion)}",
            subject=subject, seen=seen, wanted=None if seen is None else wanted,
            theirs=None if seen is None else theirs, target=target, boxes=boxes, compares=True,
            settled=unfit or settled,
        )  # fmt: skip


def _against(
    rule: GateRule,
    comparison: ChampionRule,
    *,
    subject: str,
    seen: float | None,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
) -> tuple[float | None, float | None, str, tuple[Outcome, str] | None]:
    """Returns the champion's value, what is wanted, that in words, and what needs no judging."""
    if seen is None:
        return None, None, "", None
    value = f"{subject} is {seen:.4f}"
    if champion is None:
        answer = policy.no_champion or "fail"
        reason = (
            f"{value}; there is no champion to compare with, "
            f"and the policy's no_champion is {answer}."
        )
        return None, None, "", ("holds" if answer == "pass" else "fails", reason)
    theirs, lacking = _read(champion.metrics, rule)
    if champion.metrics.checkpoint_digest == metrics.checkpoint_digest:
        reason = f"{value}; the champion, {_version(champion)}, is this very model."
        return theirs, None, "", ("holds", reason)
    if not comparable(metrics, champion.metrics):
        reason = (
            f"{value}, but the champion, {_version(champion)}, was measured on "
            f"another {metrics.split} set, so that the two numbers can't be compared."
        )
        return None, None, "", ("unknown", reason)
    if theirs is None:
        reason = f"The champion, {_version(champion)}, can't be compared with: {lacking}"
        return None, None, "", ("unknown", reason)
    wanted = theirs + _offset(comparison)
    target = f"{wanted:.4f}, which is {_version(champion)}'s {theirs:.4f}{_in_words(comparison)}"
    return theirs, wanted, target, None


def _judged(
    claims: Sequence[_Claim],
    *,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
    evidence: Evidence | None,
) -> tuple[RuleResult, ...]:
    open_claims = [
        i
        for i, claim in enumerate(claims)
        if claim.settled is None and policy.confidence is not None and not claim.rule.point_estimate
    ]
    errors: Mapping[int, float | str] = {}
    if open_claims:
        errors = _standard_errors(
            {i: claims[i] for i in open_claims},
            metrics=metrics, policy=policy, champion=champion, evidence=evidence,
        )  # fmt: skip
    measured = {i: error for i, error in errors.items() if isinstance(error, float)}
    failing = _failing(claims, measured, policy=policy)
    results = []
    for i, claim in enumerate(claims):
        error = errors.get(i)
        if claim.settled is not None:
            results.append(claim.result(*claim.settled))
        elif isinstance(error, float):
            results.append(
                _by_interval(
                    claim, error, fails=i in failing, rules=len(measured), images=metrics.images,
                    policy=policy,
                )
            )  # fmt: skip
        elif isinstance(error, str):
            results.append(claim.result("unknown", error))
        else:
            results.append(_by_value(claim))
    return tuple(results)


def _by_value(claim: _Claim) -> RuleResult:
    seen, wanted = _numbers(claim)
    met = seen >= wanted - (_SLACK if claim.compares else 0.0)
    short = f"{wanted - seen:.4f} short of {claim.target}."
    if claim.compares:
        reason = f"and reaches {claim.target}." if met else f"and is {short}"
        reason = f"{claim.subject} is {seen:.4f} {reason}"
    else:
        reason = f"{claim.subject} is {seen:.4f}, {f'at least {claim.target}.' if met else short}"
    return claim.result("holds" if met else "fails", reason)


def _by_interval(
    claim: _Claim, error: float, *, fails: bool, rules: int, images: int, policy: GatePolicy
) -> RuleResult:
    seen, wanted = _numbers(claim)
    margin = seen - wanted
    half = _quantile(policy) * error
    low, high = margin - half, margin + half
    interval: dict[str, float | int | None] = {
        "standard_error": error, "margin_low": low, "margin_high": high,
    }  # fmt: skip
    seen_words = (
        f"{claim.subject} is {seen:.4f}, and with {policy.confidence:g} confidence its margin over "
        f"{claim.target} lies between {low:+.4f} and {high:+.4f}"
    )
    if low >= -_SLACK:
        return claim.result("holds", f"{seen_words}.", **interval)
    if fails:
        return claim.result("fails", f"{seen_words}.", **interval)
    more = _more_images(margin, error, rules=rules, images=images, policy=policy)
    remedy = (
        "no number of images settles a margin of zero."
        if more is None
        else f"about {more:,} more images of the same kind would settle it, if the value stays."
    )
    return claim.result("unknown", f"{seen_words}: {remedy}", **interval, more_images=more)


def _more_images(
    margin: float, error: float, *, rules: int, images: int, policy: GatePolicy
) -> int | None:
    """Returns how many more images make the interval end at the wanted value.

    Standard errors fall with the square root of the number of images.
    """
    if abs(margin) <= _SLACK:
        return None
    strict = _quantile(policy) if margin > 0 else -_NORMAL.inv_cdf(_one_sided(policy) / rules)
    return max(1, math.ceil(images * ((strict * error / margin) ** 2 - 1)))


def _failing(
    claims: Sequence[_Claim], errors: Mapping[int, float], *, policy: GatePolicy
) -> set[int]:
    """Returns the claims that are refuted, by Holm's procedure over all that are judged so.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    chances = []
    for i, error in errors.items():
        seen, wanted = _numbers(claims[i])
        chances.append((_NORMAL.cdf((seen - wanted) / error), i))
    refuted: set[int] = set()
    for place, (chance, i) in enumerate(sorted(chances)):
        if chance > _one_sided(policy) / (len(chances) - place):
            break
        refuted.add(i)
    return refuted


def _standard_errors(
    claims: Mapping[int, _Claim],
    *,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
    evidence: Evidence | None,
) -> dict[int, float | str]:
    """Returns the standard error of each claim's margin, or the sentence that says why there is none."""
    class_ids = [entry.id for entry in metrics.classes]
    answer: dict[int, float | str] = {}
    for compares in (False, True):
        mine = {i: claim for i, claim in claims.items() if claim.compares == compares}
        rival = champion.evidence if compares and champion else None
        lacking = _lacking(metrics, champion if compares else None, evidence)
        if lacking or evidence is None:
            answer |= {
                i: f"{claim.subject} is {claim.seen:.4f}, but {lacking}"
                for i, claim in mine.items()
            }
        elif mine:
            subjects = {i: _subject(claim.rule, metrics) for i, claim in mine.items()}
            found = spreads(
                list(subjects.values()), evidence, rival, class_ids=class_ids,
                resamples=policy.resamples, seed=policy.seed,
            )  # fmt: skip
            for i, claim in mine.items():
                error = found[subjects[i]]
                # Where every resample answers alike, as when nothing was missed, there is still
                # the chance of an error that this many boxes have not shown.
                answer[i] = (
                    f"{claim.subject} is {claim.seen:.4f}, but too few images have ground truth for "
                    "it to say how far it would move on others."
                    if error is None
                    else max(error, 1 / max(claim.boxes or 0, 1))
                )
    return answer


def _lacking(metrics: Metrics, champion: Champion | None, evidence: Evidence | None) -> str:
    """Returns why intervals can't be told; empty when they can."""
    if evidence is None:
        return (
            "the metrics came without the folder evidence that merge and metrics write beside them: "
            "no interval can be told."
        )
    if champion is None:
        return ""
    if champion.evidence is None:
        return (
            f"the champion, {_version(champion)}, was published without its evidence: the interval "
            "of the difference can't be told. Ask for its point_estimate, or publish it again."
        )
    if champion.evidence.images != evidence.images or (
        [(entry.id, entry.name) for entry in champion.metrics.classes]
        != [(entry.id, entry.name) for entry in metrics.classes]
    ):
        return f"the champion, {_version(champion)}, was measured on other images or classes."
    return ""


def _subject(rule: GateRule, metrics: Metrics) -> Subject:
    entry = metrics.of_class(rule.class_name) if rule.class_name is not None else None
    return Subject(metric=rule.metric, class_id=entry.id if entry else None)


def _numbers(claim: _Claim) -> tuple[float, float]:
    assert claim.seen is not None
    assert claim.wanted is not None
    return claim.seen, claim.wanted


def _one_sided(policy: GatePolicy) -> float:
    assert policy.confidence is not None
    return (1 - policy.confidence) / 2


def _quantile(policy: GatePolicy) -> float:
    return -_NORMAL.inv_cdf(_one_sided(policy))


def _boxes(metrics: Metrics, rule: GateRule) -> int:
    if rule.class_name is None:
        return metrics.boxes
    entry = metrics.of_class(rule.class_name)
    return entry.boxes if entry else 0


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
