"""examine: the records of one group of shards, so that many machines can share a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examined import shards_of_group
from kfdet.errors import DataError, UsageError
from kfdet.progress import Progress
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.examinations import write_group
from kfdet.storage.files import file_sha256
from kfdet.storage.label_maps import read_named_classes
from kfdet.storage.scanning import all_shards, scan_shards, split_files


@dataclass(frozen=True, kw_only=True)
class ExamineResult:
    """Attributes:
    shards: Files of the group.
    images, boxes: In them.
    counts: Code to number of faults, whatever their severity; what only shows between shards comes
        with `validate`.
    faults: All of them.
    """

    shards: int
    images: int
    boxes: int
    counts: Mapping[str, int]
    faults: int


def run(
    *,
    dataset: DatasetConfig,
    group: int,
    num_groups: int,
    out: Path,
    progress: Progress,
    data_digest: str | None = None,
) -> ExamineResult:
    """Examines every record of group k of n, and writes what was found for `validate` to merge.

    A fault of the data is no failure here: `validate` knows the severities, and names all of them.

    Args:
        dataset: Patterns of the splits and label map.
        group: k, from zero.
        num_groups: n; group k takes the files [k::n] of all the splits together.
        out: Folder to write.
        progress: Told of every image.
        data_digest: Digest that the data had when the run began; `validate` holds it against the
            bytes.

    Raises:
        UsageError: There is no such group, or none at all.
        DataError: The quarantine list can't be read, or is of another data set.
        StorageError: The folder can't be written.
    """
    _check_group(group, num_groups)
    names, digest = _names(dataset.label_map)
    files = split_files(dataset)
    own = shards_of_group(all_shards(files), group=group, num_groups=num_groups)
    scans = tuple(scan_shards(own, files=files, names=names, progress=progress))
    write_group(
        out,
        scans,
        group=group,
        num_groups=num_groups,
        label_map_sha256=digest,
        data_digest=data_digest,
    )
    counts = sum((scan.log.counts for scan in scans), Counter[str]())
    return ExamineResult(
        shards=len(scans),
        images=sum(scan.tally.images for scan in scans),
        boxes=sum(scan.tally.boxes for scan in scans),
        counts=dict(sorted(counts.items())),
        faults=counts.total(),
    )


def _check_group(group: int, num_groups: int) -> None:
    if num_groups < 1:
        raise UsageError(
            f"shards can't be shared out over {num_groups} groups",
            where="--num-groups",
            expected="1 or more",
            remedy="--num-groups 1 examines all of them in one.",
        )
    if not 0 <= group < num_groups:
        numbers = f"a number from 0 to {num_groups - 1}" if num_groups > 1 else "0"
        raise UsageError(
            f"there is no group {group} of {num_groups}",
            where="--group",
            expected=numbers,
            remedy="Groups are counted from zero.",
        )


def _names(label_map: str) -> tuple[Names | None, str | None]:
    """Returns the label map's names and digest; none where it can't be read, as `validate` reports."""
    try:
        return Names(aliases=read_named_classes(label_map).aliases), file_sha256(label_map)
    except DataError:
        return None, None
