"""Whatever the storage does, bytes are right or there is an error; nothing is lost or doubled."""

import os
import random
import socket
import threading

import pytest
from gcs_fake.connection import AT_ONCE, connect
from gcs_fake.server import (
    BODY_FAULTS,
    LOST_ANSWERS,
    QUANTUM,
    REFUSALS,
    UPLOAD_FAULTS,
    FakeGcs,
    serving,
)
from google.oauth2.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.errors import ConfigError, StorageError
from kfdet.storage.stores import NOTHING, StaleGeneration, store_of

HERE = "gs://bucket/folder/object"
FAULTS = (*REFUSALS, *LOST_ANSWERS, *BODY_FAULTS, *UPLOAD_FAULTS)
BIG = random.Random(7).randbytes(2 * QUANTUM + 1000)


def test_what_was_written_is_read(store, tmp_path):
    for content in (b"", b"x", BIG, BIG[: 2 * QUANTUM]):
        written = store.replace(HERE, content)
        assert store.read(HERE) == content
        assert store.find(HERE) == written
        assert written.size_bytes == len(content)
        assert store.download(HERE, tmp_path / "copy") == written
        assert (tmp_path / "copy").read_bytes() == content


def test_a_file_is_sent_in_chunks(store, gcs, tmp_path):
    (tmp_path / "file").write_bytes(BIG)
    store.upload(tmp_path / "file", HERE)
    assert gcs.bucket("bucket")["folder/object"].content == BIG
    assert sum(line.startswith("PUT") for line in gcs.log) == 3


def test_a_range_is_read(store):
    store.replace(HERE, bytes(range(100)))
    assert store.read_range(HERE, 10, 20) == bytes(range(10, 20))
    assert store.read_range(HERE, 95, 200) == bytes(range(95, 100))
    assert store.read_range(HERE, 100, 200) == b""
    assert store.read_range(HERE, 5, 5) == b""


def test_a_listing_of_several_pages_is_whole(store, gcs):
    names = [f"data/train-{k}" for k in range(10)]
    for name in (*names, "data/", "other", "data/val"):
        gcs.put("bucket", name, b"x")
    found = store.list("gs://bucket/data/train-")
    assert [one.location for one in found] == [f"gs://bucket/{name}" for name in names]
    assert len(store.list("gs://bucket/")) == 12


def test_what_is_not_there_is_a_missing_file(store, tmp_path):
    assert store.find(HERE) is None
    for read in (
        lambda: store.read(HERE),
        lambda: store.read_range(HERE, 0, 5),
        lambda: store.download(HERE, tmp_path / "copy"),
    ):
        with pytest.raises(FileNotFoundError) as failure:
            read()
        assert failure.value.filename == HERE
    assert os.listdir(tmp_path) == []
    store.delete(HERE)


def test_an_object_that_changed_is_not_replaced(store, gcs):
    first = store.replace(HERE, b"first", expected=NOTHING)
    with pytest.raises(StaleGeneration, match="somebody else has written it"):
        store.replace(HERE, b"doubled", expected=NOTHING)
    second = store.replace(HERE, b"second", expected=first.generation)
    with pytest.raises(StaleGeneration):
        store.replace(HERE, b"late", expected=first.generation)
    assert store.read(HERE) == b"second"
    store.delete(HERE)
    with pytest.raises(StaleGeneration):
        store.replace(HERE, b"late", expected=second.generation)
    assert store.find(HERE) is None


def test_an_object_replaced_while_it_is_read_is_read_anew(store, gcs):
    store.replace(HERE, BIG)
    other = BIG[::-1]
    reads = []

    def replace_after_the_first_block(_, path):
        if path.startswith("/download"):
            reads.append(path)
            if len(reads) == 2:
                gcs.put("bucket", "folder/object", other)

    gcs.before = replace_after_the_first_block
    assert store.read(HERE) == other


@settings(max_examples=60)
@given(
    size=st.integers(0, 3 * QUANTUM),
    faults=st.lists(st.sampled_from([None, None, *FAULTS]), max_size=8),
    known=st.booleans(),
)
def test_no_fault_loses_doubles_or_changes_a_byte_on_the_way_up(size, faults, known):
    gcs, content = FakeGcs(), BIG * 2
    generation = gcs.put("bucket", "folder/object", b"old")
    with serving(gcs) as endpoint:
        store = connect(endpoint)
        gcs.faults = list(faults)
        written = store.replace(HERE, content[:size], expected=generation if known else None)
    found = gcs.bucket("bucket")["folder/object"]
    assert found.content == content[:size]
    assert (found.generation, found.crc32c) == (written.generation, written.crc32c)
    assert len(gcs.writes) == 2, "written more than once"


@settings(max_examples=60)
@given(
    size=st.integers(0, 3 * QUANTUM),
    faults=st.lists(st.sampled_from([None, *FAULTS]), max_size=8),
)
def test_no_fault_loses_doubles_or_changes_a_byte_on_the_way_down(size, faults):
    gcs, content = FakeGcs(), (BIG * 2)[:size]
    gcs.put("bucket", "folder/object", content)
    with serving(gcs) as endpoint:
        store = connect(endpoint)
        gcs.faults = list(faults)
        try:
            assert store.read(HERE) == content
        except StorageError as failure:
            explained = "were not those of the object" in str(failure)
            assert explained and faults.count("body changed") >= 5  # noqa: PT018 allowed, not wanted


@settings(max_examples=60)
@given(
    size=st.integers(0, 3 * QUANTUM),
    begin=st.integers(0, 3 * QUANTUM),
    length=st.integers(0, QUANTUM),
    faults=st.lists(st.sampled_from([None, *set(FAULTS) - {"body changed"}]), max_size=8),
)
def test_no_fault_loses_or_doubles_a_byte_of_a_range(size, begin, length, faults):
    """A changed byte can't be told: there is no checksum of a part."""
    gcs, content = FakeGcs(), (BIG * 2)[:size]
    gcs.put("bucket", "folder/object", content)
    with serving(gcs) as endpoint:
        store = connect(endpoint)
        gcs.faults = list(faults)
        assert store.read_range(HERE, begin, begin + length) == content[begin : begin + length]


@pytest.mark.parametrize("lost", LOST_ANSWERS)
def test_a_deletion_whose_answer_was_lost_spares_what_was_written_since(store, gcs, lost):
    store.replace(HERE, b"old")
    deletions = []

    def write_between(method, path):
        if method == "DELETE":
            deletions.append(path)
            if len(deletions) == 1:
                gcs.faults = [lost]
            else:
                gcs.put("bucket", "folder/object", b"new")

    gcs.before = write_between
    store.delete(HERE)
    assert len(deletions) == 2
    assert store.read(HERE) == b"new"


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_failure_that_stays_ends_at_the_deadline_and_leaves_the_old_object(gcs, kind, tmp_path):
    gcs.put("bucket", "folder/object", b"old")
    with serving(gcs) as endpoint:
        store = connect(endpoint, retry=AT_ONCE.with_timeout(0.05))
        gcs.faults = [kind] * 100_000
        for attempt in (
            lambda: store.replace(HERE, b"new"),
            lambda: store.download(HERE, tmp_path / "copy"),
            lambda: store.list("gs://bucket/"),
        ):
            with pytest.raises(StorageError, match="can't be reached"):
                attempt()
    assert gcs.bucket("bucket")["folder/object"].content == b"old"
    assert os.listdir(tmp_path) == []


def test_an_upload_goes_on_where_it_stood(store, gcs, tmp_path):
    (tmp_path / "file").write_bytes(BIG)
    # The look at the object, the session, the first chunk; then the second is cut off.
    gcs.faults = [None, None, None, "reset"]
    store.upload(tmp_path / "file", HERE)
    assert gcs.bucket("bucket")["folder/object"].content == BIG
    # Three chunks, the second twice, and one question how far it is.
    assert sum(line.startswith("PUT") for line in gcs.log) == 5


def test_an_upload_that_is_forgotten_again_and_again_ends(store, gcs):
    gcs.faults = [None, *([None, "session forgotten"] * 20)]
    with pytest.raises(StorageError, match="given up by the storage 10 times"):
        store.replace(HERE, b"content")
    assert "folder/object" not in gcs.bucket("bucket")


def test_another_writer_between_look_and_write_wins(store, gcs):
    seen = store.replace(HERE, b"first")

    def write_first(method, path):
        if method == "PUT":
            gcs.before = None
            gcs.put("bucket", "folder/object", b"other")

    gcs.before = write_first
    with pytest.raises(StaleGeneration):
        store.replace(HERE, b"mine", expected=seen.generation)
    assert store.read(HERE) == b"other"


def test_without_a_condition_the_last_writer_wins_once(store, gcs):
    def write_first(method, path):
        if method == "PUT":
            gcs.before = None
            gcs.put("bucket", "folder/object", b"other")

    gcs.before = write_first
    store.replace(HERE, b"mine")
    assert store.read(HERE) == b"mine"
    assert len(gcs.writes) == 2


@settings(max_examples=10)
@given(writers=st.integers(2, 5), faults=st.lists(st.sampled_from([None, *FAULTS]), max_size=10))
def test_of_writers_that_saw_the_same_exactly_one_wins(writers, faults):
    gcs = FakeGcs()
    gcs.bucket("bucket")
    won, lost = [], []
    with serving(gcs) as endpoint:
        gcs.faults = list(faults)

        def write(number):
            try:
                connect(endpoint).replace(HERE, b"by %d" % number, expected=NOTHING)
                won.append(number)
            except StaleGeneration:
                lost.append(number)

        threads = [threading.Thread(target=write, args=(k,)) for k in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(won), len(lost)) == (1, writers - 1)
    assert gcs.bucket("bucket")["folder/object"].content == b"by %d" % won[0]


def test_no_bucket_is_one_sentence(store):
    for attempt in (
        lambda: store.read("gs://nowhere/x"),
        lambda: store.find("gs://nowhere/x"),
        lambda: store.list("gs://nowhere/x"),
        lambda: store.replace("gs://nowhere/x", b""),
        lambda: store.delete("gs://nowhere/x"),
    ):
        with pytest.raises(StorageError) as failure:
            attempt()
        assert str(failure.value) == (
            "gs://nowhere/x: there is no bucket nowhere. Check the name; kfdet makes no buckets."
        )


@pytest.mark.parametrize(
    ("denied", "attempt"),
    [
        ("get", lambda store: store.read(HERE)),
        ("get", lambda store: store.read_range(HERE, 0, 1)),
        ("list", lambda store: store.list(HERE)),
        ("create", lambda store: store.replace(HERE, b"new")),
        ("delete", lambda store: store.delete(HERE)),
    ],
)
def test_no_permission_is_one_sentence(store, gcs, denied, attempt):
    gcs.put("bucket", "folder/object", b"old")
    gcs.bucket("bucket").denied = {denied}
    with pytest.raises(StorageError) as failure:
        attempt(store)
    assert str(failure.value) == (
        f"{HERE}: no permission: robot@project.iam.gserviceaccount.com does not have "
        f"storage.objects.{denied} access. Grant the account the role Storage Object User on the "
        "bucket."
    )


def test_refused_credentials_are_one_sentence(gcs):
    gcs.authorised = False
    with (
        serving(gcs) as endpoint,
        pytest.raises(StorageError, match="credentials are not accepted: .* Log in with `gcloud"),
    ):
        connect(endpoint, credentials=Credentials(token="expired")).read(HERE)


@pytest.mark.parametrize(
    "address", ["localhost:4443", "127.0.0.1", "ftp://a", "http://", "http://["]
)
def test_another_server_without_its_scheme_is_named(monkeypatch, address):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    store_of.__globals__["_bucket_store"].cache_clear()
    with pytest.raises(
        ConfigError, match=r"^STORAGE_EMULATOR_HOST: .* expected .* http://localhost"
    ):
        store_of(HERE)


def test_no_credentials_are_one_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    store_of.__globals__["_bucket_store"].cache_clear()
    with pytest.raises(StorageError, match=r"^gs://: no credentials were found. Log in with"):
        store_of(HERE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "was not found"),
        ("rubbish", "is not a valid json file"),
        ("{}", "does not have a valid type"),
        ('{"type": "service_account", "private_key": "secret"}', "Failed to load service account"),
    ],
)
def test_a_key_file_that_is_none_is_named(monkeypatch, tmp_path, content, said):
    key = tmp_path / "key.json"
    if content is not None:
        key.write_text(content)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    store_of.__globals__["_bucket_store"].cache_clear()
    with pytest.raises(
        StorageError, match=f"^gs://: GOOGLE_APPLICATION_CREDENTIALS names {key}: .*{said}"
    ) as failure:
        store_of(HERE)
    assert "no credentials" not in str(failure.value)
    assert "secret" not in str(failure.value)


def test_nobody_listening_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = connect(
            f"http://127.0.0.1:{taken.getsockname()[1]}", retry=AT_ONCE.with_timeout(0.1)
        )
        with pytest.raises(
            StorageError, match=f"^{HERE}: the storage can't be reached: no answer from 127.*KFDET_"
        ):
            store.read(HERE)


@pytest.mark.parametrize("text", ["gs://", "gs://UPPER/x", "gs://b/../x", "gs://b//x", "gs:///x"])
def test_an_impossible_address_is_refused(store, text):
    with pytest.raises(ConfigError, match="is no address of an object"):
        store.find(text)
