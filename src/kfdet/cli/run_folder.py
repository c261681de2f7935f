"""The folder of a run on one machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import kfdet
from kfdet.errors import UsageError
from kfdet.schema.run_record import RUN_FILE
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.files import file_sha256, name_fault


class RunFolder:
    """Names every file of a run's folder, so that each name stands in one place.

    Raises:
        UsageError: The folder, or one around it, has a name that the run's documents can't hold.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        if (fault := name_fault(str(self.root))) is not None:
            raise UsageError(
                f"its name {fault}",
                where=str(self.root),
                remedy="Choose another folder with --out, and start kfdet in one.",
            )
        self.record = self.root / RUN_FILE
        self.index = self.root / "index.html"
        self.config = self.root / "config.yaml"
        self.pipeline = self.root / "pipeline.yaml"
        self.reports = self.root / "reports"
        self.models = self.root / "models"
        self.artifacts = self.root / "artifacts"
        self.request = self.root / "logs" / "request.json"
        self.events = self.root / "logs" / "events.jsonl"
        self.tasks = self.root / "logs" / "tasks.jsonl"
        self.log = self.root / "logs" / "pipeline.log"

    @property
    def cache(self) -> Path:
        """Tasks finished by this very code; other code has a cache of its own."""
        return self.root / "cache" / _source_digest()[:12]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second run out of the folder while this one works in it.

        Raises:
            UsageError: Another run works here.
        """
        with explain_os_errors(self.root):
            (self.root / "logs").mkdir(parents=True, exist_ok=True)
            lock = open(self.root / ".lock", "w")  # noqa: SIM115 held for the block
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(
                    "another run works in this folder",
                    where=str(self.root),
                    remedy="Wait for it, or choose another folder with --out.",
                ) from None
            yield


def _source_digest() -> str:
    package = Path(kfdet.__file__).parent
    whole = hashlib.sha256(kfdet.__version__.encode())
    for path in sorted(package.rglob("*.py")):
        whole.update(f"{path.relative_to(package)}\0{file_sha256(path)}\n".encode())
    return whole.hexdigest()
