"""A model directory in a bucket: what is complete survives the machine that wrote it."""

import pytest
from gcs_fake.connection import connect
from gcs_fake.server import LOST_ANSWERS, REFUSALS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_model_dir import DIGEST, point, summary, write

from kfdet.errors import ArtifactError, TrainingError
from kfdet.schema.training import TrainingJournal
from kfdet.storage import stores
from kfdet.storage.checkpoints import check_checkpoint, checkpoint_digest
from kfdet.storage.model_dir import ModelDir

ROOT = "gs://bucket/models"
pytestmark = pytest.mark.usefixtures("remote")


@pytest.fixture
def folder():
    return ModelDir.of(ROOT, experiment_digest=DIGEST)


@pytest.fixture
def elsewhere(folder, tmp_path, monkeypatch):
    """Forgets all that this machine has: what a pod that starts anew finds."""

    def move():
        elsewhere.moves += 1
        monkeypatch.setenv("KFDET_CACHE", str(tmp_path / f"machine {elsewhere.moves}"))
        return ModelDir.of(ROOT, experiment_digest=DIGEST)

    elsewhere.moves = 0
    return move


def test_checkpoints_are_those_of_a_folder(folder, elsewhere, tmp_path):
    local = ModelDir.of(str(tmp_path / "local"), experiment_digest=DIGEST)
    for step in (100, 20, 3):
        folder.commit(step, write(b"weights %d" % step))
        local.commit(step, write(b"weights %d" % step))
    there = elsewhere()
    assert there.steps() == local.steps() == (3, 20, 100)
    for step in there.steps():
        ref = there.checkpoint(step)
        assert ref.uri == f"{ROOT}/{DIGEST[:16]}/ckpt-{step}"
        assert ref.digest == local.checkpoint(step).digest
        prefix = check_checkpoint(ref.uri, digest=ref.digest)
        with open(f"{prefix}.data-00000-of-00001", "rb") as stream:
            assert stream.read() == b"weights %d" % step
    with pytest.raises(ArtifactError, match="chosen"):
        check_checkpoint(there.uri(3), digest="b" * 64)
    with pytest.raises(ArtifactError, match="is no whole checkpoint"):
        checkpoint_digest(there.uri(4))


def test_journal_summary_and_events_survive_the_machine(folder, elsewhere, gcs):
    with folder.locked():
        folder.events.mkdir(parents=True)
        (folder.events / "events.out").write_bytes(b"curve")
        journal = TrainingJournal(experiment_digest=DIGEST, train_time_s=1.0, curve=(point(10),))
        folder.write_journal(journal)
        folder.commit(10, write())
        finished = summary(folder).model_copy(update={"model_dir": folder.location})
        folder.write_summary(finished)
    there = elsewhere()
    assert there.journal(experiment_digest=DIGEST) == journal
    assert there.summary(experiment_digest=DIGEST) == finished
    assert there.summary(experiment_digest="b" * 64) is None
    assert gcs.bucket("bucket")[f"models/{DIGEST[:16]}/train/events.out"].content == b"curve"


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(12))
def test_a_kill_in_the_middle_of_an_upload_loses_nothing_that_was_complete(
    folder, elsewhere, after
):
    folder.commit(10, write(b"ten"))
    store, requests = stores._bucket_store(), 0

    def kill(attempt, *, location):
        nonlocal requests
        requests += 1
        if requests > after:
            raise Killed
        return type(store)._persist(store, attempt, location=location)

    store._persist = kill
    try:
        folder.commit(20, write(b"twenty"))
        complete = True
    except Killed:
        complete = False
    del store._persist
    there = elsewhere()
    assert there.steps() in ((10, 20), (10,))
    assert not complete or there.steps() == (10, 20)
    for step in there.steps():
        with open(f"{there.prefix(step)}.data-00000-of-00001", "rb") as stream:
            assert stream.read() == {10: b"ten", 20: b"twenty"}[step]
    there.commit(20, write(b"again"))
    assert there.checkpoint(20).digest != there.checkpoint(10).digest
    assert there.steps() == (10, 20)


def test_the_training_that_began_last_goes_on(folder, elsewhere):
    with folder.locked():
        folder.commit(10, write(b"first"))
        second = elsewhere()
        with second.locked():
            assert second.steps() == (10,)
            with pytest.raises(TrainingError, match="another process has begun to train here"):
                folder.commit(20, write(b"late"))
            second.commit(20, write(b"second"))
            assert second.steps() == (10, 20)
            with open(f"{second.prefix(20)}.data-00000-of-00001", "rb") as stream:
                assert stream.read() == b"second"


def test_a_second_training_on_the_same_machine_is_kept_out(folder):
    with folder.locked(), pytest.raises(TrainingError, match="another process"), folder.locked():
        pass


def test_an_unreadable_checkpoint_is_moved_aside(folder, elsewhere, gcs):
    folder.commit(10, write(b"good"))
    folder.commit(20, write(b"bad"))
    there = elsewhere()
    there.prefix(20)
    assert there.set_aside(20) == f"{ROOT}/{DIGEST[:16]}/damaged"
    assert there.steps() == (10,)
    names = [name for name in gcs.bucket("bucket") if "ckpt-20" in name]
    assert sorted(names) == [
        f"models/{DIGEST[:16]}/damaged/ckpt-20.{kind}" for kind in ("data-00000-of-00001", "index")
    ]


@settings(max_examples=10)
@given(st.lists(st.sampled_from([None, *REFUSALS, *LOST_ANSWERS]), max_size=12))
@example([None, *["503"] * 11])
def test_a_stumbling_storage_changes_no_checkpoint(faults):
    from gcs_fake.server import FakeGcs, serving

    gcs = FakeGcs()
    gcs.bucket("bucket")
    before = stores._bucket_store
    with serving(gcs) as endpoint:
        store = connect(endpoint)
        stores._bucket_store = lambda: store
        try:
            folder = ModelDir.of(ROOT, experiment_digest=DIGEST)
            gcs.faults = list(faults)
            with folder.locked():
                folder.commit(10, write(b"ten"))
                folder.commit(20, write(b"twenty"))
        finally:
            stores._bucket_store = before
    found = gcs.bucket("bucket")
    for step, content in ((10, b"ten"), (20, b"twenty")):
        assert found[f"models/{DIGEST[:16]}/ckpt-{step}.index"].content == b"index of " + content
        assert found[f"models/{DIGEST[:16]}/ckpt-{step}.data-00000-of-00001"].content == content
