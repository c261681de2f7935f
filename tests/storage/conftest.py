"""A bucket server in this process, and the store that speaks to it."""

import pytest
from gcs_fake.connection import connect
from gcs_fake.server import FakeGcs, serving


@pytest.fixture
def gcs():
    server = FakeGcs()
    server.bucket("bucket")
    return server


@pytest.fixture
def store(gcs):
    with serving(gcs) as endpoint:
        yield connect(endpoint)
