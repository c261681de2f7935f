"""What examining one shard, or several in order, gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kfdet.core.validation.boxes import Names
from kfdet.core.validation.dataset_checks import (
    class_set_faults,
    identity_faults,
    label_map_faults,
    near_copy_faults,
    placement_faults,
    source_id_faults,
    split_faults,
)
from kfdet.core.validation.drift import drift_faults
from kfdet.core.validation.findings import FindingLog
from kfdet.core.validation.shards import FileFacts, file_faults
from kfdet.core.validation.tally import Identities, SplitTally
from kfdet.schema.dataset import Split, SplitStatistics

_BOXES_BINS = 50


@dataclass(kw_only=True)
class Partial:
    """The findings and sums of some shards of one split.

    Merging is associative: shards may be examined in any grouping, as long as groups are merged in
    the order of their shards.

    Attributes:
        files: In canonical order.
        records: Records found in each file, damaged ones included.
    """

    files: list[FileFacts] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    log: FindingLog = field(default_factory=FindingLog)
    tally: SplitTally = field(default_factory=SplitTally)
    identities: Identities = field(default_factory=Identities)

    def merge(self, other: Partial) -> None:
        """Adds shards that come after these."""
        self.files += other.files
        self.records += other.records
        self.log.merge(other.log)
        self.tally.merge(other.tally)
        self.identities.merge(other.identities)


def whole_log(
    partials: Mapping[Split, Partial],
    *,
    names: Names | None,
    label_map: str,
    readers: Mapping[Split, int],
) -> FindingLog:
    """Returns every finding: of the shards, and of the splits side by side.

    Args:
        partials: Split to all its shards, merged.
        names: The label map's; None when it can't be read.
        label_map: Its file.
        readers: Split to the number of tasks that will share its files.
    """
    log = FindingLog()
    for partial in partials.values():
        log.merge(partial.log)
    files = [file for partial in partials.values() for file in partial.files]
    for place, fault in file_faults(files, readers=readers):
        log.add(place, fault)
    tallies = {split: partial.tally for split, partial in partials.items()}
    filled = {split: tally for split, tally in tallies.items() if tally.images}
    if names is not None:
        for place, fault in label_map_faults(names, file=label_map):
            log.add(place, fault)
        for place, fault in class_set_faults(filled, names, file=label_map):
            log.add(place, fault)
        shown = {number: aliases[0] for number, aliases in names.aliases.items()}
        for place, fault in drift_faults(filled, shown):
            log.add(place, fault)
    for place, fault in split_faults(tallies):
        log.add(place, fault)
    for place, fault in placement_faults(filled):
        log.add(place, fault)
    identities = {split: partial.identities for split, partial in partials.items()}
    for place, fault in identity_faults(identities):
        log.add(place, fault)
    for place, fault in source_id_faults(identities):
        log.add(place, fault)
    for place, fault in near_copy_faults(identities):
        log.add(place, fault)
    return log


def statistics_of(
    partials: Mapping[Split, Partial], *, names: Mapping[int, str]
) -> dict[Split, SplitStatistics]:
    """Returns the statistics of each split.

    Args:
        partials: Split to all its shards, merged.
        names: Class id to name.
    """
    most = max(
        (max(part.tally.boxes_per_image, default=0) for part in partials.values()), default=0
    )
    width = most // _BOXES_BINS + 1
    return {
        split: partial.tally.statistics(names, boxes_bin=width)
        for split, partial in partials.items()
    }
