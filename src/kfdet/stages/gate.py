"""gate: a policy on a model's metrics, and on the champion's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.evidence import Evidence
from kfdet.core.gating import comparable, decide
from kfdet.errors import did_you_mean
from kfdet.progress import Progress
from kfdet.report.gate import gate_page
from kfdet.schema.gate import Verdict
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import Metrics
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.evidence import read_evidence
from kfdet.storage.registry import ModelRegistry

_REASONS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """Attributes:
    reasons: The sentences of the rules that decided, worst first.
    holds, fails, unknown: Number of rules with that outcome.
    """

    decision: Verdict
    reasons: tuple[str, ...]
    holds: int
    fails: int
    unknown: int


def run(
    *,
    metrics: Path,
    evidence: Path | None,
    policy: GatePolicy,
    registry: str,
    model: str,
    decision: Path,
    report: Path,
    progress: Progress,
) -> GateResult:
    """Decides whether a model may be exported; `fail` is an answer, not an error.

    Args:
        metrics: The candidate's metrics, as merge wrote them.
        evidence: The folder that merge wrote beside them; read only where the policy asks for
            intervals. Without it such rules can't be told.
        policy: What it must show.
        registry: Folder of the model registry, which holds the champion.
        model: Name of the model in it.
        decision: Where the decision is written.
        report: Where the HTML report is written.
        progress: Told the decision.

    Raises:
        ArtifactError: The metrics or the registry are damaged.
        ConfigError: The policy has no rules.
    """
    candidate = read_document(Metrics, metrics)
    published = ModelRegistry(registry, model=model)
    champion = published.champion()
    if champion is None and any(rule.champion for rule in policy.rules):
        progress.note(_without_champion(published, registry))
    if champion is not None:
        again = published.measured_on(
            champion, split_digest=candidate.split_digest, settings=candidate.settings
        )
        champion = again or champion
    matched = None
    if policy.needs_intervals():
        matched = _evidence(candidate, evidence)
        if champion is not None and comparable(candidate, champion.metrics):
            champion = dataclasses.replace(champion, evidence=published.evidence(champion))
    answer = decide(candidate, policy=policy, champion=champion, evidence=matched)
    write_document(decision, answer)
    write_text(report, gate_page(answer, metrics=candidate, champion=champion, model=model))
    progress.report(str(report))
    shown = list(answer.reasons[:_REASONS_SHOWN])
    if len(answer.reasons) > len(shown):
        shown.append(f"And {len(answer.reasons) - len(shown)} more in {report}.")
    progress.note(f"{answer.decision}: {' '.join(shown)}")
    outcomes = [rule.outcome for rule in answer.rules]
    return GateResult(
        decision=answer.decision,
        reasons=answer.reasons,
        holds=outcomes.count("holds"),
        fails=outcomes.count("fails"),
        unknown=outcomes.count("unknown"),
    )


def _without_champion(published: ModelRegistry, registry: str) -> str:
    """Returns what is to be known where there is nothing to compare with: a name may be mistyped."""
    others = published.others()
    listed = ", ".join(f'"{name}"' for name in others[:_REASONS_SHOWN])
    known = f"{registry} has {listed}. {did_you_mean(published.model, others)}" if others else ""
    return f'there is no champion called "{published.model}" yet; {known}'.rstrip(" ;")


def _evidence(metrics: Metrics, folder: Path | None) -> Evidence | None:
    if folder is None or metrics.evidence_digest is None:
        return None
    return read_evidence(folder, images=metrics.images, digest=metrics.evidence_digest)
