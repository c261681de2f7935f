"""One resumable upload to a bucket: it goes on at the byte that the storage has, or begins anew.

Source: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
import uuid
from typing import IO, Any

import requests
from google.api_core import exceptions as api

from kfdet.errors import StorageError
from kfdet.storage.locations import Address
from kfdet.storage.stores import StaleGeneration, StoredObject, crc32c_of

# Metadata that tells an upload from those of others.
TOKEN = "kfdet-write"  # noqa: S105 the name of a token, not a secret
_TIMEOUT_S = (10.0, 60.0)
_MOST_SESSIONS = 10


class ResumableUpload:
    """The bytes of a stream on their way to an object.

    The storage is told their checksum beforehand and refuses to make an object of others.

    Args:
        stream: Must not change until the upload is done.
        address: Where to.
        expected: Generation that the object must have until then; 0 for none.
        endpoint: Address of the server.
        session: Knows the credentials.
        chunk_bytes: Sent at a time, a multiple of 256 KiB.
    """

    def __init__(
        self,
        stream: IO[bytes],
        *,
        address: Address,
        expected: int,
        endpoint: str,
        session: requests.Session,
        chunk_bytes: int,
    ) -> None:
        self.token = uuid.uuid4().hex
        self._stream = stream
        self._address = address
        self._expected = expected
        self._endpoint = endpoint
        self._http = session
        self._chunk_bytes = chunk_bytes
        self._crc32c, self._size_bytes = crc32c_of(stream)
        self._session: str | None = None
        self._sessions = 0
        self._offset = 0
        self._sure = True

    def step(self) -> StoredObject | None:
        """Sends some more; returns the object once it is there.

        After any failure it may be called again.

        Raises:
            StaleGeneration: Something else is there, or this upload was done before.
            GoogleAPICallError, RequestException, ConnectionError: The attempt failed.
        """
        if self._session is None:
            self._session = self._begin()
            self._offset, self._sure = 0, True
        before = self._offset
        if not self._sure:
            written = self._take(self._put(b"", f"bytes */{self._size_bytes}"))
            if written is not None:
                return written
        self._stream.seek(self._offset)
        chunk = self._stream.read(self._chunk_bytes)
        last = self._offset + len(chunk) - 1
        place = f"{self._offset}-{last}" if chunk else "*"
        written = self._take(self._put(chunk, f"bytes {place}/{self._size_bytes}"))
        if written is None and self._offset <= before:
            raise ConnectionError(f"the storage keeps no more than {self._offset:,} bytes")
        return written

    def _begin(self) -> str:
        if self._sessions == _MOST_SESSIONS:
            raise StorageError(
                f"the upload was given up by the storage {_MOST_SESSIONS} times",
                where=str(self._address),
                remedy="Run the same command again.",
            )
        answer = self._http.post(
            f"{self._endpoint}/upload/storage/v1/b/{self._address.bucket}/o",
            params={"uploadType": "resumable", "ifGenerationMatch": str(self._expected)},
            json={
                "name": self._address.name,
                "crc32c": self._crc32c,
                "metadata": {TOKEN: self.token},
            },
            headers={"X-Upload-Content-Length": str(self._size_bytes)},
            timeout=_TIMEOUT_S,
        )
        self._check(answer)
        self._sessions += 1
        return str(answer.headers["Location"])

    def _put(self, content: bytes, place: str) -> requests.Response:
        assert self._session is not None
        self._sure = False
        return self._http.put(
            self._session,
            data=content,
            headers={"Content-Range": place},
            timeout=_TIMEOUT_S,
            allow_redirects=False,
        )

    def _take(self, answer: requests.Response) -> StoredObject | None:
        """Learns from an answer how far the upload is."""
        if answer.status_code != requests.codes.permanent_redirect:
            self._check(answer)
            return self._written(answer.json())
        kept = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
        self._offset, self._sure = (int(kept[1]) + 1 if kept else 0), True
        return None

    def _check(self, answer: requests.Response) -> None:
        if answer.ok:
            return
        damaged = (
            answer.status_code == requests.codes.bad_request and "crc32c" in answer.text.lower()
        )
        forgotten = self._session is not None and answer.status_code in (404, 410)
        if damaged or forgotten:
            self._session = None
            raise ConnectionError(
                "the upload was damaged" if damaged else "the upload was forgotten"
            )
        if answer.status_code == requests.codes.precondition_failed:
            raise StaleGeneration(
                "somebody else has written it meanwhile",
                where=str(self._address),
                remedy="Run the same command again.",
            )
        raise api.from_http_response(answer)  # type: ignore[no-untyped-call]

    def _written(self, resource: dict[str, Any]) -> StoredObject:
        if resource.get("crc32c") != self._crc32c or int(resource["size"]) != self._size_bytes:
            raise StorageError(
                f"it was stored as {resource['size']} bytes with the checksum "
                f"{resource.get('crc32c')}",
                where=str(self._address),
                expected=f"{self._size_bytes} and {self._crc32c}, as sent",
                remedy="Run the same command again.",
            )
        return StoredObject(
            location=str(self._address),
            size_bytes=self._size_bytes,
            generation=int(resource["generation"]),
            crc32c=self._crc32c,
        )
