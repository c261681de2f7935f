"""fingerprint: the digest that stands for all the bytes of a data set."""

from __future__ import annotations

from dataclasses import dataclass

from kfdet.progress import Progress
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.dataset import data_digest, dataset_digests


@dataclass(frozen=True, kw_only=True)
class FingerprintResult:
    """Attributes:
    data_digest: Equal digests mean the same records and label map.
    digests: Split, or `label_map`, to digest of its files.
    """

    data_digest: str
    digests: dict[str, str]


def run(*, dataset: DatasetConfig, progress: Progress) -> FingerprintResult:
    """Reads every byte of a data set and names them.

    Args:
        dataset: Patterns of the splits, and the label map.
        progress: Told the digest.

    Raises:
        DataError: A pattern matches nothing, or the label map is missing.
    """
    digests = dataset_digests(dataset)
    whole = data_digest(digests)
    progress.note(f"the data have the digest {whole}")
    return FingerprintResult(data_digest=whole, digests=digests)
