"""What all tests share."""

import signal

import pytest
from gcs_fake.server import FakeGcs, serving
from hypothesis import settings

from kfdet.storage import stores

# Machines are noisy: no test asserts a time, and no example has a deadline.
settings.register_profile("kfdet", deadline=None)
settings.load_profile("kfdet")

# A shell's background job is started with SIGINT ignored, and hands that on: tests that press
# Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def gcs():
    """A bucket server's state."""
    server = FakeGcs()
    server.bucket("bucket")
    return server


@pytest.fixture
def store(gcs):
    """The store that speaks to it."""
    # google-cloud-storage is for those who ask for it.
    from gcs_fake.connection import connect

    with serving(gcs) as endpoint:
        yield connect(endpoint)


@pytest.fixture
def remote(store, tmp_path, monkeypatch):
    """Has everything in this process take the bucket server for Google's."""
    monkeypatch.setattr(stores, "_bucket_store", lambda: store)
    monkeypatch.setenv("KFDET_CACHE", str(tmp_path / "cache"))
