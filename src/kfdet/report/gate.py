"""The page of a gate decision: the verdict, every rule with its numbers, the champion beside it."""

from __future__ import annotations

from kfdet.core.gating import Champion, why_incomparable
from kfdet.report.page import (
    Html,
    Section,
    Tile,
    Tone,
    badge,
    bullets,
    message,
    page,
    paragraph,
    properties,
    table,
)
from kfdet.report.wording import difference, percent
from kfdet.schema.gate import Decision, Outcome, RuleResult, Verdict
from kfdet.schema.metrics import METRIC_NAMES, Metrics

_TONES: dict[Verdict, Tone] = {"pass": "good", "fail": "bad", "insufficient_evidence": "warn"}
_VERDICTS: dict[Verdict, str] = {
    "pass": "The model may be exported: every rule holds.",
    "fail": "The model is not exported: at least one rule fails.",
    "insufficient_evidence": "The model is not exported: at least one rule can't be told.",
}
_INTERVALS = (
    " A rule with an interval holds when all of it is at or above zero, and fails when all of it is "
    "below, more strictly the more rules there are. Intervals come from halves of the images, for "
    "both models of a comparison the same ones. What so few images add to a value is taken off, so "
    "that an interval need not lie about the measured margin."
)
_OUTCOMES: dict[Outcome, Tone] = {"holds": "good", "fails": "bad", "unknown": "warn"}


def gate_page(
    decision: Decision, *, metrics: Metrics, champion: Champion | None, model: str
) -> str:
    """Returns the report of a decision as one HTML document.

    Args:
        decision: The decision with its rules.
        metrics: The candidate's metrics.
        champion: What it was compared with; None when there is no champion.
        model: Name of the model in the registry.
    """
    words = decision.decision.replace("_", " ")
    rival = f"champion version {champion.version}" if champion else "no champion yet"
    return page(
        title=f"Gate: {words}",
        subtitle=f"{model}, {metrics.images:,} images of the {metrics.split} set, {rival}",
        status=(words, _TONES[decision.decision]),
        tiles=_tiles(decision),
        sections=[
            _reasons(decision),
            _rules(decision),
            _comparison(metrics, champion),
            _evidence(decision, metrics, champion),
        ],
    )


def _tiles(decision: Decision) -> list[Tile]:
    outcomes = [rule.outcome for rule in decision.rules]
    margins = [rule.margin for rule in decision.rules if rule.margin is not None]
    tiles = [
        Tile(label="Rules that hold", value=f"{outcomes.count('holds')} of {len(outcomes)}"),
        Tile(
            label="Rules that fail",
            value=str(outcomes.count("fails")),
            tone="bad" if "fails" in outcomes else "neutral",
        ),
        Tile(
            label="Rules that can't be told",
            value=str(outcomes.count("unknown")),
            tone="warn" if "unknown" in outcomes else "neutral",
        ),
    ]
    if margins:
        tiles.append(
            Tile(
                label="Smallest margin",
                value=difference(min(margins)),
                hint="measured minus required, over the rules with numbers",
            )
        )
    return tiles


def _reasons(decision: Decision) -> Section:
    return Section(
        title="Verdict",
        body=(
            message(_VERDICTS[decision.decision], _TONES[decision.decision]),
            bullets(decision.reasons),
        ),
    )


def _rules(decision: Decision) -> Section:
    rows: list[list[str | Html | float | int | None]] = [
        [
            badge(rule.outcome, _OUTCOMES[rule.outcome]),
            rule.rule,
            rule.seen,
            rule.wanted,
            difference(rule.margin, digits=4),
            rule.champion,
            rule.boxes,
        ]
        for rule in decision.rules
    ]
    policy = "pass" if decision.policy.no_champion == "pass" else "fail"
    confidence = decision.policy.confidence
    by_interval = any(rule.standard_error is not None for rule in decision.rules)
    headers = ["Outcome", "Rule", "Measured", "Required", "Margin", "Champion", "Boxes"]
    if by_interval and confidence is not None:
        headers += [f"{percent(confidence, digits=0)} interval of the margin", "More images"]
        for row, rule in zip(rows, decision.rules, strict=True):
            row += [_interval(rule), rule.more_images]
    sentences: list[list[str | Html | float | int | None]] = [
        [badge(rule.outcome, _OUTCOMES[rule.outcome]), rule.reason] for rule in decision.rules
    ]
    return Section(
        title="Rules",
        intro="All rules must hold. A missing number fails; a comparison with a champion that was "
        f"measured on other images can't be told. Without a champion, comparisons {policy}."
        + _INTERVALS
        * by_interval,
        body=(table(headers, rows), table(["Outcome", "In words"], sentences)),
    )


def _interval(rule: RuleResult) -> str | None:
    if rule.margin_low is None or rule.margin_high is None:
        return None
    low, high = (difference(side, digits=4) for side in (rule.margin_low, rule.margin_high))
    return f"{low} to {high}"


def _comparison(metrics: Metrics, champion: Champion | None) -> Section:
    if champion is None:
        return Section(
            title="Champion",
            body=(paragraph("Nothing was published under this name yet; there is no champion."),),
        )
    apart = why_incomparable(metrics, champion)
    rows: list[list[str | float | None]] = []
    both = [name for name in metrics.overall.more if name in champion.metrics.overall.more]
    for name in (*METRIC_NAMES, *both):
        mine, theirs = metrics.overall.value(name), champion.metrics.overall.value(name)
        rows.append([name, mine, theirs, _gain(mine, theirs, comparable=not apart)])
    classes: list[list[str | float | None]] = []
    for entry in metrics.classes:
        other = champion.metrics.of_class(entry.name)
        mine, theirs = entry.metrics.ap, other.metrics.ap if other else None
        classes.append([entry.name, mine, theirs, _gain(mine, theirs, comparable=not apart)])
    notes: list[Html] = []
    if apart:
        notes.append(message(f"{apart[0].upper()}{apart[1:]}", "warn"))
    if champion.measured_again:
        notes.append(
            message(
                f"The champion was published on another {metrics.split} set. Its export was measured "
                "again on the candidate's images, and these are its numbers there.",
                "neutral",
            )
        )
    headers = ["Candidate", f"Champion, version {champion.version}", "Difference"]
    return Section(
        title="Champion",
        intro="The candidate beside the published model.",
        body=(
            *notes,
            table(["Metric", *headers], rows, caption="Over all classes"),
            table(["Class", *headers], classes, caption="AP of each class"),
        ),
    )


def _gain(mine: float | None, theirs: float | None, *, comparable: bool) -> str:
    if not comparable or mine is None or theirs is None:
        return difference(None)
    return difference(mine - theirs, digits=4)


def _evidence(decision: Decision, metrics: Metrics, champion: Champion | None) -> Section:
    pairs: dict[str, str | Html | float | int | None] = {
        "Checkpoint": decision.checkpoint_digest,
        f"{metrics.split} set": decision.split_digest,
        "Metrics": decision.metrics_digest,
        "Engine": f"{metrics.engine} {metrics.engine_version}",
    }
    if champion:
        pairs["Champion's checkpoint"] = champion.metrics.checkpoint_digest
        pairs["Champion's set"] = champion.metrics.split_digest
    return Section(
        title="Evidence",
        intro="Digests of what the decision rests on.",
        body=(properties(pairs),),
    )
