"""A model directory in a bucket: what is complete survives the machine that wrote it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from gcs_fake.connection import connect, killed_after
from gcs_fake.server import LOST_ANSWERS, REFUSALS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_model_dir import DIGEST, point, summary, write

from kfdet.errors import ArtifactError, StorageError, TrainingError
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
    folder.wait_for_uploads()
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
        folder.wait_for_uploads()
        finished = summary(folder).model_copy(update={"model_dir": folder.location})
        folder.write_summary(finished)
    there = elsewhere()
    assert there.journal(experiment_digest=DIGEST) == journal
    assert there.summary(experiment_digest=DIGEST) == finished
    assert there.summary(experiment_digest="b" * 64) is None
    assert gcs.bucket("bucket")[f"models/{DIGEST[:16]}/train/events.out"].content == b"curve"


def contents(folder):
    """Step to the data of every checkpoint that is there."""
    found = {}
    for step in folder.steps():
        with open(f"{folder.prefix(step)}.data-00000-of-00001", "rb") as stream:
            found[step] = stream.read()
    return found


@pytest.fixture
def hold(gcs):
    """Holds the requests about an object until it is let go."""
    reached, go = threading.Event(), threading.Event()

    def hold(name):
        def wait(_, path):
            if path.endswith(name):
                reached.set()
                assert go.wait(30)

        gcs.before = wait
        return reached, go

    yield hold
    go.set()


def test_a_checkpoint_is_uploaded_while_the_training_goes_on(folder, elsewhere, hold, gcs):
    folder.events.mkdir(parents=True)
    events = folder.events / "events.out"
    events.write_bytes(b"curve")
    reached, go = hold("ckpt-10.index")
    with folder.locked():
        folder.commit(10, write(b"ten"))
        assert reached.wait(30)
        folder.check_uploads()
        assert folder.steps() == ()
        with events.open("ab") as stream:
            stream.write(b" and more of it")
        go.set()
        folder.wait_for_uploads()
        assert folder.steps() == (10,)
        assert contents(elsewhere()) == {10: b"ten"}
        assert gcs.bucket("bucket")[f"models/{DIGEST[:16]}/train/events.out"].content == b"curve"
        folder.commit(20, write(b"twenty"))
        folder.wait_for_uploads()
    whole = gcs.bucket("bucket")[f"models/{DIGEST[:16]}/train/events.out"].content
    assert whole == b"curve and more of it"


def test_one_checkpoint_at_a_time_is_on_its_way(folder, hold, gcs):
    reached, go = hold("ckpt-10.index")
    folder.commit(10, write())
    assert reached.wait(30)
    second = threading.Thread(target=folder.commit, args=(20, write()))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    assert not any("ckpt-20" in line for line in gcs.log)
    go.set()
    second.join(30)
    assert folder.steps()[0] == 10
    folder.wait_for_uploads()
    assert folder.steps() == (10, 20)
    names = [name.rpartition("/")[2] for name, _ in gcs.writes]
    assert names == [
        f"ckpt-{step}.{kind}" for step in (10, 20) for kind in ("data-00000-of-00001", "index")
    ]


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "ask",
    [
        lambda folder: folder.wait_for_uploads(),
        lambda folder: until(lambda: folder.check_uploads()),
        lambda folder: folder.commit(20, write(b"twenty")),
    ],
    ids=["wait", "check", "commit"],
)
def test_an_upload_that_fails_is_told_once_to_whoever_asks_next(folder, gcs, ask):
    gcs.bucket("bucket").denied = {"create"}
    folder.commit(10, write(b"ten"))
    with pytest.raises(StorageError, match="no permission: .*storage.objects.create"):
        ask(folder)
    gcs.bucket("bucket").denied = set()
    folder.wait_for_uploads()
    assert folder.steps() == ()
    folder.commit(20, write(b"twenty"))
    folder.wait_for_uploads()
    assert contents(folder) == {20: b"twenty"}


def test_waiting_that_is_interrupted_can_be_taken_up_again(folder, hold):
    reached, go = hold("ckpt-10.index")
    folder.commit(10, write(b"ten"))
    assert reached.wait(30)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        folder.wait_for_uploads()
    assert folder.steps() == ()
    go.set()
    folder.wait_for_uploads()
    assert folder.steps() == (10,)


_ENDS_AT_ONCE = """
import sys, threading
sys.path.insert(0, {tests!r})
from gcs_fake.connection import connect, killed_after
from gcs_fake.server import FakeGcs, serving
from kfdet.storage import stores
from kfdet.storage.model_dir import ModelDir
from test_model_dir import DIGEST, write

gcs = FakeGcs()
gcs.bucket("bucket")
reached = threading.Event()

def wait(_, path):
    if path.endswith("ckpt-10.index"):
        reached.set()
        threading.Event().wait()

gcs.before = wait
with serving(gcs) as endpoint:
    store = connect(endpoint)
    stores._bucket_store = lambda: store
    ModelDir.of("gs://bucket/models", experiment_digest=DIGEST).commit(10, write())
    reached.wait()
print("ended")
"""


def test_a_process_that_must_end_does_not_wait_for_an_upload(tmp_path):
    here = Path(__file__).parent
    program = _ENDS_AT_ONCE.format(tests=str(here))
    paths = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        env=os.environ | {"KFDET_CACHE": str(tmp_path), "PYTHONPATH": paths},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


@pytest.mark.parametrize("after", range(13))
def test_a_kill_in_the_middle_of_an_upload_loses_nothing_that_was_complete(
    folder, elsewhere, after
):
    complete = ()
    with killed_after(after, stores._bucket_store()):
        for step, content in ((10, b"ten"), (20, b"twenty")):
            folder.commit(step, write(content))
            if step == 20:
                complete = (10,)
        folder.wait_for_uploads()
        complete = (10, 20)
    there = elsewhere()
    found = contents(there)
    assert tuple(found) in ((), (10,), (10, 20))
    assert set(complete) <= set(found)
    assert found.items() <= {10: b"ten", 20: b"twenty"}.items()
    there.commit(20, write(b"again"))
    there.wait_for_uploads()
    assert contents(there) == {**found, 20: b"again"}


def test_the_training_that_began_last_goes_on(folder, elsewhere, gcs):
    with folder.locked():
        folder.commit(10, write(b"first"))
        folder.wait_for_uploads()
        second = elsewhere()
        with second.locked():
            assert second.steps() == (10,)
            before = list(gcs.writes)
            folder.commit(20, write(b"late"))
            journal = TrainingJournal(experiment_digest=DIGEST, train_time_s=1.0, curve=())
            for late in (
                folder.wait_for_uploads,
                lambda: folder.write_journal(journal),
                lambda: folder.write_summary(summary(second)),
            ):
                with pytest.raises(TrainingError, match="another process has begun to train here"):
                    late()
            assert gcs.writes == before
            second.commit(20, write(b"second"))
            second.wait_for_uploads()
            assert second.steps() == (10, 20)
            with open(f"{second.prefix(20)}.data-00000-of-00001", "rb") as stream:
                assert stream.read() == b"second"


def test_an_upload_that_was_stuck_does_not_write_over_a_training_that_began_since(
    folder, elsewhere, gcs
):
    stuck, go, puts = threading.Event(), threading.Event(), []

    def hold_the_first_chunk(method, _):
        if method == "PUT":
            puts.append(method)
            if len(puts) == 1:
                stuck.set()
                assert go.wait(30)

    with folder.locked():
        gcs.before = hold_the_first_chunk
        folder.commit(20, write(b"stuck"))
        assert stuck.wait(30)
        second = elsewhere()
        with second.locked():
            second.commit(20, write(b"second"))
            second.wait_for_uploads()
        go.set()
        with pytest.raises(TrainingError, match="another process has begun to train here"):
            folder.wait_for_uploads()
    assert contents(elsewhere()) == {20: b"second"}


def test_a_second_training_on_the_same_machine_is_kept_out(folder):
    with folder.locked(), pytest.raises(TrainingError, match="another process"), folder.locked():
        pass


def test_an_unreadable_checkpoint_is_moved_aside(folder, elsewhere, gcs):
    folder.commit(10, write(b"good"))
    folder.commit(20, write(b"bad"))
    folder.wait_for_uploads()
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
                folder.wait_for_uploads()
        finally:
            stores._bucket_store = before
    found = gcs.bucket("bucket")
    for step, content in ((10, b"ten"), (20, b"twenty")):
        assert found[f"models/{DIGEST[:16]}/ckpt-{step}.index"].content == b"index of " + content
        assert found[f"models/{DIGEST[:16]}/ckpt-{step}.data-00000-of-00001"].content == content
