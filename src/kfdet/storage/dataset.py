"""The files of a data set and the digests that name their content."""

from __future__ import annotations

from pathlib import Path

from kfdet.errors import DataError
from kfdet.schema.dataset import SPLITS
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.files import digest_of_digests, expand_patterns, file_sha256, files_digest
from kfdet.storage.locations import absolute
from kfdet.storage.stores import store_of


def dataset_digests(dataset: DatasetConfig) -> dict[str, str]:
    """Returns the digest of every split's files, of the label map, and of the quarantine list if any.

    A split's digest is that of its manifest where nothing is in quarantine.

    Raises:
        DataError: A pattern matches nothing, or the label map is missing.
    """
    beside = side_digests(dataset)
    digests: dict[str, str] = {
        split: files_digest(expand_patterns(getattr(dataset, split), where=f"dataset.{split}"))
        for split in SPLITS
    }
    return {**digests, **beside}


def side_digests(dataset: DatasetConfig) -> dict[str, str]:
    """Returns the digests of the files beside the records: label map and quarantine list.

    Raises:
        DataError: A file is missing.
    """
    named = {"label_map": dataset.label_map, "quarantine": dataset.quarantine}
    digests = {}
    for key, path in named.items():
        if path is None:
            continue
        if store_of(path).find(path) is None:
            raise DataError(
                "there is no such file",
                where=f"dataset.{key} {path}",
                expected="a label map" if key == "label_map" else "a list that validate wrote",
                remedy=f"Check the path; it is relative to {Path.cwd()}.",
            )
        digests[key] = file_sha256(path)
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
