"""check: whether data and configuration can reach the gate, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.feasibility.assess import Question, assess
from kfdet.core.feasibility.objects import SplitObjects, gather_objects
from kfdet.core.feasibility.rules import Rival
from kfdet.core.measures import check_policy
from kfdet.core.slices import feature_parts, slices_of_every_set
from kfdet.core.validation.catalogue import SeverityOrOff
from kfdet.core.validation.catalogue import severities as severities_under
from kfdet.errors import ArtifactError, ConfigError
from kfdet.progress import Progress
from kfdet.report.feasibility import feasibility_page
from kfdet.schema.dataset import SPLITS, Manifest, Split
from kfdet.schema.feasibility import Estimates, Feasibility, FeasibilityVerdict
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import CocoSettings, MeasurementConfig
from kfdet.schema.run_config import FeasibilityConfig
from kfdet.schema.training import ResolvedExperiment
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.registry import ModelRegistry
from kfdet.storage.splits import read_split


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Attributes:
    reasons: Of the verdict, the gravest first.
    ap_ceiling: What no detector exceeds on the test split; None where AP is undefined.
    ap_perfect: What the ground truth scores after suppression and the limit of detections.
    warnings: Findings of that severity.
    """

    verdict: FeasibilityVerdict
    reasons: tuple[str, ...]
    ap_ceiling: float | None
    ap_perfect: float | None
    rules_at_risk: int
    rules_out_of_reach: int
    warnings: int


def run(
    *,
    experiment: Path,
    manifest: Path,
    policy: GatePolicy,
    severities: Mapping[str, SeverityOrOff],
    settings: FeasibilityConfig,
    measurement: MeasurementConfig,
    feasibility: Path,
    report: Path,
    progress: Progress,
    estimates: Estimates | None = None,
    champions: ModelRegistry | None = None,
) -> CheckResult:
    """Holds what is about to be trained against the gate.

    Args:
        experiment: The resolved experiment.
        manifest: Of the validated data.
        policy: The gate's.
        severities: Finding code to severity, over the catalogue's.
        settings: What to do about a gate that can't be reached.
        measurement: What the evaluation's statistics will be taken over, and cut by.
        feasibility: Where the answer is written.
        report: Where the HTML report is written.
        progress: Told the verdict.
        estimates: Time and memory, where they were measured.
        champions: Where the champion is; without it, comparisons are judged as far as can be.

    Raises:
        ConfigError: The gate can't be reached and the settings say stop; answer and report are
            written all the same. Or a rule names what there is not.
        ArtifactError: The experiment is of other data, or these have changed.
    """
    resolved = read_document(ResolvedExperiment, experiment)
    data = read_document(Manifest, manifest)
    if data.train.digest != resolved.train_digest:
        raise ArtifactError("is of other training data", where=str(experiment), remedy="Run render again.")  # fmt: skip
    splits = _objects(data, progress)
    features = feature_parts(splits["test"].images.features or (), keys=measurement.slices)
    cuts = {part.by: part.names for part in features}
    check_policy(
        policy,
        classes=[label.name for label in data.label_map.classes],
        slices={**slices_of_every_set(), **cuts},
        features=(),
        settings=measurement.settings(),
        where="gate",
    )
    question = Question(
        detector=resolved.detector,
        training=resolved.training,
        policy=policy,
        label_map=data.label_map,
        severities=severities_under(severities),
        settings=measurement.settings(),
        slices=measurement.slices,
        rival=_rival(champions, split_digest=data.test.digest, settings=measurement.settings()),
    )
    answer = assess(question, splits, test_digest=data.test.digest, estimates=estimates)
    write_document(feasibility, answer)
    write_text(report, feasibility_page(answer, resolved))
    progress.report(str(report))
    progress.note(f"{answer.verdict}: {' '.join(answer.reasons)}")
    if answer.verdict == "cannot_pass" and settings.unreachable_gate == "stop":
        raise _unreachable(answer, report)
    outcomes = [rule.outcome for rule in answer.rules]
    return CheckResult(
        verdict=answer.verdict,
        reasons=answer.reasons,
        ap_ceiling=answer.ceilings.ceiling.ap,
        ap_perfect=answer.ceilings.perfect.ap,
        rules_at_risk=outcomes.count("at_risk"),
        rules_out_of_reach=outcomes.count("out_of_reach"),
        warnings=sum(finding.severity == "warning" for finding in answer.findings),
    )


def _rival(
    champions: ModelRegistry | None, *, split_digest: str, settings: CocoSettings
) -> Rival | None:
    if champions is None:
        return None
    champion = champions.champion()
    if champion is None:
        return Rival(exists=False)
    measured = champions.measured_on(champion, split_digest=split_digest, settings=settings)
    return Rival(exists=True, metrics=measured.metrics if measured else None)


def _objects(data: Manifest, progress: Progress) -> dict[Split, SplitObjects]:
    objects: dict[Split, SplitObjects] = {}
    for done, split in enumerate(SPLITS, start=1):
        objects[split] = gather_objects(read_split(data.split(split)), split=split)
        progress.update(done, total=len(SPLITS), unit="splits")
    return objects


def _unreachable(answer: Feasibility, report: Path) -> ConfigError:
    rules = [rule for rule in answer.rules if rule.outcome == "out_of_reach"]
    lines = "".join(f"\n  - {rule.rule}: {rule.reason} {rule.remedy}" for rule in rules)
    return ConfigError(
        f"the gate can't be reached, whatever is trained:{lines}",
        where="gate",
        remedy=f"\nfeasibility.unreachable_gate: warn trains all the same; the report is {report}.",
    )
