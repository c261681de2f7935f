"""The files of a data set and the digests that name their content."""

from __future__ import annotations

from pathlib import Path

from kfdet.errors import DataError
from kfdet.schema.dataset import SPLITS
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.files import digest_of_digests, expand_patterns, file_sha256, files_digest
from kfdet.storage.locations import absolute


def dataset_digests(dataset: DatasetConfig) -> dict[str, str]:
    """Returns the digest of every split's files, of the label map, and of the quarantine list if any.

    A split's digest is that of its manifest where nothing is in quarantine.

    Raises:
        DataError: A pattern matches nothing, the label map is missing, or a file can't be read.
    """
    beside = side_digests(dataset)
    digests: dict[str, str] = {}
    for split in SPLITS:
        files = expand_patterns(getattr(dataset, split), where=f"dataset.{split}")
        try:
            digests[split] = files_digest(files)
        except OSError as failure:
            raise DataError(
                f"can't read: {failure.strerror}",
                where=f"dataset.{split} {failure.filename}",
                expected="a TFRecord shard",
                remedy="Check its permissions, and that it is a file that was copied whole.",
            ) from failure
    return {**digests, **beside}


def side_digests(dataset: DatasetConfig) -> dict[str, str]:
    """Returns the digests of the files beside the records: label map and quarantine list.

    Raises:
        DataError: A file is missing, or can't be read.
    """
    named = {"label_map": dataset.label_map, "quarantine": dataset.quarantine}
    digests = {}
    for key, path in named.items():
        if path is None:
            continue
        try:
            digests[key] = file_sha256(path)
        except OSError as failure:
            raise DataError(
                f"can't read: {failure.strerror}",
                where=f"dataset.{key} {path}",
                expected="a label map" if key == "label_map" else "a list that validate wrote",
                remedy=f"Check the path; it is relative to {Path.cwd()}.",
            ) from failure
    return digests


def data_digest(digests: dict[str, str]) -> str:
    """Returns the one digest that stands for all of a data set's bytes."""
    return digest_of_digests(sorted(digests.items()))


def with_absolute_paths(dataset: DatasetConfig) -> DatasetConfig:
    """Returns the data set with paths that hold in any working directory."""
    return dataset.model_copy(
        update={
            "label_map": absolute(dataset.label_map),
            "quarantine": absolute(dataset.quarantine) if dataset.quarantine else None,
            **{
                split: tuple(absolute(pattern) for pattern in getattr(dataset, split))
                for split in SPLITS
            },
        }
    )
