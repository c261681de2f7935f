"""The files of a data set and the digests that name their content."""

from __future__ import annotations

from pathlib import Path

from kfdet.errors import DataError
from kfdet.schema.dataset import SPLITS
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.files import digest_of_digests, expand_patterns, file_sha256, files_digest


def dataset_digests(dataset: DatasetConfig) -> dict[str, str]:
    """Returns the digest of every split and of the label map, by reading all the bytes.

    A split's digest is that of its manifest: equal digests mean equal records in equal order.

    Raises:
        DataError: A pattern matches nothing, or the label map is missing.
    """
    if not Path(dataset.label_map).is_file():
        raise DataError(
            "there is no such file",
            where=f"dataset.label_map {dataset.label_map}",
            expected="a label map",
            remedy=f"Check the path; it is relative to {Path.cwd()}.",
        )
    digests: dict[str, str] = {
        split: files_digest(expand_patterns(getattr(dataset, split), where=f"dataset.{split}"))
        for split in SPLITS
    }
    return {**digests, "label_map": file_sha256(dataset.label_map)}


def data_digest(digests: dict[str, str]) -> str:
    """Returns the one digest that stands for all of a data set's bytes."""
    return digest_of_digests(sorted(digests.items()))


def with_absolute_paths(dataset: DatasetConfig) -> DatasetConfig:
    """Returns the data set with paths that hold in any working directory."""

    def absolute(pattern: str) -> str:
        return pattern if "://" in pattern else str(Path(pattern).absolute())

    return dataset.model_copy(
        update={
            "label_map": absolute(dataset.label_map),
            **{
                split: tuple(absolute(pattern) for pattern in getattr(dataset, split))
                for split in SPLITS
            },
        }
    )
