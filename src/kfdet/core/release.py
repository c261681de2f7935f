"""Whether a decision lets an export out."""

from __future__ import annotations

from kfdet.errors import ArtifactError
from kfdet.schema.export import ExportManifest
from kfdet.schema.gate import Decision
from kfdet.schema.metrics import Metrics


def check_release(
    decision: Decision, metrics: Metrics, export: ExportManifest, *, where: str
) -> None:
    """Checks that a decision lets this very export out.

    Args:
        decision: The gate's decision.
        metrics: The metrics that it was made on.
        export: What is to be published.
        where: Where the decision came from, for errors.

    Raises:
        ArtifactError: The decision is no pass, was made on other metrics or about another checkpoint,
            or the export failed its parity check.
    """
    if decision.decision != "pass":
        raise ArtifactError(
            f"the decision is {decision.decision}",
            where=where,
            expected="pass",
            remedy=f"Nothing was published. {' '.join(decision.reasons)}",
        )
    if decision.metrics_digest != metrics.fingerprint():
        raise ArtifactError(
            f"the decision was made on metrics {decision.metrics_digest[:12]}",
            where=where,
            expected=f"{metrics.fingerprint()[:12]}, the metrics given",
            remedy="Run the gate on these metrics.",
        )
    if decision.checkpoint_digest != export.checkpoint_digest:
        raise ArtifactError(
            f"the decision is about checkpoint {decision.checkpoint_digest[:12]}",
            where=where,
            expected=f"{export.checkpoint_digest[:12]}, which was exported",
            remedy="Export the checkpoint that the gate let through.",
        )
    if not export.parity.passed:
        raise ArtifactError(
            "the export does not answer like its checkpoint",
            where=where,
            expected="a parity check that passed",
            remedy="Export again.",
        )
