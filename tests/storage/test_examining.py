"""A file that is examined in stretches gives what it gives as a whole, however it is damaged."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from dataset_cases import CLASSES, payload
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.tfrecord import encode_record
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examined import shard_document
from kfdet.core.validation.partial import Partial
from kfdet.core.validation.shards import FileFacts
from kfdet.storage import examining
from kfdet.storage.examining import Examined, Sampling, Stretch, examine_stretch, stretches_of

NAMES = Names(aliases={number: (name,) for number, name in enumerate(CLASSES, 1)})
RECORDS = [payload(seed=seed) for seed in range(12)]
WHOLE = b"".join(map(encode_record, RECORDS))


def stretch(path: Path, excluded: frozenset[int] = frozenset()) -> Stretch:
    sampling = Sampling(before_bytes=0, step_bytes=3000)
    return Stretch(split="train", file="a", path=path, sampling=sampling, excluded=excluded)


def summed(parts: list[Examined]) -> dict[str, object]:
    facts = FileFacts(split="train", name="a", size_bytes=0, sha256="0" * 64)
    whole = Partial(files=[facts], records=[sum(part.partial.records[0] for part in parts)])
    for part in parts:
        part.partial.records.clear()
        whole.merge(part.partial)
    identities = whole.identities
    return {
        "document": shard_document(whole),
        "records": list(identities.records),
        "offsets": list(identities.offsets),
        "contents": bytes(identities.contents),
        "excluded": [index for part in parts for index in part.excluded],
        "bytes": sum(part.size_bytes for part in parts),
    }


damages = st.one_of(
    st.tuples(st.just("change"), st.integers(0, len(WHOLE) - 1), st.integers(1, 255)),
    st.tuples(st.just("lose"), st.integers(0, len(WHOLE) - 1), st.integers(1, 4000)),
    st.tuples(st.just("insert"), st.integers(0, len(WHOLE)), st.integers(1, 40)),
)


def damaged(data: bytes, kind: str, at: int, number: int) -> bytes:
    if kind == "change":
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ number]) + data[at + 1 :] if data else data
    return data[:at] + (data[at + number :] if kind == "lose" else bytes(number) + data[at:])


@settings(max_examples=60)
@given(
    damage=st.lists(damages, max_size=3),
    size=st.integers(1, 5),
    excluded=st.frozensets(st.integers(0, 11), max_size=3),
)
def test_a_file_in_stretches_gives_what_it_gives_as_a_whole(damage, size, excluded):
    data = WHOLE
    for kind, at, number in damage:
        data = damaged(data, kind, at, number)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "a.tfrecord")
        path.write_bytes(data)
        patch.setattr(examining, "_STRETCH_RECORDS", size)
        whole = stretch(path, excluded)
        parts = list(stretches_of(whole)) if data else []
        together = summed([examine_stretch(part, names=NAMES) for part in parts])
        assert together == summed([examine_stretch(whole, names=NAMES)])
        if not damage:
            assert len(parts) == -(-len(RECORDS) // size)


def test_stretches_are_bounded_in_bytes(tmp_path, monkeypatch):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(WHOLE)
    monkeypatch.setattr(examining, "_STRETCH_BYTES", 1)
    parts = list(stretches_of(stretch(path)))
    assert [part.first for part in parts] == list(range(len(RECORDS)))
    assert [part.end for part in parts[:-1]] == [part.begin for part in parts[1:]]


def test_a_file_that_is_gone_when_it_is_its_turn_is_told(tmp_path):
    found = examine_stretch(stretch(tmp_path / "none"), names=NAMES)
    assert found.unreadable is not None
    assert found.unreadable.code == "file-unreadable"
    assert found.partial.records == [0]
