"""render: the run configuration as a Model Garden experiment, checked before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kfdet.core.experiment import resolve
from kfdet.progress import Progress
from kfdet.report.experiment import experiment_page
from kfdet.schema.dataset import Manifest, Statistics
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.training_config import TrainingConfig
from kfdet.storage.atomic import write_text
from kfdet.storage.documents import read_document, write_document


@dataclass(frozen=True, kw_only=True)
class RenderResult:
    """Attributes:
    experiment_digest: Digest of the experiment; it names the model directory.
    parameters: Weights of the model.
    """

    experiment_digest: str
    steps: int
    batch_size: int
    parameters: int


def run(
    *,
    detector: DetectorConfig,
    training: TrainingConfig,
    manifest: Path,
    statistics: Path,
    experiment: Path,
    experiment_yaml: Path,
    report: Path,
    progress: Progress,
) -> RenderResult:
    """Renders the experiment and builds its model once, so that what can't work fails here.

    Args:
        detector: Section of the run configuration.
        training: Section of the run configuration.
        manifest: Of the validated data.
        statistics: Of the validated data.
        experiment: Where the resolved experiment is written.
        experiment_yaml: Where Model Garden's full configuration is written.
        report: Where the HTML report is written.
        progress: Told where the report is.

    Raises:
        ConfigError: The configuration can't be rendered, or Model Garden does not take it.
    """
    data = read_document(Manifest, manifest)
    resolved = resolve(detector, training, data)
    from kfdet.models.experiment import build_config, count_parameters, to_yaml

    config = build_config(resolved)
    parameters = count_parameters(config)
    measured = read_document(Statistics, statistics)
    full = to_yaml(config)
    write_document(experiment, resolved)
    write_text(experiment_yaml, full)
    write_text(
        report,
        experiment_page(resolved, statistics=measured, parameters=parameters, full=full),
    )
    progress.report(str(report))
    return RenderResult(
        experiment_digest=resolved.fingerprint(),
        steps=training.steps,
        batch_size=training.batch_size,
        parameters=parameters,
    )
