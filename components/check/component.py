"""Says before any training whether the gate can be reached."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import light_component


@light_component
def check(
    dataset: str,
    policy: str,
    feasibility: str,
    measurement: str,
    experiment: Input[Artifact],
    manifest: Input[Artifact],
    feasibility_json: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("feasibility_verdict", str)]):
    """Holds data and experiment against the gate's rules: what no detector can reach ends the run.

    Args:
        dataset: The section `dataset` of the run configuration, as JSON; for its severities.
        policy: The section `gate` of the run configuration, as JSON.
        feasibility: The section `feasibility` of the run configuration, as JSON.
        measurement: IoU thresholds, areas, counts and slices of the evaluation, as JSON.
        experiment: What is about to be trained.
        manifest: Manifest of the validated data.
        feasibility_json: Verdict, ceilings of every metric, rules, anchors and findings.
        metrics: The ceiling of AP, what a perfect detector scores, findings.
        report: Verdict, ceilings, rules, anchors against boxes, and what to change.

    Returns:
        feasibility_verdict: can_pass, at_risk or cannot_pass.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.gate_policy import GatePolicy
    from kfdet.schema.metrics import MeasurementConfig
    from kfdet.schema.run_config import DatasetConfig, FeasibilityConfig
    from kfdet.stages import check as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("check") as progress:
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            policy=parse_json(GatePolicy, policy, where="gate"),
            severities=parse_json(DatasetConfig, dataset, where="dataset").severities,
            settings=parse_json(FeasibilityConfig, feasibility, where="feasibility"),
            measurement=parse_json(MeasurementConfig, measurement, where="measurement"),
            feasibility=Path(feasibility_json.path),
            report=Path(report.path),
            progress=progress,
        )
        write_scalars(
            metrics,
            ap_ceiling=result.ap_ceiling,
            ap_perfect=result.ap_perfect,
            rules_at_risk=result.rules_at_risk,
            rules_out_of_reach=result.rules_out_of_reach,
            warnings=result.warnings,
        )
    return (result.verdict,)
