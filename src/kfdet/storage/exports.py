"""The folder of an export: its files with digests, and whether it is whole."""

from __future__ import annotations

from pathlib import Path

from kfdet.errors import ArtifactError
from kfdet.schema.export import EXPORT_FILE, ExportManifest, FileDigest
from kfdet.schema.run_config import ParityConfig
from kfdet.storage.checkpoints import checkpoint_digest
from kfdet.storage.copies import local_folder
from kfdet.storage.documents import read_document
from kfdet.storage.files import digest_of_digests, file_sha256
from kfdet.storage.locations import join
from kfdet.storage.stores import store_of


def describe_files(folder: Path) -> tuple[FileDigest, ...]:
    """Returns every file of an export but its manifest, sorted by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    described = [
        FileDigest(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=file_sha256(path),
        )
        for path in files
        if path != folder / EXPORT_FILE
    ]
    return tuple(sorted(described, key=lambda file: file.path))


def content_digest(files: tuple[FileDigest, ...]) -> str:
    """Returns the one digest that stands for all of an export's files."""
    return digest_of_digests((file.path, file.sha256) for file in files)


def is_export(place: str) -> bool:
    """Returns whether a path or an address in a bucket is that of an export or of a version."""
    manifest = join(place, EXPORT_FILE)
    return store_of(manifest).find(manifest) is not None


def model_digest(place: str) -> str:
    """Returns what names the bytes of a model: of an export by its folder, or of a checkpoint.

    Raises:
        ArtifactError: It is neither, or not whole.
    """
    if is_export(place):
        return read_export(local_folder(place)).content_digest
    return checkpoint_digest(place)


def read_export(folder: Path | str) -> ExportManifest:
    """Reads an export's manifest, or that of a registry version, and checks every file it names.

    Raises:
        ArtifactError: The folder is no export, or a file is missing or has other bytes.
    """
    path = Path(folder)
    manifest = read_document(ExportManifest, path / EXPORT_FILE)
    for file in manifest.files:
        try:
            digest = file_sha256(path / file.path)
        except OSError as failure:
            raise ArtifactError(
                f"can't read: {failure.strerror}",
                where=str(path / file.path),
                expected=f"a file that {EXPORT_FILE} names",
                remedy="Export again.",
            ) from failure
        if digest != file.sha256:
            raise ArtifactError(
                f"its digest is {digest[:16]}",
                where=str(path / file.path),
                expected=f"{file.sha256[:16]}, as when it was exported",
                remedy="It was changed: export again.",
            )
    return manifest


def exported_before(
    folder: Path | str, *, experiment_digest: str, parity: ParityConfig
) -> ExportManifest | None:
    """Returns the export that is there already, if it is whole and was proven at least as well."""
    try:
        exported = read_export(local_folder(folder))
    except ArtifactError:
        return None
    proof = exported.parity
    as_good = (
        proof.passed
        and proof.images >= parity.images
        and proof.score_tolerance <= parity.score_tolerance
        and proof.box_tolerance_px <= parity.box_tolerance_px
    )
    return exported if as_good and exported.experiment_digest == experiment_digest else None
