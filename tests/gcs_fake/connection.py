"""The store that speaks to the bucket server, and what ends in the middle of its requests."""

import contextlib

from gcs_fake.server import QUANTUM
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from kfdet.storage.buckets import BucketStore

# Tries again at once: the tests' faults are over when they are over.
AT_ONCE = DEFAULT_RETRY.with_delay(0.0005, 0.002, 1.5).with_timeout(10.0)


def connect(endpoint, *, retry=AT_ONCE, chunk_bytes=QUANTUM, credentials=None):
    credentials = credentials or AnonymousCredentials()
    client = storage.Client(
        project="none", credentials=credentials, client_options={"api_endpoint": endpoint}
    )
    return BucketStore(client, AuthorizedSession(credentials), retry=retry, chunk_bytes=chunk_bytes)


class _Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_after(requests, store):
    """Ends the block as a kill does, when a store has made so many requests.

    Yields:
        An empty list, which has an entry when it came to that.
    """
    killed, made = [], 0

    def persist(attempt, *, location):
        nonlocal made
        made += 1
        if made > requests:
            raise _Killed
        return type(store)._persist(store, attempt, location=location)

    store._persist = persist
    try:
        yield killed
    except _Killed as kill:
        killed.append(kill)
    finally:
        del store._persist
