"""A shard's findings and sums as a document, and groups of them put together again."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import cast

import numpy as np

from kfdet.core.validation.findings import Fault, FindingLog, Place
from kfdet.core.validation.partial import Partial
from kfdet.core.validation.placement import Placement
from kfdet.core.validation.shards import FileFacts
from kfdet.core.validation.tally import HistogramTally, Identities, SplitTally
from kfdet.errors import ArtifactError
from kfdet.schema.dataset import Split
from kfdet.schema.examination import ExaminedGroup, ExaminedShard, FaultPlace, FaultSeen, Tally

ShardKey = tuple[Split, str]
_AGAIN = "Run examine again for every group, with one data set and one label map."


def shards_of_group(
    shards: Sequence[ShardKey], *, group: int, num_groups: int
) -> tuple[ShardKey, ...]:
    """Returns the shards that group k of n examines: [k::n] of those of all splits.

    Args:
        shards: Every split's, in canonical order.
        group: k, from zero.
        num_groups: n.
    """
    return tuple(shards[group::num_groups])


def shard_document(partial: Partial) -> ExaminedShard:
    """Returns the document of a partial result that holds a single shard; its images are apart."""
    (file,), (records,) = partial.files, partial.records
    log = partial.log
    return ExaminedShard(
        split=file.split,
        file=file.name,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        compression=file.compression,
        excluded=file.excluded,
        records=records,
        images=len(partial.identities),
        counts=dict(log.counts),
        first=tuple(_seen(place, fault) for kept in log.first.values() for place, fault in kept),
        faulty_records={code: tuple(found) for (code, _, _), found in log.records.items()},
        tally=_tally_document(partial.tally),
    )


def shard_partial(document: ExaminedShard, identities: Identities) -> Partial:
    """Returns what `shard_document` was made of.

    Args:
        document: Of one shard.
        identities: Of its images.
    """
    log = FindingLog(counts=Counter(document.counts))
    for seen in document.first:
        log.first.setdefault(seen.code, []).append(_found(seen))
    for code, records in document.faulty_records.items():
        log.records[code, document.split, document.file] = array("Q", records)
    return Partial(
        files=[
            FileFacts(
                split=document.split,
                name=document.file,
                size_bytes=document.size_bytes,
                sha256=document.sha256,
                compression=document.compression,
                excluded=document.excluded,
            )
        ],
        records=[document.records],
        log=log,
        tally=_tally(document.tally),
        identities=identities,
    )


def check_groups(
    groups: Mapping[str, ExaminedGroup],
    *,
    expected: Mapping[ShardKey, Set[int]],
    label_map_sha256: str | None,
    data_digest: str | None,
) -> None:
    """Refuses groups that are not, all together, an examination of the whole data set.

    Args:
        groups: Where each came from, to what it says of itself.
        expected: Every shard of every split, and its records in quarantine.
        label_map_sha256: Of the label map; None where it can't be read.
        data_digest: Digest that the data had when the run began; None where none was given.

    Raises:
        ArtifactError: A group is missing, doubled, of another partition, label map or run, or the
            shards are others than those of the data set; names the group or the shard.
    """
    if not groups:
        raise ArtifactError("there are no groups", expected="the folder of each examine task")
    total = next(iter(groups.values())).num_groups
    seen: dict[int, str] = {}
    for where, group in groups.items():
        if group.num_groups != total or group.group >= total:
            raise ArtifactError(
                f"is group {group.group} of {group.num_groups}",
                where=where,
                expected=f"one of {total} groups, counted from zero",
                remedy=_AGAIN,
            )
        if group.group in seen:
            raise ArtifactError(
                f"group {group.group} is given twice, too in {seen[group.group]}",
                where=where,
                expected=f"each of {total} groups once",
            )
        seen[group.group] = where
        if group.label_map_sha256 != label_map_sha256:
            raise ArtifactError("was examined with another label map", where=where, remedy=_AGAIN)
        if data_digest is not None and group.data_digest != data_digest:
            raise ArtifactError(
                f"was examined for data with the digest {(group.data_digest or 'none')[:12]}",
                where=where,
                expected=data_digest[:12],
                remedy=_AGAIN,
            )
    missing = sorted(set(range(total)) - set(seen))
    if missing:
        raise ArtifactError(
            f"group {', '.join(map(str, missing[:20]))} of {total} is missing",
            expected=f"all of 0 to {total - 1}",
            remedy="Run examine for what is missing.",
        )
    _check_shards(groups, expected=expected)


def _check_shards(
    groups: Mapping[str, ExaminedGroup], *, expected: Mapping[ShardKey, Set[int]]
) -> None:
    place: dict[ShardKey, str] = {}
    for where, group in groups.items():
        for shard in group.shards:
            key = (shard.split, shard.file)
            if key in place or key not in expected:
                fault = (
                    f"holds the {key[0]} shard {key[1]}, as {place[key]} does"
                    if key in place
                    else f"holds {key[1]}, which is no {key[0]} shard of the data set"
                )
                raise ArtifactError(
                    fault, where=where, expected="each shard in one group", remedy=_AGAIN
                )
            if not set(shard.excluded) <= expected[key]:
                raise ArtifactError(
                    f"leaves out records of {key[1]} that are not in quarantine",
                    where=where,
                    expected="records that dataset.quarantine lists",
                    remedy=_AGAIN,
                )
            place[key] = where
    lost = [key for key in expected if key not in place]
    if lost:
        raise ArtifactError(
            f"no group has examined {len(lost):,} of {len(expected):,} shards",
            where=lost[0][1],
            expected="each shard in one group",
            remedy=_AGAIN,
        )


def _place(place: Place) -> FaultPlace:
    return FaultPlace(
        file=place.file,
        split=place.split,
        record=place.record,
        byte_offset=place.byte_offset,
        source_id=place.source_id,
    )


def _place_again(place: FaultPlace) -> Place:
    return Place(
        file=place.file,
        split=place.split,
        record=place.record,
        byte_offset=place.byte_offset,
        source_id=place.source_id,
    )


def _seen(place: Place, fault: Fault) -> FaultSeen:
    return FaultSeen(
        code=fault.code,
        place=_place(place),
        seen=fault.seen,
        expected=fault.expected,
        boxes=fault.boxes,
        like=_place(fault.like) if fault.like else None,
    )


def _found(seen: FaultSeen) -> tuple[Place, Fault]:
    fault = Fault(
        code=seen.code,
        seen=seen.seen,
        expected=seen.expected,
        boxes=seen.boxes,
        like=_place_again(seen.like) if seen.like else None,
    )
    return _place_again(seen.place), fault


def _tally_document(tally: SplitTally) -> Tally:
    return Tally(
        images=tally.images,
        images_without_boxes=tally.images_without_boxes,
        boxes=tally.boxes,
        crowd_boxes=tally.crowd_boxes,
        texts=tally.texts,
        text_offsets=tuple(sorted(tally.text_offsets.items())),
        placements=tuple(
            (rotated, name, count) for (rotated, name), count in sorted(tally.placements.items())
        ),
        class_boxes=tuple(sorted(tally.class_boxes.items())),
        class_images=tuple(sorted(tally.class_images.items())),
        image_sizes=tuple(
            (width, height, count) for (width, height), count in sorted(tally.image_sizes.items())
        ),
        formats=dict(sorted(tally.formats.items())),
        box_side_px=tuple(tally.box_side_px.counts.tolist()),
        box_aspect_ratio=tuple(tally.box_aspect_ratio.counts.tolist()),
        boxes_per_image=tuple(sorted(tally.boxes_per_image.items())),
        brightness=tuple(tally.brightness.counts.tolist()),
    )


def _tally(document: Tally) -> SplitTally:
    tally = SplitTally(
        images=document.images,
        images_without_boxes=document.images_without_boxes,
        boxes=document.boxes,
        crowd_boxes=document.crowd_boxes,
        texts=document.texts,
        text_offsets=Counter(dict(document.text_offsets)),
        placements=Counter(
            {(rotated, cast("Placement", name)): n for rotated, name, n in document.placements}
        ),
        class_boxes=Counter(dict(document.class_boxes)),
        class_images=Counter(dict(document.class_images)),
        image_sizes=Counter({(width, height): n for width, height, n in document.image_sizes}),
        formats=Counter(document.formats),
        boxes_per_image=Counter(dict(document.boxes_per_image)),
    )
    _fill(tally.box_side_px, document.box_side_px)
    _fill(tally.box_aspect_ratio, document.box_aspect_ratio)
    _fill(tally.brightness, document.brightness)
    return tally


def _fill(histogram: HistogramTally, counts: Sequence[int]) -> None:
    if len(counts) != len(histogram.counts):
        raise ArtifactError(
            f"a histogram has {len(counts)} bins",
            expected=f"{len(histogram.counts)}",
            remedy="The group was examined by another version of kfdet. " + _AGAIN,
        )
    histogram.counts += np.array(counts, dtype=np.int64)
