"""A data set that is examined in groups gives, byte for byte, what examining all of it at once gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from dataset_cases import CLASSES, examine_record, features, noise, payload, with_image
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.example import serialise_example
from kfdet.core.label_map import contiguous
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import severities
from kfdet.core.validation.examined import (
    check_groups,
    shard_document,
    shard_partial,
    shards_of_group,
)
from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.partial import Partial, statistics_of, whole_log
from kfdet.core.validation.quarantine import quarantine_of
from kfdet.core.validation.samples import conspicuous, worst
from kfdet.core.validation.shards import FileFacts
from kfdet.errors import ArtifactError
from kfdet.schema.dataset import SPLITS, Split
from kfdet.schema.examination import ExaminedGroup
from kfdet.storage.manifests import manifest_of

NAMES = Names(aliases={number: (name,) for number, name in enumerate(CLASSES, 1)})
LEVELS = severities({})
SHA = "0" * 64
# Few of each, so that copies across splits, doubled ids and every kind of fault are common.
RECORDS: tuple[bytes, ...] = (
    *(payload(seed=seed) for seed in range(4)),
    payload(seed=1, source_id=[b" 0 "]),
    payload(seed=5, source_id=[b""]),
    payload(seed=6, boxes=[(0.1, 0.1, 0.1, 0.5), (0.2, 0.2, 0.4, 0.4)]),
    payload(seed=7, boxes=[]),
    payload(seed=8, object__class__label=[0]),
    payload(seed=9, object__class__text=[b"Cat"]),
    with_image(noise(64, 48, seed=2), quality=40),
    with_image(noise(20, 20, seed=3), "PNG"),
    serialise_example({k: v for k, v in features(seed=10).items() if k != "image/height"}),  # type: ignore[misc]
    b"\xff",
)
Shards = Sequence[tuple[Split, Sequence[bytes]]]


def examine_shard(split: Split, name: str, records: Sequence[bytes]) -> Partial:
    scan = Partial(
        files=[FileFacts(split=split, name=name, size_bytes=len(records), sha256=SHA)],
        records=[len(records)],
    )
    for index, record in enumerate(records):
        seen = examine_record(record, names=NAMES)
        place = Place(
            file=name, split=split, record=index, byte_offset=index, source_id=seen.source_id
        )
        for fault in seen.faults:
            scan.log.add(place, fault)
        if seen.facts is not None:
            scan.tally.add(seen.facts)
            scan.identities.add(seen.facts, file=name, record=index, byte_offset=index)
    return scan


def documents(partials: dict[Split, Partial]) -> list[str]:
    log = whole_log(partials, names=NAMES, label_map="map", readers={})
    statistics = statistics_of(partials, names=dict(enumerate(CLASSES, 1)))
    texts = [
        log.findings(LEVELS).pretty_json(),
        quarantine_of(
            log,
            LEVELS,
            files=[file for part in partials.values() for file in part.files],
            earlier=None,
        ).pretty_json(),
        *(statistics[split].canonical_json() for split in SPLITS),
        repr(list(conspicuous(log, LEVELS))),
        repr(list(worst(log, LEVELS))),
    ]
    if all(sum(p.records) == p.tally.images for p in partials.values()):
        texts.append(manifest_of(partials, label_map=contiguous(CLASSES)).pretty_json())
    return texts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(SPLITS), st.lists(st.sampled_from(RECORDS), max_size=6)),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_any_partition_in_any_order_of_arrival_gives_the_documents_of_a_single_run(
    shards: Shards, data: st.DataObject
):
    ordered = sorted(shards, key=lambda shard: SPLITS.index(shard[0]))
    keys = [(split, f"{n:03d}") for n, (split, _) in enumerate(ordered)]
    scans = {
        key: examine_shard(*key, records) for key, (_, records) in zip(keys, ordered, strict=True)
    }
    whole: dict[Split, Partial] = {split: Partial() for split in SPLITS}
    for key in keys:
        whole[key[0]].merge(scans[key])
    group_of = {key: data.draw(st.integers(0, 3)) for key in keys}
    sent = [
        ExaminedGroup(
            group=group,
            num_groups=4,
            label_map_sha256=SHA,
            data_digest=None,
            shards=tuple(shard_document(scans[key]) for key in keys if group_of[key] == group),
        ).pretty_json()
        for group in range(4)
    ]
    arrived = [ExaminedGroup.model_validate_json(text) for text in data.draw(st.permutations(sent))]
    check_groups(
        {str(n): group for n, group in enumerate(arrived)},
        expected=dict.fromkeys(keys, frozenset()),
        label_map_sha256=SHA,
        data_digest=None,
    )
    again = {
        (shard.split, shard.file): shard_partial(shard, scans[shard.split, shard.file].identities)
        for group in arrived
        for shard in group.shards
    }
    merged: dict[Split, Partial] = {split: Partial() for split in SPLITS}
    for key in keys:
        merged[key[0]].merge(again[key])
    assert documents(merged) == documents(whole)


@given(st.integers(0, 30), st.integers(1, 9))
def test_groups_hold_every_shard_once(count: int, total: int):
    keys = [("train", str(n)) for n in range(count)]
    groups = [shards_of_group(keys, group=k, num_groups=total) for k in range(total)]
    assert sorted(key for group in groups for key in group) == sorted(keys)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_more_faults_than_are_kept_are_counted_and_quarantined_all_the_same():
    scan = Partial(files=[FileFacts(split="val", name="x", size_bytes=1, sha256=SHA)], records=[50])
    for index in range(50):
        place = Place(file="x", split="val", record=index, byte_offset=index)
        like = dataclasses.replace(place, record=0)
        fault = Fault(code="image-truncated", seen="s", expected="e", boxes=(1,), like=like)
        scan.log.add(place, fault)
    again = shard_partial(shard_document(scan), scan.identities)
    assert again.log == scan.log
    assert len(quarantine_of(again.log, LEVELS, files=again.files, earlier=None).records) == 50


def group_document(number: int, total: int, *files: str, **changes: object) -> ExaminedGroup:
    shards = tuple(shard_document(examine_shard("train", file, RECORDS[:1])) for file in files)
    facts = {"label_map_sha256": SHA, "data_digest": "d" * 64} | changes
    return ExaminedGroup(group=number, num_groups=total, shards=shards, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([], "no groups"),
        ([group_document(0, 2, "a", "b")], "group 1 of 2 is missing"),
        ([group_document(0, 2, "a"), group_document(0, 2, "b")], "group 0 is given twice"),
        ([group_document(0, 2, "a"), group_document(1, 3, "b")], "is group 1 of 3"),
        ([group_document(2, 2, "a", "b")], "is group 2 of 2"),
        ([group_document(0, 1, "a")], "has examined 1 of 2 shards"),
        ([group_document(0, 1, "a", "b", "c")], "holds c, which is no train shard"),
        (
            [group_document(0, 2, "a", "b"), group_document(1, 2, "b")],
            "holds the train shard b, as",
        ),
        ([group_document(0, 1, "a", "b", label_map_sha256=None)], "another label map"),
        ([group_document(0, 1, "a", "b", data_digest="e" * 64)], "with the digest eeeeeeeeeeee"),
    ],
)
def test_groups_that_are_not_the_whole_data_set_are_refused(groups, words: str):
    with pytest.raises(ArtifactError) as raised:
        check_groups(
            {f"folder {n}": group for n, group in enumerate(groups)},
            expected=dict.fromkeys([("train", "a"), ("train", "b")], frozenset()),
            label_map_sha256=SHA,
            data_digest="d" * 64,
        )
    assert words in str(raised.value)
    assert raised.value.exit_code == 10
