"""A bucket server: the part of the JSON API that google-cloud-storage speaks, over real HTTP.

It honours generations, keeps resumable uploads to the byte, checks CRC-32C before an object comes
into being, lists in pages, and fails in the ways it is told to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

QUANTUM = 256 * 1024

# Before the request is carried out.
REFUSALS = ("503", "500", "429", "408", "reset")
# The request is carried out, and its answer never comes.
LOST_ANSWERS = ("answer lost", "answer 503")
# Of the answer with an object's bytes.
BODY_FAULTS = ("reset in body", "body cut", "body short", "body changed")
# Of a chunk on its way up.
UPLOAD_FAULTS = ("half a chunk kept", "chunk changed", "session forgotten")


@dataclass
class Object:
    content: bytes
    generation: int
    metadata: dict[str, str]

    @property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.content).to_bytes(4, "big")).decode()


@dataclass
class Session:
    bucket: str
    resource: dict[str, Any]
    conditions: dict[str, str]
    content: bytearray = field(default_factory=bytearray)
    finished: dict[str, Any] | None = None


class Bucket(dict[str, Object]):
    """Attributes:
    denied: What the account may not do: "get", "create", "list", "delete".
    """

    def __init__(self) -> None:
        super().__init__()
        self.denied: set[str] = set()


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeGcs:
    """The server's state; what the tests look at and set.

    Attributes:
        faults: Kind of failure of the next requests, in their order; None lets one through.
        page_size: Objects a page of a listing.
        log: Method and path of every request.
        before: Called with each request before it is carried out, outside of the lock.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.faults: list[str | None] = []
        self.page_size = 3
        self.log: list[str] = []
        self.before: Any = None
        self.authorised = True
        self.writes: list[tuple[str, int]] = []
        self._sessions: dict[str, Session] = {}
        self._generation = 1_700_000_000_000_000
        self._lock = threading.RLock()

    def bucket(self, name: str) -> Bucket:
        return self.buckets.setdefault(name, Bucket())

    def put(
        self, bucket: str, name: str, content: bytes, metadata: dict[str, str] | None = None
    ) -> int:
        with self._lock:
            self._generation += 1
            self.bucket(bucket)[name] = Object(content, self._generation, metadata or {})
            self.writes.append((name, self._generation))
            return self._generation

    def next_fault(self) -> str | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else None

    def objects(self, bucket: str, *, operation: str) -> Bucket:
        if not self.authorised:
            raise Refused(401, "Invalid Credentials")
        if bucket not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        found = self.buckets[bucket]
        if operation in found.denied:
            raise Refused(
                403,
                f"robot@project.iam.gserviceaccount.com does not have storage.objects.{operation} "
                "access to the Google Cloud Storage object.",
            )
        return found

    def get(
        self, bucket: str, name: str, query: dict[str, str], *, operation: str = "get"
    ) -> Object:
        with self._lock:
            found = self.objects(bucket, operation=operation).get(name)
            wanted = query.get("generation")
            if found is None or (wanted and int(wanted) != found.generation):
                raise Refused(404, f"No such object: {bucket}/{name}")
            check_conditions(found, query)
            return found

    def delete(self, bucket: str, name: str, query: dict[str, str]) -> None:
        with self._lock:
            self.get(bucket, name, query, operation="delete")
            del self.buckets[bucket][name]

    def page(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        with self._lock:
            objects = self.objects(bucket, operation="list")
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
            names, folders = [], set()
            for name in sorted(objects):
                if not name.startswith(prefix) or name <= query.get("pageToken", ""):
                    continue
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                else:
                    names.append(name)
            shown = names[: self.page_size]
            page: dict[str, Any] = {
                "kind": "storage#objects",
                "items": [resource_of(bucket, name, objects[name]) for name in shown],
                "prefixes": sorted(folders),
            }
            if len(names) > self.page_size:
                page["nextPageToken"] = shown[-1]
            return page

    def begin(self, bucket: str, query: dict[str, str], resource: dict[str, Any]) -> str:
        with self._lock:
            objects = self.objects(bucket, operation="create")
            name = query.get("name") or resource["name"]
            check_conditions(objects.get(name), query)
            session = uuid.uuid4().hex
            self._sessions[session] = Session(bucket, {**resource, "name": name}, query)
            return session

    def forget(self, session: str) -> None:
        self._sessions.pop(session, None)

    def receive(
        self, session: str, place: str, content: bytes, *, kept: int | None = None
    ) -> dict[str, Any] | int:
        """Takes a chunk; returns the finished object's resource, or how many bytes are kept.

        Args:
            kept: So many bytes of the chunk arrive; the rest is lost.
        """
        with self._lock:
            if session not in self._sessions:
                raise Refused(410, "The upload session is gone.")
            upload = self._sessions[session]
            if upload.finished:
                return upload.finished
            form = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", place)
            assert form, place
            total = int(form[3])
            if form[1]:
                begin = int(form[1])
                assert len(content) == int(form[2]) - begin + 1, "Content-Range is not the body's"
                if begin > len(upload.content):
                    raise Refused(503, "The chunk begins beyond what was received.")
                if begin + len(content) < total and len(content) % QUANTUM:
                    raise Refused(400, "Chunks must be multiples of 256 KiB.")
                arrived = content if kept is None else content[:kept]
                if begin + len(arrived) < total:
                    arrived = arrived[: len(arrived) // QUANTUM * QUANTUM]
                upload.content[begin:] = arrived
            if len(upload.content) < total:
                return len(upload.content)
            upload.finished = self.finish(upload)
            return upload.finished

    def finish(self, upload: Session) -> dict[str, Any]:
        return self.create(upload.bucket, upload.resource, upload.conditions, bytes(upload.content))

    def create(
        self, bucket: str, resource: dict[str, Any], query: dict[str, str], content: bytes
    ) -> dict[str, Any]:
        with self._lock:
            objects = self.objects(bucket, operation="create")
            name = query.get("name") or resource["name"]
            check_conditions(objects.get(name), query)
            wanted = resource.get("crc32c")
            received = Object(content, 0, {}).crc32c
            if wanted and wanted != received:
                raise Refused(
                    400,
                    f'Provided CRC32C "{wanted}" doesn\'t match calculated CRC32C "{received}".',
                )
            self.put(bucket, name, content, resource.get("metadata"))
            return resource_of(bucket, name, objects[name])


def check_conditions(found: Object | None, query: dict[str, str]) -> None:
    there = found.generation if found else 0
    if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != there:
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
    if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == there:
        raise Refused(304, "Not modified")


def resource_of(bucket: str, name: str, found: Object) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": bucket,
        "size": str(len(found.content)),
        "generation": str(found.generation),
        "metageneration": "1",
        "crc32c": found.crc32c,
        "md5Hash": base64.b64encode(hashlib.md5(found.content).digest()).decode(),
        "metadata": found.metadata,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Or every answer waits for the client to acknowledge its head.
    disable_nagle_algorithm = True
    gcs: FakeGcs

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self._query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        gcs = self.gcs
        if match := re.fullmatch(r"/storage/v1/b/([^/]+)", parts.path):
            return self._of_bucket(match[1])
        with gcs._lock:
            gcs.log.append(f"{self.command} {unquote(parts.path)}")
        if gcs.before:
            gcs.before(self.command, unquote(parts.path))
        self._fault = gcs.next_fault()
        if self._fault == "reset":
            return self._reset()
        if self._fault in REFUSALS:
            return self._fail(int(self._fault), "Try again later.")
        try:
            status, headers, content = self._route(parts.path)
        except Refused as refusal:
            return self._fail(refusal.status, str(refusal))
        if self._fault == "answer lost":
            return self._reset()
        if self._fault == "answer 503":
            return self._fail(503, "Backend error.")
        return self._answer(status, headers, content)

    def _of_bucket(self, name: str) -> None:
        """Answers what google-cloud-storage asks beside the work, for its traces, at any moment.

        It is no part of what the tests count and disturb.
        """
        self._fault = None
        if name not in self.gcs.buckets:
            return self._fail(404, "The specified bucket does not exist.")
        return self._answer(*self._json({"kind": "storage#bucket", "name": name}))

    def _route(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if match := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)", path):
            return self._object(match[1], unquote(match[2]))
        if match := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
            return self._json(self.gcs.page(match[1], self._query))
        if match := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
            return self._upload(match[1])
        raise Refused(501, f"the fake does not know {self.command} {path}")

    def _object(self, bucket: str, name: str) -> tuple[int, dict[str, str], bytes]:
        if self.command == "DELETE":
            self.gcs.delete(bucket, name, self._query)
            return 204, {}, b""
        found = self.gcs.get(bucket, name, self._query)
        if self._query.get("alt") != "media":
            return self._json(resource_of(bucket, name, found))
        headers = {
            "X-Goog-Generation": str(found.generation),
            "X-Goog-Hash": f"crc32c={found.crc32c}",
        }
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not span:
            return 200, headers, found.content
        size, begin = len(found.content), int(span[1])
        if begin >= size:
            raise Refused(416, "The requested range cannot be satisfied.")
        end = min(int(span[2]) + 1 if span[2] else size, size)
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        return 206, headers, found.content[begin:end]

    def _upload(self, bucket: str) -> tuple[int, dict[str, str], bytes]:
        if self.command == "POST":
            if self._query.get("uploadType") == "multipart":
                resource, content = parts_of(self.headers["Content-Type"], self._body)
                return self._json(self.gcs.create(bucket, resource, self._query, content))
            session = self.gcs.begin(bucket, self._query, json.loads(self._body or b"{}"))
            host, port = self.server.server_address[:2]
            place = f"http://{host}:{port}/upload/storage/v1/b/{bucket}/o?upload_id={session}"
            return 200, {"Location": place}, b""
        session = self._query["upload_id"]
        content, kept = self._body, None
        if self._fault == "session forgotten":
            self.gcs.forget(session)
        if self._fault == "chunk changed" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        if self._fault == "half a chunk kept":
            kept = len(content) // 2
        outcome = self.gcs.receive(session, self.headers["Content-Range"], content, kept=kept)
        if self._fault == "half a chunk kept":
            raise Refused(503, "Backend error.")
        if isinstance(outcome, dict):
            return self._json(outcome)
        return 308, {"Range": f"bytes=0-{outcome - 1}"} if outcome else {}, b""

    def _json(self, value: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        whole = len(content)
        media = self._query.get("alt") == "media" and len(content) > 1
        if media and self._fault == "body short":
            content = content[: len(content) // 2]
            whole = len(content)
        if media and self._fault == "body changed":
            content = content[:-1] + bytes([content[-1] ^ 1])
        cut = media and self._fault in ("reset in body", "body cut")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(whole))
        self.end_headers()
        self.wfile.write(content[: whole // 2] if cut else content)
        self.wfile.flush()
        if cut and self._fault == "reset in body":
            self._reset()
        if cut:
            self.close_connection = True

    def _fail(self, status: int, message: str) -> None:
        body = {"error": {"code": status, "message": message, "errors": [{"message": message}]}}
        content = b"" if status == 304 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        """Breaks the connection off, so that the other side sees a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not shutdown: that would end the stream in good order.
        self.wfile.close()
        self.rfile.close()
        self.connection.close()


def parts_of(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    assert boundary
    _, first, second, _ = body.split(b"--" + boundary[1].encode())
    content = second.split(b"\r\n\r\n", 1)[1][:-2]
    return json.loads(first.split(b"\r\n\r\n", 1)[1]), content


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that the test broke off are no news."""

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            super().shutdown_request(request)


@contextlib.contextmanager
def serving(gcs: FakeGcs) -> Iterator[str]:
    """Serves until the block ends; yields the address for `STORAGE_EMULATOR_HOST`."""
    handler = type("Bound", (Handler,), {"gcs": gcs})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
