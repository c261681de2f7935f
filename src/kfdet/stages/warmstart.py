"""warmstart: what a training that starts from the champion begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.experiment import resolve
from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.schema.dataset import LabelMap, Manifest
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.export import ExportManifest
from kfdet.schema.training_config import TrainingConfig
from kfdet.storage.checkpoints import check_checkpoint
from kfdet.storage.documents import read_document
from kfdet.storage.model_dir import ModelDir
from kfdet.storage.registry import ModelRegistry

# What may differ between two detectors of which one takes the other's weights.
_WEIGHTLESS = {"input_size", "keep_aspect_ratio", "nms", "max_instances"}


@dataclass(frozen=True, kw_only=True)
class WarmstartResult:
    """Attributes:
    training: With what it begins with as `init_checkpoint` and `init_modules`.
    version: Version whose checkpoint that is; null when it begins as it was configured.
    """

    training: TrainingConfig
    version: int | None


def run(
    *,
    detector: DetectorConfig,
    training: TrainingConfig,
    model_root: str,
    registry: str,
    model: str,
    manifest: Path,
    progress: Progress,
) -> WarmstartResult:
    """Chooses what a training begins with.

    That is the champion's checkpoint, with two exceptions. Where the run would make the champion
    itself again, it begins where the champion began, and so finds it made. Where the champion's
    weights do not fit the detector, or there is no champion, it begins as configured.

    Args:
        detector: Section of the run configuration.
        training: Section of the run configuration.
        model_root: Folder of model directories, where the champion was trained.
        registry: Folder of the model registry.
        model: Name of the model in it.
        manifest: Of the validated data.
        progress: Told what was chosen.

    Raises:
        ArtifactError: The registry is damaged, or the champion's checkpoint is gone.
    """
    data = read_document(Manifest, manifest)
    exports = ModelRegistry(registry, model=model).exports()
    if not exports:
        progress.note("there is no champion yet: training begins as configured")
        return WarmstartResult(training=training, version=None)
    champion = max(exports)
    beginnings = [
        WarmstartResult(training=training, version=None),
        *(
            _from(number, export, training, root=model_root, labels=data.label_map)
            for number, export in exports.items()
        ),
    ]
    made = exports[champion].experiment_digest
    for begun in beginnings[:-1]:
        if resolve(detector, begun.training, data).fingerprint() == made:
            progress.note(f"version {champion} was made of these data in this way: nothing to do")
            return begun
    return _new(detector, exports[champion], beginnings, progress)


def _from(
    number: int, export: ExportManifest, training: TrainingConfig, *, root: str, labels: LabelMap
) -> WarmstartResult:
    folder = ModelDir.of(root, experiment_digest=export.experiment_digest)
    # Heads have an output for every class: other classes, other heads.
    modules = ("all",) if export.label_map == labels else ("backbone", "decoder")
    begun = training.model_copy(
        update={"init_checkpoint": folder.uri(export.checkpoint_step), "init_modules": modules}
    )
    return WarmstartResult(training=begun, version=number)


def _new(
    detector: DetectorConfig,
    champion: ExportManifest,
    beginnings: Sequence[WarmstartResult],
    progress: Progress,
) -> WarmstartResult:
    configured, begun = beginnings[0], beginnings[-1]
    if detector.model_dump(exclude=_WEIGHTLESS) != champion.detector.model_dump(
        exclude=_WEIGHTLESS
    ):
        progress.note(f"version {begun.version} is another detector: training begins as configured")
        return configured
    checkpoint = begun.training.init_checkpoint or ""
    try:
        check_checkpoint(checkpoint, digest=champion.checkpoint_digest)
    except ArtifactError as failure:
        raise ArtifactError(
            f"version {begun.version} can't be started from: {failure.what}",
            where=checkpoint,
            expected="the checkpoint that the champion was exported from",
            remedy="Keep the model directory of the champion, or set cluster.start_from to "
            "configuration.",
        ) from failure
    progress.note(f"training begins with version {begun.version}: {checkpoint}")
    return begun
