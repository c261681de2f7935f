"""Which records of a data set are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.validation.shards import FileFacts
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import Quarantine, Split
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.documents import read_document
from kfdet.storage.locations import name_of

_REMEDY = "Run kfdet validate without dataset.quarantine, and use the list that it writes."


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """The records of one file that are left out.

    Attributes:
        sha256: Of the file that the list was made for.
        records: Their indices.
    """

    sha256: str
    records: frozenset[int]


def earlier_list(dataset: DatasetConfig) -> Quarantine | None:
    """Returns the list that a data set's configuration names, None when it names none.

    Raises:
        DataError: The list can't be read.
    """
    return read_document(Quarantine, dataset.quarantine) if dataset.quarantine else None


def read_exclusions(
    path: str | Path, files: Mapping[Split, Sequence[str]]
) -> dict[tuple[Split, str], Exclusion]:
    """Returns what a quarantine list leaves out of each file.

    A file is known by its path or, where the data set was moved, by split and name. Whether it has
    the bytes that the list was made for is for `check_exclusions` to say.

    Args:
        path: The list, as validate wrote it.
        files: Split to its files.

    Raises:
        DataError: The list can't be read, or names a file that the data set has not.
    """
    listed = read_document(Quarantine, path)
    records: dict[tuple[Split, str], set[int]] = {}
    for entry in listed.records:
        records.setdefault((entry.split, entry.file), set()).add(entry.record)
    return {
        (split, _file_of(file, files[split], split=split, where=str(path))): Exclusion(
            sha256=listed.files[file], records=frozenset(own)
        )
        for (split, file), own in records.items()
    }


def _file_of(listed: str, files: Sequence[str], *, split: Split, where: str) -> str:
    same_path = [file for file in files if file == listed]
    found = same_path or [file for file in files if name_of(file) == name_of(listed)]
    if len(found) != 1:
        raise DataError(
            f"it names {listed}, which is "
            + ("no file" if not found else f"the name of {len(found)} files")
            + f" of dataset.{split}",
            where=where,
            expected="the list that validate wrote about this data set",
            remedy=_REMEDY,
        )
    return found[0]


def check_exclusions(
    exclusions: Mapping[tuple[Split, str], Exclusion], files: Sequence[FileFacts], *, where: str
) -> None:
    """Makes sure that exactly the listed records were left out, of the files they were listed for.

    Args:
        exclusions: As `read_exclusions` returned them.
        files: As they were read.
        where: The list.

    Raises:
        DataError: A file has other bytes, or has no record of a listed index; names it.
    """
    facts = {(file.split, file.name): file for file in files}
    for (split, path), exclusion in exclusions.items():
        file = facts[split, path]
        check_digest(path, exclusion, sha256=file.sha256, where=where)
        beyond = sorted(exclusion.records - set(file.excluded))
        if beyond:
            raise DataError(f"{path} has no record {beyond[0]}", where=where, remedy=_REMEDY)


def check_digest(path: str, exclusion: Exclusion, *, sha256: str, where: str) -> None:
    """Makes sure that a file has the bytes that its exclusions were listed for.

    Raises:
        DataError: It has others.
    """
    if sha256 != exclusion.sha256:
        raise DataError(
            f"{path} has the SHA-256 {sha256[:12] or 'of no file that can be read'}",
            where=where,
            expected=f"{exclusion.sha256[:12]}, the file that the list was made for",
            remedy=f"Record numbers of other bytes mean other records. {_REMEDY}",
        )


def note_excluded(progress: Progress, split: Split, excluded: int) -> None:
    """Says how many records of a split are left out, if any."""
    if excluded:
        what = "1 record" if excluded == 1 else f"{excluded:,} records"
        progress.note(f"{what} of {split} left out, as quarantine says")
