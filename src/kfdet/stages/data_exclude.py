"""`kfdet data exclude`: a data set without the records that validate found errors in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import SPLITS, Split
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.atomic import new_folder
from kfdet.storage.files import expand_patterns, file_sha256
from kfdet.storage.label_maps import LABEL_MAP_FILE, read_label_map, write_label_map
from kfdet.storage.quarantine import check_digest, read_exclusions
from kfdet.storage.records import read_records, write_shards
from kfdet.wording import plural


@dataclass(frozen=True, kw_only=True)
class ExcludeResult:
    """Attributes:
    images: Split to the number of records that are left.
    excluded: Split to the number that were left out.
    """

    folder: Path
    images: Mapping[Split, int]
    excluded: Mapping[Split, int]


def run(
    *, dataset: DatasetConfig, quarantine: Path, out: Path, progress: Progress
) -> ExcludeResult:
    """Writes the data set anew without the quarantined records; the old one stays as it is.

    Args:
        dataset: The data set that was validated.
        quarantine: The list that validate wrote about it.
        out: Folder for the shards and label_map.pbtxt; there whole or not at all.
        progress: Told of every record, and of how many were left out.

    Raises:
        DataError: The list is not of this data set, a split would be empty, or a record is damaged
            that the list does not name.
        StorageError: `out` can't be written.
    """
    files = {
        split: expand_patterns(getattr(dataset, split), where=f"dataset.{split}")
        for split in SPLITS
    }
    exclusions = read_exclusions(quarantine, files)
    for (_, path), exclusion in exclusions.items():
        check_digest(path, exclusion, sha256=file_sha256(path), where=str(quarantine))
    images, excluded = {}, {}
    with new_folder(out) as folder:
        write_label_map(folder / LABEL_MAP_FILE, read_label_map(dataset.label_map))
        for split, paths in files.items():
            listed = {p: e.records for (own, p), e in exclusions.items() if own == split}
            images[split] = sum(1 for _ in _kept(paths, listed))
            excluded[split] = sum(map(len, listed.values()))
            if not images[split]:
                raise DataError(f"split {split} would have no records left", where=str(quarantine))
            progress.note(
                f"{split}: {plural(images[split], 'record')} kept, {excluded[split]:,} left out"
            )
            write_shards(
                folder,
                stem=split,
                payloads=_kept(paths, listed),
                count=images[split],
                shards=min(len(paths), images[split]),
            )
    return ExcludeResult(folder=out, images=images, excluded=excluded)


def _kept(paths: tuple[str, ...], excluded: Mapping[str, Set[int]]) -> Iterator[bytes]:
    for path in paths:
        for frame in read_records(path, excluded=excluded.get(path, frozenset())):
            yield frame.payload
