"""The gate: a policy's rules on a model's metrics, and the decision that follows.

A rule `holds`, `fails` or is `unknown`. One that fails makes the decision `fail`; otherwise one that
is unknown makes it `insufficient_evidence`; only when all of them hold is it `pass`. What can't be
read off the metrics fails: a missing number, a NaN, a class that is not there. A comparison with a
champion that was measured on other images is unknown, whatever the numbers.

With a confidence, a rule is judged by an interval. A pass needs every interval to lie on the right
side: to be wrong there, all rules would have to err together, so that the number of rules needs no
correction. A fail needs only one on the wrong side, which with many rules comes about by chance: there
Holm's correction counts them. Intervals of one model's values are made on the scale of log-odds, since
near 0 and 1 they are lopsided; those of differences are symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from kfdet.core.evidence import Evidence
from kfdet.core.measures import Reading, read, subject_in_words
from kfdet.core.uncertainty import Estimate, Spread, Subject, spreads
from kfdet.errors import ConfigError
from kfdet.schema.gate import Decision, Outcome, RuleResult, Verdict
from kfdet.schema.gate_policy import LOW_IS_GOOD, ChampionRule, GatePolicy, GateRule
from kfdet.schema.metrics import Metrics
from kfdet.wording import plural

# A sum of decimals such as 0.8 - 0.1 must not decide by its last bit.
_SLACK = 1e-12
_NORMAL = NormalDist()
_TOO_FEW = "too few images have ground truth for it to say how far it would move on others."
_NO_INTERVAL_OF_BOXES = (
    "slices of boxes have no interval, only those of images: give the rule point_estimate to judge it "
    "by the measured value."
)


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The published model that a candidate is compared with.

    Attributes:
        version: Its number in the registry.
        metrics: What was measured when it was published, or again on the candidate's images.
        evidence: What these follow from; None when it was not kept, or is not asked for.
        checkpoint_digest: Of the checkpoint that it was exported from; None where that is the one
            that the metrics name.
        measured_again: Whether its export was measured again.
    """

    version: int
    metrics: Metrics
    evidence: Evidence | None = None
    checkpoint_digest: str | None = None
    measured_again: bool = False

    def is_of(self, metrics: Metrics) -> bool:
        """Tells whether metrics are of the very same model."""
        return (self.checkpoint_digest or self.metrics.checkpoint_digest) == (
            metrics.checkpoint_digest
        )


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
    """Tells whether two models' metrics were measured on the same images, classes and settings."""
    return (
        metrics.split_digest == other.split_digest
        and metrics.settings == other.settings
        and _classes(metrics) == _classes(other)
    )


def why_incomparable(metrics: Metrics, champion: Champion) -> str:
    """Returns why a model can't be compared with a champion, as the end of a sentence; empty if it can."""
    rival = f"the champion, {_version(champion)},"
    mine, theirs = _classes(metrics), _classes(champion.metrics)
    if mine != theirs:
        lost = [name for _, name in theirs if name not in {known for _, known in mine}]
        new = [name for _, name in mine if name not in {known for _, known in theirs}]
        parts = [f"has {_quoted(lost)}, which this model has not"] * bool(lost)
        parts += [f"has not {_quoted(new)}"] * bool(new)
        words = " and ".join(parts) or "has them under other ids"
        return f"{rival} knows other classes, so that the two can't be compared: it {words}."
    if metrics.split_digest != champion.metrics.split_digest:
        return (
            f"{rival} was measured on another {metrics.split} set and not again on this one, so that "
            "the two numbers can't be compared. The pipeline measures its export again; by hand, "
            "`evaluate`, `merge` and `record` do."
        )
    if metrics.settings != champion.metrics.settings:
        return (
            f"{rival} was measured by other IoU thresholds, areas or counts, so that the two numbers "
            "can't be compared. The pipeline measures its export again; by hand, `evaluate`, `merge` "
            "and `record` do."
        )
    return ""


def _classes(metrics: Metrics) -> list[tuple[int, str]]:
    return [(entry.id, entry.name) for entry in metrics.classes]


def _quoted(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f'"{name}"' for name in names[:5]) + more


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
    return -math.inf if result.margin is None else result.margin


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
    boxes: int
    compares: bool
    settled: tuple[Outcome, str] | None = None

    @property
    def sign(self) -> int:
        """1 where high is good, -1 where low is."""
        return _sign(self.rule)

    @property
    def bound(self) -> str:
        return "at least" if self.sign > 0 else "at most"

    def numbers(self) -> tuple[float, float]:
        """Returns what was seen and what was wanted, of a claim that is not settled."""
        assert self.seen is not None
        assert self.wanted is not None
        return self.seen, self.wanted

    @property
    def met(self) -> bool:
        """Whether the measured value meets the claim."""
        seen, wanted = self.numbers()
        return self.sign * (seen - wanted) >= (-_SLACK if self.compares else 0.0)

    def result(self, outcome: Outcome, reason: str, **interval: float | int | None) -> RuleResult:
        return RuleResult.model_validate(
            {
                "rule": self.words, "metric": self.rule.metric, "at": self.rule.at,
                "class_name": self.rule.class_name, "slice": self.rule.slice,
                "seen": self.seen, "wanted": self.wanted, "champion": self.theirs,
                "outcome": outcome, "reason": reason, "boxes": self.boxes, **interval,
            }
        )  # fmt: skip


def _sign(rule: GateRule) -> int:
    return -1 if rule.metric in LOW_IS_GOOD else 1


def _claims(
    rule: GateRule, *, metrics: Metrics, policy: GatePolicy, champion: Champion | None
) -> Iterator[_Claim]:
    subject = subject_in_words(rule)
    mine = read(metrics, rule)
    unfit, boxes = _unfit(subject, mine, policy), mine.boxes or 0
    bound = "at least" if _sign(rule) > 0 else "at most"
    if rule.threshold is not None:
        yield _Claim(
            rule=rule, words=f"{subject} {bound} {rule.threshold:g}", subject=subject,
            seen=mine.value, wanted=rule.threshold, target=f"{rule.threshold:g}",
            boxes=boxes, compares=False, settled=unfit,
        )  # fmt: skip
    if rule.champion is not None:
        rival = _against(rule, mine, metrics=metrics, policy=policy, champion=champion)
        yield _Claim(
            rule=rule, words=f"{subject} {bound} the champion's{_in_words(rule)}",
            subject=subject, seen=mine.value, wanted=rival.wanted, theirs=rival.theirs,
            target=rival.target, boxes=boxes, compares=True, settled=unfit or rival.settled,
        )  # fmt: skip


def _unfit(subject: str, mine: Reading, policy: GatePolicy) -> tuple[Outcome, str] | None:
    """Returns what a rule comes to whose value is not there, or rests on too little; None otherwise."""
    if mine.boxes is not None and mine.boxes < policy.min_boxes:
        seen = "" if mine.value is None else f" is {mine.value:.4f}, but"
        return "unknown", (
            f"{subject}{seen} rests on {plural(mine.boxes, 'box')}; the policy counts a value from "
            f"{policy.min_boxes:,} on."
        )
    return ("fails", mine.missing) if mine.value is None else None


@dataclass(frozen=True, kw_only=True)
class _Rival:
    """What a comparison asks for: the champion's value, the wanted one, and that in words."""

    theirs: float | None = None
    wanted: float | None = None
    target: str = ""
    settled: tuple[Outcome, str] | None = None


def _against(
    rule: GateRule,
    mine: Reading,
    *,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
) -> _Rival:
    if mine.value is None:
        return _Rival()
    value = f"{subject_in_words(rule)} is {mine.value:.4f}"
    if champion is None:
        answer = policy.no_champion or "fail"
        reason = (
            f"{value}; there is no champion to compare with, "
            f"and the policy's no_champion is {answer}."
        )
        return _Rival(settled=("holds" if answer == "pass" else "fails", reason))
    theirs = read(champion.metrics, rule)
    if champion.is_of(metrics):
        reason = f"{value}; the champion, {_version(champion)}, is this very model."
        return _Rival(theirs=theirs.value, settled=("holds", reason))
    apart = why_incomparable(metrics, champion)
    if apart:
        return _Rival(settled=("unknown", f"{value}, but {apart}"))
    if theirs.value is None:
        reason = f"The champion, {_version(champion)}, can't be compared with: {theirs.missing}"
        return _Rival(settled=("unknown", reason))
    wanted = theirs.value + _sign(rule) * _offset(rule.champion)
    target = f"{wanted:.4f}, which is {_version(champion)}'s {theirs.value:.4f}{_in_words(rule)}"
    return _Rival(theirs=theirs.value, wanted=wanted, target=target)


def _judged(
    claims: Sequence[_Claim],
    *,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
    evidence: Evidence | None,
) -> tuple[RuleResult, ...]:
    open_claims = {
        i: claim
        for i, claim in enumerate(claims)
        if claim.settled is None and policy.confidence is not None and not claim.rule.point_estimate
    }
    found = _spreads(
        open_claims, metrics=metrics, policy=policy, champion=champion, evidence=evidence
    )
    gauges = {
        i: _Gauge.of(claims[i], spread) for i, spread in found.items() if isinstance(spread, Spread)
    }
    failing = _failing(gauges, policy=policy)
    results = []
    for i, claim in enumerate(claims):
        reason = found.get(i)
        if claim.settled is not None:
            results.append(claim.result(*claim.settled))
        elif i in gauges:
            results.append(
                _by_interval(
                    gauges[i], fails=i in failing, rules=len(gauges), images=metrics.images,
                    policy=policy,
                )
            )  # fmt: skip
        elif isinstance(reason, str):
            results.append(claim.result("unknown", reason))
        else:
            results.append(_by_value(claim))
    return tuple(results)


def _by_value(claim: _Claim) -> RuleResult:
    seen, wanted = claim.numbers()
    gap = f"{abs(wanted - seen):.4f} {'short of' if claim.sign > 0 else 'above'} {claim.target}."
    if claim.compares:
        reason = f"and {'reaches' if claim.sign > 0 else 'stays within'} {claim.target}."
        reason = f"{claim.subject} is {seen:.4f} {reason if claim.met else f'and is {gap}'}"
    else:
        reason = f"{claim.subject} is {seen:.4f}, "
        reason += f"{claim.bound} {claim.target}." if claim.met else gap
    return claim.result("holds" if claim.met else "fails", reason)


@dataclass(frozen=True, kw_only=True)
class _Gauge:
    """A claim with the interval that it is judged by.

    Attributes:
        steps: How many standard errors the estimate lies on the good side of what is wanted.
    """

    claim: _Claim
    estimate: Estimate
    steps: float

    @staticmethod
    def of(claim: _Claim, spread: Spread) -> _Gauge:
        seen, wanted = claim.numbers()
        if claim.theirs is None:
            estimate = Estimate.of_value(seen, spread, boxes=claim.boxes)
        else:
            estimate = Estimate.of_difference(seen - claim.theirs, spread, boxes=claim.boxes)
        steps = claim.sign * estimate.steps_above(wanted - (claim.theirs or 0.0))
        return _Gauge(claim=claim, estimate=estimate, steps=steps)

    def margins(self, steps: float) -> tuple[float, float]:
        """Returns the interval of the margin over what is wanted, so many errors to either side."""
        _, wanted = self.claim.numbers()
        low, high = self.estimate.interval(steps)
        margins = low - wanted, high - wanted
        if self.claim.theirs is not None:
            margins = margins[0] + self.claim.theirs, margins[1] + self.claim.theirs
        return margins if self.claim.sign > 0 else (-margins[1], -margins[0])

    @property
    def chance(self) -> float:
        """How likely so low a value were if what is wanted were true; 1 where it was measured."""
        return 1.0 if self.claim.met else _NORMAL.cdf(self.steps)


def _by_interval(
    gauge: _Gauge, *, fails: bool, rules: int, images: int, policy: GatePolicy
) -> RuleResult:
    claim = gauge.claim
    seen, _ = claim.numbers()
    low, high = gauge.margins(_quantile(policy))
    interval: dict[str, float | int | None] = {
        "estimate": gauge.estimate.value, "standard_error": gauge.estimate.standard_error,
        "margin_low": low, "margin_high": high,
    }  # fmt: skip
    seen_words = (
        f"{claim.subject} is {seen:.4f}, and with {policy.confidence:g} confidence its margin over "
        f"{claim.target} lies between {low:+.4f} and {high:+.4f}"
    )
    if claim.met and gauge.steps >= _quantile(policy) - _SLACK:
        return claim.result("holds", f"{seen_words}.", **interval)
    if fails:
        return claim.result("fails", f"{seen_words}.", **interval)
    more = _more_images(gauge, rules=rules, images=images, policy=policy)
    remedy = (
        "the margin is too near to zero to say how many more images would settle it."
        if more is None
        else f"about {plural(more, 'more image')} of the same kind would settle it, if the value stays."
    )
    return claim.result("unknown", f"{seen_words}: {remedy}", **interval, more_images=more)


def _more_images(gauge: _Gauge, *, rules: int, images: int, policy: GatePolicy) -> int | None:
    """Returns how many more images make the interval end at the wanted value.

    Standard errors fall with the square root of the number of images.
    """
    if (
        abs(gauge.steps) <= _SLACK
        or math.isinf(gauge.steps)
        or (gauge.steps > 0) != gauge.claim.met
    ):
        return None
    strict = _quantile(policy) if gauge.steps > 0 else -_NORMAL.inv_cdf(_one_sided(policy) / rules)
    return max(1, math.ceil(images * ((strict / gauge.steps) ** 2 - 1)))


def _failing(gauges: Mapping[int, _Gauge], *, policy: GatePolicy) -> set[int]:
    """Returns the claims that are refuted, by Holm's procedure over all that are judged so.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    chances = sorted((gauge.chance, i) for i, gauge in gauges.items())
    refuted: set[int] = set()
    for place, (chance, i) in enumerate(chances):
        if chance > _one_sided(policy) / (len(chances) - place):
            break
        refuted.add(i)
    return refuted


def _spreads(
    claims: Mapping[int, _Claim],
    *,
    metrics: Metrics,
    policy: GatePolicy,
    champion: Champion | None,
    evidence: Evidence | None,
) -> dict[int, Spread | str]:
    """Returns the spread of each claim's value, or the sentence that says why there is none."""
    answer: dict[int, Spread | str] = {}
    for compares in (False, True):
        mine = {i: claim for i, claim in claims.items() if claim.compares == compares}
        rival = champion if compares else None
        lacking = _lacking(rival, evidence)
        if lacking or evidence is None:
            found: dict[int, Spread | str] = dict.fromkeys(mine, lacking)
        elif mine:
            found = _drawn(mine, evidence, rival, metrics=metrics, policy=policy)
        else:
            found = {}
        for i, spread in found.items():
            if isinstance(spread, str):
                spread = f"{claims[i].subject} is {claims[i].seen:.4f}, but {spread}"
            answer[i] = spread
    return answer


def _drawn(
    claims: Mapping[int, _Claim],
    evidence: Evidence,
    rival: Champion | None,
    *,
    metrics: Metrics,
    policy: GatePolicy,
) -> dict[int, Spread | str]:
    cut = {parts.by for parts in evidence.image_parts}
    subjects = {
        i: _subject(claim.rule, metrics, rival)
        for i, claim in claims.items()
        if claim.rule.slice is None or claim.rule.slice.by in cut
    }
    found = spreads(
        list(dict.fromkeys(subjects.values())), evidence, rival.evidence if rival else None,
        class_ids=[entry.id for entry in metrics.classes], resamples=policy.resamples,
        seed=policy.seed,
    )  # fmt: skip
    answer: dict[int, Spread | str] = dict.fromkeys(claims, _NO_INTERVAL_OF_BOXES)
    for i, subject in subjects.items():
        answer[i] = found[subject] or _TOO_FEW
    return answer


def _lacking(champion: Champion | None, evidence: Evidence | None) -> str:
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
    if champion.evidence.images != evidence.images:
        return f"the champion, {_version(champion)}, was measured on other images."
    return ""


def _subject(rule: GateRule, metrics: Metrics, rival: Champion | None) -> Subject:
    entry = metrics.of_class(rule.class_name) if rule.class_name is not None else None
    at_score = rule.slice is not None and rule.metric in ("precision", "recall", "f1")
    return Subject(
        metric=rule.metric,
        at=rule.at,
        class_id=entry.id if entry else None,
        part=(rule.slice.by, rule.slice.name) if rule.slice else None,
        score=_operating_score(metrics) if at_score else None,
        rival_score=_operating_score(rival.metrics) if at_score and rival else None,
    )


def _operating_score(metrics: Metrics) -> float | None:
    return metrics.details.errors.score if metrics.details else None


def _one_sided(policy: GatePolicy) -> float:
    assert policy.confidence is not None
    return (1 - policy.confidence) / 2


def _quantile(policy: GatePolicy) -> float:
    return -_NORMAL.inv_cdf(_one_sided(policy))


def _offset(comparison: ChampionRule | None) -> float:
    assert comparison is not None
    if comparison.min_gain is not None:
        return comparison.min_gain
    assert comparison.max_drop is not None
    return -comparison.max_drop


def _in_words(rule: GateRule) -> str:
    offset = _sign(rule) * _offset(rule.champion)
    return f" {'plus' if offset > 0 else 'minus'} {abs(offset):g}" if offset else ""


def _version(champion: Champion) -> str:
    return f"version {champion.version}"
