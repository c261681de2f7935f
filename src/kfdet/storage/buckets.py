"""Buckets of Google Cloud Storage: every byte held against its CRC-32C, every failure tried again.

Writing is conditional on the generation that was seen, so that an attempt whose answer was lost can
be repeated: an object that has come into being meanwhile is known by the token that it carries.
Reading names the generation, so that no two versions of an object are ever mixed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import google.auth
import google_crc32c
import requests
import urllib3
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage.exceptions import InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from kfdet.errors import ConfigError, StorageError
from kfdet.schema.cluster_config import CREDENTIALS_VARIABLE
from kfdet.storage.atomic import new_file
from kfdet.storage.locations import Address
from kfdet.storage.stores import (
    DEADLINE_VARIABLE,
    EMULATOR_VARIABLE,
    NOTHING,
    StaleGeneration,
    StoredObject,
    encode_crc32c,
    missing,
)
from kfdet.storage.uploads import TOKEN, ResumableUpload

_DEADLINE_S = 300.0
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_TIMEOUT_S = (10.0, 60.0)
# Resumable uploads go in multiples of 256 KiB.
_CHUNK_BYTES = 8 << 20
_LOG_IN = (
    "Log in with `gcloud auth application-default login`, name a key file in "
    f"{CREDENTIALS_VARIABLE}, or give the pod's service account an identity."
)
_FAILURES = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    InvalidResponse,
    ConnectionError,
)
_READS = 5
T = TypeVar("T")


class _NotThereError(Exception):
    """There is no such object; an OSError would be taken for a fault of the local file."""


class BucketStore:
    """Objects of all buckets that the credentials reach.

    Args:
        client: Knows credentials and endpoint.
        session: Carries the same credentials.
        retry: Which failures are tried again, how soon and for how long without any progress.
        chunk_bytes: Read and sent at a time, a multiple of 256 KiB.
    """

    def __init__(
        self,
        client: Any,
        session: requests.Session,
        *,
        retry: Retry,
        chunk_bytes: int = _CHUNK_BYTES,
    ) -> None:
        self._client = client
        self._session = session
        self._retry = retry
        self._chunk_bytes = chunk_bytes

    @classmethod
    def connect(cls) -> BucketStore:
        """Returns the store for the credentials of the environment.

        `STORAGE_EMULATOR_HOST` names another server than Google's, which is given no credentials.

        Raises:
            ConfigError: `STORAGE_EMULATOR_HOST` is no address.
            StorageError: There are no credentials.
        """
        _check_emulator()
        try:
            credentials: Any = (
                AnonymousCredentials()  # type: ignore[no-untyped-call]
                if os.environ.get(EMULATOR_VARIABLE)
                else google.auth.default(scopes=_SCOPES)[0]
            )
        except auth.GoogleAuthError as failure:
            raise _no_credentials(failure) from failure
        return cls(
            storage.Client(project="none", credentials=credentials),
            AuthorizedSession(credentials),  # type: ignore[no-untyped-call]
            retry=DEFAULT_RETRY.with_delay(0.5, 20.0, 2.0).with_timeout(_deadline_s()),
        )

    def list(self, prefix: str) -> tuple[StoredObject, ...]:
        address = Address.parse(prefix)

        def listed() -> list[Any]:
            return list(
                self._client.list_blobs(
                    address.bucket,
                    prefix=address.name,
                    fields="items(name,size,generation,crc32c,metadata),nextPageToken",
                    timeout=_TIMEOUT_S,
                    retry=self._retry,
                )
            )

        blobs = self._persist(listed, location=prefix)
        # A name that ends in a slash stands for a folder, and holds nothing.
        found = [_described(blob) for blob in blobs if not blob.name.endswith("/")]
        return tuple(sorted(found, key=lambda one: one.location))

    def find(self, location: str) -> StoredObject | None:
        blob = self._find(location)
        return _described(blob) if blob else None

    def read(self, location: str) -> bytes:
        whole = io.BytesIO()
        try:
            self._read_into(whole, location)
        except _NotThereError:
            raise missing(location) from None
        return whole.getvalue()

    def read_range(self, location: str, begin: int, end: int) -> bytes:
        try:
            for blob in self._generations(location):
                # What comes must be as long as it is: a cut answer looks like the object's end.
                stop = min(end, blob.size)
                if stop <= begin:
                    return b""
                with contextlib.suppress(FileNotFoundError):
                    return self._range(blob, begin, stop, location=location)
        except _NotThereError:
            raise missing(location) from None
        raise _restless(location)

    def download(self, location: str, to: Path) -> StoredObject:
        try:
            with new_file(to) as target:
                return self._read_into(target, location)
        except _NotThereError:
            raise missing(location) from None

    def upload(self, source: Path, location: str, *, expected: int | None = None) -> StoredObject:
        with open(source, "rb") as stream:
            return self._write(stream, location, expected)

    def replace(
        self, location: str, content: bytes, *, expected: int | None = None
    ) -> StoredObject:
        return self._write(io.BytesIO(content), location, expected)

    def delete(self, location: str) -> None:
        blob = self._find(location)
        if blob is None:
            return

        def deleted() -> None:
            # What somebody has written since is spared, by an attempt that is repeated too.
            with contextlib.suppress(api.PreconditionFailed):
                blob.delete(if_generation_match=blob.generation, timeout=_TIMEOUT_S, retry=None)

        with contextlib.suppress(FileNotFoundError):
            self._persist(deleted, location=location)

    def _blob(self, location: str, *, generation: int | None = None) -> Any:
        address = Address.parse(location)
        return self._client.bucket(address.bucket).blob(address.name, generation=generation)

    def _find(self, location: str) -> Any:
        blob = self._blob(location)
        try:
            self._persist(lambda: blob.reload(timeout=_TIMEOUT_S, retry=None), location=location)
        except FileNotFoundError:
            return None
        return blob

    def _persist(self, attempt: Callable[[], T], *, location: str) -> T:
        """Repeats what failed for a passing reason, and explains what did not pass.

        Raises:
            FileNotFoundError: There is no such object.
            StorageError: Anything else, in one sentence.
        """
        try:
            return self._retry(attempt)()
        except _FAILURES as failure:
            raise _explained(failure, location=location) from failure

    def _generations(self, location: str) -> Iterator[Any]:
        """Yields what there is, for another attempt when it has been replaced, until patience ends.

        Raises:
            _NotThereError: There is no such object.
        """
        for _ in range(_READS):
            blob = self._find(location)
            if blob is None:
                raise _NotThereError
            yield blob

    def _read_into(self, target: IO[bytes], location: str) -> StoredObject:
        """Writes all bytes of one generation, or nothing but an error."""
        for blob in self._generations(location):
            target.seek(0)
            target.truncate()
            checksum = google_crc32c.Checksum()
            try:
                for begin in range(0, blob.size, self._chunk_bytes):
                    end = min(begin + self._chunk_bytes, blob.size)
                    block = self._range(blob, begin, end, location=location)
                    checksum.update(block)
                    target.write(block)
            except FileNotFoundError:
                # Replaced meanwhile: this generation is gone.
                continue
            found = _described(blob)
            if found.crc32c in (None, encode_crc32c(checksum)):
                return found
        raise _restless(location)

    def _range(self, blob: Any, begin: int, end: int, *, location: str) -> bytes:
        """Returns all bytes of a part of a generation.

        Raises:
            FileNotFoundError: The object is gone, or has another generation.
        """
        pinned = self._blob(location, generation=blob.generation)

        def part() -> bytes:
            content: bytes = pinned.download_as_bytes(
                start=begin,
                end=end - 1,
                raw_download=True,
                checksum=None,
                timeout=_TIMEOUT_S,
                retry=None,
            )
            if len(content) != end - begin:
                raise ConnectionError(f"{len(content):,} bytes came in place of {end - begin:,}")
            return content

        return self._persist(part, location=location)

    def _write(self, stream: IO[bytes], location: str, expected: int | None) -> StoredObject:
        if expected is not None:
            return self._write_over(stream, location, expected)
        while True:
            # Without a condition, an attempt that is repeated could undo what others wrote since.
            blob = self._find(location)
            with contextlib.suppress(StaleGeneration):
                return self._write_over(stream, location, blob.generation if blob else NOTHING)

    def _write_over(self, stream: IO[bytes], location: str, expected: int) -> StoredObject:
        upload = ResumableUpload(
            stream,
            address=Address.parse(location),
            expected=expected,
            endpoint=self._client.api_endpoint,
            session=self._session,
            chunk_bytes=self._chunk_bytes,
        )
        try:
            written = None
            while written is None:
                # Each step has the whole deadline: it runs out only where nothing goes on.
                written = self._persist(upload.step, location=location)
        except StaleGeneration:
            blob = self._find(location)
            if blob is None or (blob.metadata or {}).get(TOKEN) != upload.token:
                raise
            # An earlier attempt of this very upload, whose answer was lost.
            return _described(blob)
        return written


def _deadline_s() -> float:
    text = os.environ.get(DEADLINE_VARIABLE, "")
    try:
        return float(text) if text else _DEADLINE_S
    except ValueError:
        raise ConfigError(
            f'"{text}" is no number', where=DEADLINE_VARIABLE, expected="seconds"
        ) from None


def _described(blob: Any) -> StoredObject:
    return StoredObject(
        location=f"gs://{blob.bucket.name}/{blob.name}",
        size_bytes=int(blob.size),
        generation=int(blob.generation),
        crc32c=blob.crc32c,
    )


def _explained(failure: Exception, *, location: str) -> Exception:
    """Returns the error that says in one sentence what a failure means."""
    if isinstance(failure, api.RetryError):
        cause = failure.cause or failure
        return StorageError(
            f"the storage can't be reached: {_reason(cause)}",
            where=location,
            remedy="Check the network and try again; how long kfdet goes on trying is "
            f"{DEADLINE_VARIABLE}.",
        )
    if isinstance(failure, auth.GoogleAuthError):
        return _no_credentials(failure, location=location)
    if isinstance(failure, api.NotFound):
        if "bucket does not exist" in str(failure):
            return StorageError(
                f"there is no bucket {Address.parse(location).bucket}",
                where=location,
                remedy="Check the name; kfdet makes no buckets.",
            )
        return missing(location)
    if isinstance(failure, api.Unauthorized):
        return StorageError("the credentials are not accepted", where=location, remedy=_LOG_IN)
    if isinstance(failure, api.Forbidden):
        return StorageError(
            f"no permission: {_denial(failure)}",
            where=location,
            remedy="Grant the account the role Storage Object User on the bucket.",
        )
    return StorageError(_reason(failure), where=location)


def _restless(location: str) -> StorageError:
    """Returns the error for an object that could not be read whole."""
    return StorageError(
        f"{_READS} times the bytes that came were not those of the object",
        where=location,
        remedy="Either somebody replaces it all the time, or something on the way changes "
        "bytes: run the same command again.",
    )


def _check_emulator() -> None:
    address = os.environ.get(EMULATOR_VARIABLE)
    if not address:
        return
    try:
        parts = urlsplit(address)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        whole = False
    if not whole:
        raise ConfigError(
            f'"{address}" is no address',
            where=EMULATOR_VARIABLE,
            expected="a scheme, a host and a port: http://localhost:4443",
        )


def _no_credentials(failure: Exception, *, location: str | None = None) -> StorageError:
    """Returns the error for credentials that are missing, expired or revoked."""
    named = os.environ.get(CREDENTIALS_VARIABLE)
    if not isinstance(failure, auth.DefaultCredentialsError):
        what = f"the credentials are not accepted: {_reason(failure)}"
    elif named:
        # Google's reason may come with the error that it follows from.
        what = f"{CREDENTIALS_VARIABLE} names {named}: {str(failure.args[0]).rstrip('.')}"
    else:
        what = "no credentials were found"
    return StorageError(what, where=location or "gs://", remedy=_LOG_IN)


def _denial(failure: Exception) -> str:
    """Returns what the storage says the account lacks."""
    found = re.search(r"[^\s\"]+ does not have [\w.]+ access", str(failure))
    return found[0] if found else "the account may not do this"


def _reason(failure: Exception) -> str:
    """Returns what a failure says in one line, without the address that was asked."""
    if isinstance(failure, auth.TransportError) and isinstance(failure.args[0], Exception):
        failure = failure.args[0]
    if isinstance(failure, requests.ConnectionError | requests.Timeout) and failure.request:
        return f"no answer from {urlsplit(failure.request.url).netloc}"
    text = re.sub(r"^(GET|PUT|POST|DELETE|PATCH) \S+: ", "", str(failure).strip())
    first = text.splitlines()[0][:300] if text else ""
    return first or type(failure).__name__
