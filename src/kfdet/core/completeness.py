"""Whether the shards of an evaluation are all there, once each, and all of one model and one split."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfdet.core.coco import EvaluationData
from kfdet.errors import ArtifactError
from kfdet.schema.dataset import Split, SplitManifest
from kfdet.schema.evaluation import ShardResult
from kfdet.wording import plural

_RERUN = "Run evaluate for this shard again."


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard as it was read.

    Attributes:
        where: The folder it came from, for errors.
        result: What it says of itself.
        data: Its rows.
    """

    where: str
    result: ShardResult
    data: EvaluationData


def image_ids_of_shard(
    manifest: SplitManifest, *, shard: int, num_shards: int
) -> npt.NDArray[np.int64]:
    """Returns the ids of the images of shard k of n, int64[I] ascending.

    The shard holds the files [k::n] of the split; an image's id is its position in the whole split.
    """
    ends = list(itertools.accumulate((file.records for file in manifest.shards), initial=0))
    files = range(shard, len(manifest.shards), num_shards)
    ids = [image_id for file in files for image_id in range(ends[file], ends[file + 1])]
    return np.array(ids, np.int64)


def check_complete(
    shards: Sequence[Shard], *, manifest: SplitManifest, split: Split
) -> tuple[Shard, ...]:
    """Checks that shards are a whole evaluation of a split.

    Args:
        shards: In any order.
        manifest: The split that they must cover.
        split: Its name.

    Returns:
        The shards in ascending order of their number.

    Raises:
        ArtifactError: Names the shard: missing, doubled, of another split, of another model, cut
            into another number of shards, or with images absent or foreign; or there is more or
            less ground truth than the manifest counts.
    """
    if not shards:
        raise ArtifactError("there are no shards", expected="one folder for each evaluate task")
    ordered = tuple(sorted(shards, key=lambda shard: (shard.result.shard, shard.where)))
    for shard in ordered:
        _check_kin(shard, first=ordered[0], manifest=manifest, split=split)
    _check_numbers(ordered)
    for shard in ordered:
        _check_images(shard, manifest)
    boxes = sum(len(shard.data.ground_truth) for shard in ordered)
    if boxes != manifest.boxes:
        raise ArtifactError(
            f"the shards hold {boxes:,} ground truth boxes",
            expected=f"{manifest.boxes:,}, as the manifest says",
            remedy="Run evaluate again: some ground truth was lost or doubled.",
        )
    return ordered


def _check_kin(shard: Shard, *, first: Shard, manifest: SplitManifest, split: Split) -> None:
    result, name = shard.result, _name(shard)
    if result.split != split:
        raise ArtifactError(
            f"{name} is of the {result.split} split", where=shard.where, expected=split
        )
    if result.split_digest != manifest.digest:
        raise ArtifactError(
            f"{name} was evaluated on a {split} split with digest {result.split_digest[:12]}",
            where=shard.where,
            expected=f"{manifest.digest[:12]}, as the manifest says",
            remedy="The data changed between validate and evaluate. Run both again.",
        )
    if result.num_shards != first.result.num_shards:
        raise ArtifactError(
            f"{name} is one of {result.num_shards}",
            where=shard.where,
            expected=f"one of {first.result.num_shards}, as {first.where} is",
            remedy="Merge the shards of one evaluation only.",
        )
    if result.checkpoint_digest != first.result.checkpoint_digest:
        raise ArtifactError(
            f"{name} was made by checkpoint {result.checkpoint_digest[:12]}",
            where=shard.where,
            expected=f"{first.result.checkpoint_digest[:12]}, as in {first.where}",
            remedy="Merge the shards of one model only.",
        )


def _check_numbers(ordered: Sequence[Shard]) -> None:
    total = ordered[0].result.num_shards
    for before, after in itertools.pairwise(ordered):
        if before.result.shard == after.result.shard:
            raise ArtifactError(
                f"{_name(after)} is given twice",
                where=after.where,
                expected=f"each of the {total} shards once",
                remedy=f"It is also in {before.where}; leave one of them out.",
            )
    for shard in ordered:
        if shard.result.shard >= total:
            raise ArtifactError(
                f"shard number {shard.result.shard} does not exist",
                where=shard.where,
                expected=f"0 to {total - 1}",
            )
    missing = sorted(set(range(total)) - {shard.result.shard for shard in ordered})
    if missing:
        listed = ", ".join(str(number) for number in missing[:20])
        raise ArtifactError(
            f"shard {listed} of {total} is missing" if len(missing) == 1
            else f"{len(missing)} of {total} shards are missing: {listed}",
            expected=f"all of 0 to {total - 1}",
            remedy="Run evaluate for what is missing; metrics of a part of the images mislead.",
        )  # fmt: skip


def _check_images(shard: Shard, manifest: SplitManifest) -> None:
    expected = image_ids_of_shard(
        manifest, shard=shard.result.shard, num_shards=shard.result.num_shards
    )
    seen = np.sort(shard.data.images.image_id)
    if np.array_equal(seen, expected):
        return
    doubled = seen[1:][seen[1:] == seen[:-1]]
    absent = np.setdiff1d(expected, seen)
    foreign = np.setdiff1d(seen, expected)
    if doubled.size:
        fault = f"{_name(shard)} lists image {doubled[0]} twice"
    elif absent.size:
        fault = f"{_name(shard)} lacks {plural(absent.size, 'image')}, first {_place(absent[0], manifest)}"
    else:
        fault = f"{_name(shard)} has {plural(foreign.size, 'image')} of other shards, first {foreign[0]}"
    raise ArtifactError(
        fault,
        where=shard.where,
        expected=f"the {plural(expected.size, 'image')} that the manifest gives it",
        remedy=_RERUN,
    )


def _place(image_id: int, manifest: SplitManifest) -> str:
    begin = 0
    for file in manifest.shards:
        if image_id < begin + file.records:
            return f"record {image_id - begin} of {file.uri}"
        begin += file.records
    return f"image {image_id}"


def _name(shard: Shard) -> str:
    return f"shard {shard.result.shard}"
