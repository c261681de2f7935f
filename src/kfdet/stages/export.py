"""export: a SavedModel that provably answers like its checkpoint."""

from __future__ import annotations

import itertools
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kfdet.core.parity import refusal
from kfdet.progress import Progress
from kfdet.report.export import export_page
from kfdet.schema.dataset import Manifest
from kfdet.schema.export import EXPORT_FILE, SAVED_MODEL_FOLDER, ExportManifest
from kfdet.schema.run_config import ParityConfig
from kfdet.schema.training import ResolvedExperiment
from kfdet.storage.atomic import write_text
from kfdet.storage.checkpoints import check_checkpoint
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.exports import content_digest, describe_files, exported_before
from kfdet.storage.folders import new_folder_at
from kfdet.storage.label_maps import LABEL_MAP_FILE, write_label_map
from kfdet.storage.locations import join
from kfdet.storage.quarantine import note_excluded
from kfdet.storage.splits import read_split

_PACKAGES = ("kfdet", "numpy", "tensorflow", "tf-keras", "tf-models-official")


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """Attributes:
    export_uri: Folder of the export.
    content_digest: Digest of its files.
    max_score_difference, max_box_difference_px: Largest seen between export and checkpoint.
    """

    export_uri: str
    content_digest: str
    max_score_difference: float
    max_box_difference_px: float


def run(
    *,
    experiment: Path,
    manifest: Path,
    checkpoint: str,
    checkpoint_digest: str,
    checkpoint_step: int,
    parity: ParityConfig,
    export_root: str,
    export_manifest: Path,
    report: Path,
    progress: Progress,
) -> ExportResult:
    """Exports a checkpoint; where the export answers otherwise, nothing is left behind.

    Args:
        experiment: The rendered experiment.
        manifest: Manifest of the validated data; its first test images are compared.
        checkpoint: Prefix of the checkpoint's files.
        checkpoint_digest: Digest of its bytes.
        checkpoint_step: Its step.
        parity: How many images, and how close.
        export_root: Folder of exports.
        export_manifest: Where a copy of the export's manifest is written.
        report: Where the HTML report is written.
        progress: Told of what is being done.

    Raises:
        ArtifactError: The checkpoint or the data are not those that were chosen and validated.
        ParityError: The reloaded export does not answer like the checkpoint.
    """
    resolved = read_document(ResolvedExperiment, experiment)
    data = read_document(Manifest, manifest)
    prefix = check_checkpoint(checkpoint, digest=checkpoint_digest)
    folder = join(export_root, checkpoint_digest[:16])
    exported = exported_before(folder, experiment_digest=resolved.fingerprint(), parity=parity)
    if exported is not None:
        progress.note(f"exported already: {folder}")
    else:
        exported = _export(
            resolved, data, folder, report,
            checkpoint=prefix, digest=checkpoint_digest, step=checkpoint_step,
            parity=parity, progress=progress,
        )  # fmt: skip
    write_document(export_manifest, exported)
    write_text(report, export_page(exported, exported.parity, folder=folder))
    progress.report(str(report))
    return ExportResult(
        export_uri=folder,
        content_digest=exported.content_digest,
        max_score_difference=exported.parity.max_score_difference,
        max_box_difference_px=exported.parity.max_box_difference_px,
    )


def _export(
    resolved: ResolvedExperiment,
    data: Manifest,
    folder: str,
    report: Path,
    *,
    checkpoint: str,
    digest: str,
    step: int,
    parity: ParityConfig,
    progress: Progress,
) -> ExportManifest:
    from kfdet.models.detector import Detector
    from kfdet.models.export import Question, prove_parity, write_saved_model
    from kfdet.models.saved_model import SIGNATURES

    note_excluded(progress, "test", data.test.excluded)
    records = itertools.islice(read_split(data.test), parity.images)
    questions = [Question(encoded=one.record.encoded, example=one.payload) for one in records]
    detector = Detector(resolved)
    detector.restore(checkpoint)
    with new_folder_at(folder, last=EXPORT_FILE) as work:
        progress.note("writing the SavedModel")
        write_saved_model(detector, work / SAVED_MODEL_FOLDER)
        progress.note(f"comparing it with the checkpoint on {len(questions)} test images")
        proof = prove_parity(
            detector, work / SAVED_MODEL_FOLDER, questions,
            tolerance=parity, nms=resolved.detector.nms,
        )  # fmt: skip
        if not proof.passed:
            write_text(report, export_page(None, proof, folder=folder))
            progress.report(str(report))
            raise refusal(proof, checkpoint)
        write_label_map(work / LABEL_MAP_FILE, resolved.label_map)
        files = describe_files(work)
        exported = ExportManifest(
            checkpoint_step=step,
            checkpoint_digest=digest,
            experiment_digest=resolved.fingerprint(),
            detector=resolved.detector,
            label_map=resolved.label_map,
            signatures=dict(SIGNATURES),
            parity=proof,
            files=files,
            content_digest=content_digest(files),
            versions={
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in _PACKAGES},
            },
        )
        write_document(work / EXPORT_FILE, exported)
    return exported
