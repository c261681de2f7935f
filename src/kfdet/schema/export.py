"""What `export` and `publish` give."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kfdet.schema.base import Document, Schema, Sha256
from kfdet.schema.dataset import LabelMap
from kfdet.schema.detector_config import DetectorConfig

EXPORT_FILE = "export.json"
SAVED_MODEL_FOLDER = "saved_model"


class FileDigest(Schema):
    """Attributes:
    path: Relative to the folder of the export, with forward slashes.
    """

    path: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class ParityProof(Schema):
    """The same images through the checkpoint and through the reloaded export.

    Attributes:
        max_score_difference, max_box_difference_px: The largest seen, over all kept detections.
        detections: Detections compared.
        mismatches: Detections with another class, or present on one side only.
    """

    images: int
    detections: int
    mismatches: int
    max_score_difference: float
    max_box_difference_px: float
    score_tolerance: float
    box_tolerance_px: float
    passed: bool


class ExportManifest(Document):
    """`export.json`, written last: a folder without it is not an export.

    Attributes:
        files: Every other file of the folder, sorted by path.
        digest is the content digest of the export: see `content_digest`.
        signatures: Signature name to its input's description.
    """

    checkpoint_step: int
    checkpoint_digest: Sha256
    experiment_digest: Sha256
    detector: DetectorConfig
    label_map: LabelMap
    signatures: dict[str, str]
    parity: ParityProof
    files: tuple[FileDigest, ...]
    content_digest: Sha256
    versions: dict[str, str]


class RegistryVersion(Document):
    """`version.json`, written last in the folder of a version."""

    model: str
    version: Annotated[int, Field(ge=1)]
    export_digest: Sha256
    checkpoint_digest: Sha256
    split_digest: Sha256
    created: str
    run: str


class ChampionPointer(Document):
    """`champion.json`: replaced atomically, so a reader sees the old one or the new one."""

    model: str
    version: Annotated[int, Field(ge=1)]
    export_digest: Sha256
    previous_version: int | None = Field(default=None)
