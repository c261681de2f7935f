"""The model directory: checkpoints, what training wrote beside them, and who is writing.

<model_dir>/
  ckpt-<step>.index, ckpt-<step>.data-*   checkpoints; the index appears last, so one that is
                                          listed is whole unless the disk failed
  train/                                  TensorBoard events
  journal.json                            curve so far
  training.json                           summary, there once training is finished
  ledger.json                             metrics of the checkpoints measured so far
  damaged/                                checkpoints that could not be read, moved aside

In a bucket it is the same. What TensorFlow writes goes to a local folder first and is uploaded when
it is whole, the index last again, beside the training that goes on: one checkpoint at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kfdet.errors import ArtifactError, TrainingError
from kfdet.schema.training import CheckpointRef, Ledger, TrainingJournal, TrainingSummary
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.background import Background
from kfdet.storage.checkpoints import checkpoint_digest, local_prefix
from kfdet.storage.copies import copy_of
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.locations import is_remote, join
from kfdet.storage.stores import NOTHING, StaleGeneration, Store, store_of

_PREFIX = "ckpt-"
_INDEX = ".index"
_OWNER = "owner.json"
_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(kw_only=True)
class ModelDir:
    """Attributes:
    path: The folder; it need not exist. Of a directory in a bucket, the local folder for it.
    address: The gs:// address, of a directory in a bucket.
    """

    path: Path
    address: str | None = None
    _ownership: int = field(default=0, init=False)
    _uploading: Background = field(default_factory=Background, init=False)

    @classmethod
    def of(cls, root: str, *, experiment_digest: str) -> ModelDir:
        """Returns the directory of an experiment: equal experiments share one."""
        return cls.at(join(root, experiment_digest[:16]))

    @classmethod
    def at(cls, location: str) -> ModelDir:
        """Returns the directory in a folder, or below an address in a bucket."""
        if is_remote(location):
            return cls(path=copy_of(location), address=location)
        return cls(path=Path(location))

    @property
    def location(self) -> str:
        return self.address or str(self.path)

    @property
    def events(self) -> Path:
        return self.path / "train"

    def steps(self) -> tuple[int, ...]:
        """Returns the steps of the checkpoints there are, ascending."""
        if self.address:
            prefix = join(self.address, _PREFIX)
            names = [one.location for one in store_of(prefix).list(prefix)]
        else:
            names = [str(path) for path in self.path.glob(f"{_PREFIX}*")]
        indexes = (re.search(rf"/{_PREFIX}(\d+){re.escape(_INDEX)}$", name) for name in names)
        return tuple(sorted(int(found[1]) for found in indexes if found))

    def uri(self, step: int) -> str:
        """Returns the location of a checkpoint, without `.index`."""
        return join(self.location, f"{_PREFIX}{step}")

    def prefix(self, step: int) -> str:
        """Returns a checkpoint's path as TensorFlow takes it, without `.index`; copied if need be."""
        return local_prefix(self.uri(step))

    def checkpoint(self, step: int) -> CheckpointRef:
        """Returns a checkpoint with the digest of its bytes, which are read for it."""
        return CheckpointRef(
            step=step, uri=self.uri(step), digest=checkpoint_digest(self.uri(step))
        )

    def commit(self, step: int, write: Callable[[str], None]) -> None:
        """Makes a checkpoint appear whole or not at all.

        In a bucket it appears later: it is uploaded in the background, after the one before.
        `check_uploads` and `wait_for_uploads` tell what becomes of it.

        Args:
            step: Its step.
            write: Writes the checkpoint's files under the prefix that it is given.

        Raises:
            StorageError: It can't be written, or the one before could not be uploaded.
            TrainingError: Another process has begun to train there.
        """
        self.wait_for_uploads()
        with explain_os_errors(self.path):
            work = self.path / ".saving"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            try:
                write(str(work / f"{_PREFIX}{step}"))
                # The index last: a checkpoint is there when its index is.
                written = sorted(
                    (file for file in work.iterdir() if file.is_file()),
                    key=lambda file: file.suffix == _INDEX,
                )
                for file in written:
                    with open(file, "rb") as stream:
                        os.fsync(stream.fileno())
                    os.replace(file, self.path / file.name)
            finally:
                # Of a disk that is full, the beginning of a checkpoint takes the rest.
                shutil.rmtree(work, ignore_errors=True)
        if not self.address:
            return
        files = [self.path / file.name for file in written]
        # Events are written on meanwhile: what there is of them now goes up.
        events = {
            file: file.read_bytes() for file in sorted(self.events.rglob("*")) if file.is_file()
        }
        self._uploading.start(lambda: self._upload(files, events))

    def check_uploads(self) -> None:
        """Returns at once, whether the newest checkpoint is where it belongs yet or not.

        Raises:
            StorageError, TrainingError: It can't be uploaded, as `commit` says.
        """
        self._uploading.check()

    def wait_for_uploads(self) -> None:
        """Returns when every checkpoint is where it belongs, verified.

        Raises:
            StorageError, TrainingError: One can't be uploaded, as `commit` says.
        """
        self._uploading.wait()

    def _upload(self, files: Sequence[Path], contents: Mapping[Path, bytes]) -> None:
        """Copies files of the local folder into the bucket, in their order, then contents of others.

        Raises:
            TrainingError: Another process has begun to train there.
        """
        for file in files:
            with self._unless_taken(file) as (store, place, expected):
                store.upload(file, place, expected=expected)
        for file, content in contents.items():
            with self._unless_taken(file) as (store, place, expected):
                store.replace(place, content, expected=expected)

    @contextlib.contextmanager
    def _unless_taken(self, file: Path) -> Iterator[tuple[Store, str, int]]:
        """Yields store, place and generation by which a file of the local folder is written.

        Raises:
            TrainingError: Another process has begun to train there, or begins meanwhile.
        """
        place = self._there(file)
        store = store_of(place)
        # Looked at before the owner: what another one writes after that is not written over, however
        # long this upload is stuck.
        found = store.find(place)
        self._check_owner()
        try:
            yield store, place, found.generation if found else NOTHING
        except StaleGeneration:
            self._check_owner()
            raise

    def _there(self, file: Path) -> str:
        return join(self.location, file.relative_to(self.path).as_posix())

    def _check_owner(self) -> None:
        """Makes sure that no other process has begun to train in the same place of a bucket.

        Raises:
            TrainingError: One has.
        """
        if not self.address or not self._ownership:
            return
        place = join(self.address, _OWNER)
        owner = store_of(place).find(place)
        if owner is None or owner.generation != self._ownership:
            raise TrainingError(
                "another process has begun to train here",
                where=self.address,
                remedy="Let one of the two go on: each goes on from the newest checkpoint.",
            )

    def set_aside(self, step: int) -> str:
        """Moves an unreadable checkpoint to `damaged`, where nothing looks for checkpoints."""
        folder = self.path / "damaged"
        moved = []
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(self.path.glob(f"{_PREFIX}{step}.*"), reverse=True):
                os.replace(file, folder / file.name)
                moved.append(folder / file.name)
        if self.address:
            self._upload(moved, {})
            # The index first: a checkpoint is gone when its index is.
            for file in moved:
                store_of(self.address).delete(join(self.address, file.name))
        return join(self.location, "damaged")

    def journal(self, *, experiment_digest: str) -> TrainingJournal:
        """Returns what was measured so far; an empty journal where there is none to go on from."""
        try:
            journal = read_document(TrainingJournal, join(self.location, "journal.json"))
        except ArtifactError:
            journal = None
        if journal is None or journal.experiment_digest != experiment_digest:
            return TrainingJournal(experiment_digest=experiment_digest, train_time_s=0.0, curve=())
        return journal

    def write_journal(self, journal: TrainingJournal) -> None:
        self._check_owner()
        write_document(join(self.location, "journal.json"), journal)

    def summary(self, *, experiment_digest: str) -> TrainingSummary | None:
        """Returns the summary of a finished training whose checkpoints are all still there.

        It speaks of the directory as it is found now: a moved one keeps its training.
        """
        try:
            summary = read_document(TrainingSummary, join(self.location, "training.json"))
            if summary.experiment_digest != experiment_digest:
                return None
            present = tuple(self.checkpoint(ref.step) for ref in summary.checkpoints)
        except ArtifactError:
            return None
        if not present or [r.digest for r in present] != [r.digest for r in summary.checkpoints]:
            return None
        return summary.model_copy(update={"model_dir": self.location, "checkpoints": present})

    def write_summary(self, summary: TrainingSummary) -> None:
        self._check_owner()
        write_document(join(self.location, "training.json"), summary)

    def ledger(self) -> Ledger | None:
        """Returns the metrics measured so far, if any are readable."""
        try:
            return read_document(Ledger, join(self.location, "ledger.json"))
        except ArtifactError:
            return None

    def write_ledger(self, ledger: Ledger) -> None:
        write_document(join(self.location, "ledger.json"), ledger)

    def appearing(self, *, experiment_digest: str, timeout_s: float) -> Iterator[CheckpointRef]:
        """Yields every checkpoint of a running training, however slowly they are taken.

        Ends when the training has finished.

        Raises:
            TrainingError: For as long as `timeout_s` no checkpoint has appeared.
        """
        seen: set[int] = set()
        last = time.monotonic()
        while True:
            # Looked at first: once the summary is there, so are all the checkpoints.
            finished = self.summary(experiment_digest=experiment_digest) is not None
            fresh = [step for step in self.steps() if step not in seen]
            for step in fresh:
                seen.add(step)
                yield self.checkpoint(step)
                last = time.monotonic()
            if finished:
                return
            if time.monotonic() - last > timeout_s:
                raise TrainingError(
                    f"no new checkpoint for {timeout_s:,.0f} s, and the training has not finished",
                    where=self.location,
                    remedy="Look whether it still runs; run select again to go on.",
                )
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training out of the directory.

        In a folder the lock dies with its process. A bucket has no locks: there the training that
        began last is the one that goes on, and an earlier one is told so before it writes again.

        Raises:
            TrainingError: Another process is training here.
        """
        with explain_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            stream = open(self.path / ".lock", "a")  # noqa: SIM115 held as long as the lock
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as failure:
                raise TrainingError(
                    "another process is training here",
                    where=self.location,
                    remedy="Wait for it or stop it; then run again: training goes on from the "
                    "newest checkpoint.",
                ) from failure
            except OSError:
                # A file system without locks: the schedulers that use one start one task a time.
                pass
            if self.address:
                place = join(self.address, _OWNER)
                host = json.dumps({"host": platform.node(), "process": os.getpid()})
                self._ownership = store_of(place).replace(place, host.encode()).generation
            yield
