"""A bucket server in this process, and the store that speaks to it."""

import pytest
from gcs_fake.connection import connect
from gcs_fake.server import FakeGcs, serving

from kfdet.storage import stores


@pytest.fixture
def gcs():
    server = FakeGcs()
    server.bucket("bucket")
    return server


@pytest.fixture
def store(gcs):
    with serving(gcs) as endpoint:
        yield connect(endpoint)


@pytest.fixture
def remote(store, tmp_path, monkeypatch):
    """Has everything in this process take the bucket server for Google's."""
    monkeypatch.setattr(stores, "_bucket_store", lambda: store)
    monkeypatch.setenv("KFDET_CACHE", str(tmp_path / "cache"))
