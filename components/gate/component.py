"""Decides whether the model may ship."""

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import light_component


@light_component
def gate(
    policy: str,
    registry: str,
    model: str,
    metrics_json: Input[Artifact],
    evidence: Input[Artifact],
    decision_json: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> str:
    """Holds the metrics against the policy and the champion; whatever is missing fails.

    Args:
        policy: The section `gate` of the run configuration, as JSON.
        registry: Folder of the model registry.
        model: Name of the model in the registry.
        metrics_json: Metrics of the candidate.
        evidence: What they follow from; read where the policy asks for a confidence.
        decision_json: The decision with every rule: what it saw, wanted, and whether it holds.
        metrics: Rules that hold, fail and can't be told.
        report: The verdict, thresholds and differences.

    Returns:
        Output: pass, fail or insufficient_evidence.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.gate_policy import GatePolicy
    from kfdet.stages import gate as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("gate") as progress:
        result = stage.run(
            metrics=Path(metrics_json.path),
            evidence=Path(evidence.path),
            policy=parse_json(GatePolicy, policy, where="gate"),
            registry=registry,
            model=model,
            decision=Path(decision_json.path),
            report=Path(report.path),
            progress=progress,
        )
        write_scalars(metrics, holds=result.holds, fails=result.fails, unknown=result.unknown)
    return result.decision
