import numpy as np
import pytest
from evaluation_cases import digest, of_images, random_data, shard_result, split_manifest

from kfdet.core.coco import EvaluationData
from kfdet.core.completeness import Shard, check_complete, image_ids_of_shard
from kfdet.errors import ArtifactError

DATA = random_data(1, images=9)
SPLIT = split_manifest([3, 2, 0, 4], boxes=len(DATA.ground_truth))


def shard(k: int, n: int, *, images: list[int] | None = None, **changes: object) -> Shard:
    ids = image_ids_of_shard(SPLIT, shard=k, num_shards=n).tolist() if images is None else images
    data = of_images(DATA, ids)
    return Shard(
        where=f"shard-{k}",
        result=shard_result(data, shard=k, num_shards=n, **changes),
        data=data,
    )


def check(*shards: Shard) -> tuple[Shard, ...]:
    return check_complete(shards, manifest=SPLIT, split="test")


def test_a_shard_holds_every_nth_file():
    assert image_ids_of_shard(SPLIT, shard=0, num_shards=1).tolist() == list(range(9))
    assert image_ids_of_shard(SPLIT, shard=0, num_shards=2).tolist() == [0, 1, 2]
    assert image_ids_of_shard(SPLIT, shard=1, num_shards=2).tolist() == [3, 4, 5, 6, 7, 8]
    assert image_ids_of_shard(SPLIT, shard=6, num_shards=7).tolist() == []


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_shards_cover_the_split_once(total):
    ids = [image_ids_of_shard(SPLIT, shard=k, num_shards=total) for k in range(total)]
    assert sorted(np.concatenate(ids).tolist()) == list(range(9))


def test_complete_shards_come_back_in_order():
    found = check(shard(2, 3), shard(0, 3), shard(1, 3))
    assert [one.result.shard for one in found] == [0, 1, 2]


def test_more_shards_than_files_leave_some_empty():
    found = check(*(shard(k, 6) for k in range(6)))
    assert len(found[5].data.images) == 0


def test_a_missing_shard_is_named():
    with pytest.raises(ArtifactError, match="shard 1 of 3 is missing"):
        check(shard(0, 3), shard(2, 3))


def test_several_missing_shards_are_named():
    with pytest.raises(ArtifactError, match="2 of 4 shards are missing: 1, 3"):
        check(shard(0, 4), shard(2, 4))


def test_a_doubled_shard_is_named_with_both_places():
    twin = shard(0, 2)
    other = Shard(where="elsewhere", result=twin.result, data=twin.data)
    with pytest.raises(ArtifactError, match=r"shard-0: shard 0 is given twice.*elsewhere"):
        check(twin, other, shard(1, 2))


def test_no_shards_at_all_are_refused():
    with pytest.raises(ArtifactError, match="no shards"):
        check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "val"}, "shard-1: shard 1 is of the val split; expected test"),
        ({"split_digest": digest("other")}, "shard-1: .*split with digest .*as the manifest says"),
        ({"checkpoint_digest": digest("x")}, "shard-1: .*made by checkpoint .*as in shard-0"),
        ({"num_shards": 3}, "shard-1: shard 1 is one of 3; expected one of 2, as shard-0 is"),
    ],
)
def test_a_foreign_shard_is_named(changes, message):
    facts = {"shard": 1, "num_shards": 2} | changes
    data = shard(1, 2).data
    foreign = Shard(where="shard-1", result=shard_result(data, **facts), data=data)
    with pytest.raises(ArtifactError, match=message):
        check(shard(0, 2), foreign)


def test_a_number_beyond_the_last_is_refused():
    with pytest.raises(ArtifactError, match="shard number 2 does not exist"):
        check(shard(0, 2), shard(1, 2), shard(2, 2, images=[]))


def test_absent_images_are_counted_and_placed():
    with pytest.raises(
        ArtifactError,
        match=r"shard-1: shard 1 lacks 2 images, first record 1 of /data/test-00001.*"
        r"expected the 6 images",
    ):
        check(shard(0, 2), shard(1, 2, images=[3, 5, 6, 7]))


def test_images_of_another_shard_are_refused():
    with pytest.raises(ArtifactError, match="shard 0 has 1 image of other shards, first 8"):
        check(shard(0, 2, images=[0, 1, 2, 8]), shard(1, 2))


def test_lost_ground_truth_is_noticed():
    whole = shard(0, 1)
    data = EvaluationData(
        images=DATA.images,
        ground_truth=of_images(DATA, range(8)).ground_truth,
        detections=DATA.detections,
    )
    assert len(data.ground_truth) < len(DATA.ground_truth)
    with pytest.raises(ArtifactError, match="ground truth boxes; expected"):
        check(Shard(where="shard-0", result=whole.result, data=data))
