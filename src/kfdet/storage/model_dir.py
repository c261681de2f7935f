"""The model directory: checkpoints, what training wrote beside them, and who is writing.

<model_dir>/
  ckpt-<step>.index, ckpt-<step>.data-*   checkpoints; the index appears last, so one that is
                                          listed is whole unless the disk failed
  train/                                  TensorBoard events
  journal.json                            curve so far
  training.json                           summary, there once training is finished
  ledger.json                             metrics of the checkpoints measured so far
  damaged/                                checkpoints that could not be read, moved aside
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kfdet.errors import ArtifactError, TrainingError
from kfdet.schema.training import CheckpointRef, Ledger, TrainingJournal, TrainingSummary
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.checkpoints import checkpoint_digest
from kfdet.storage.documents import read_document, write_document

_PREFIX = "ckpt-"
_INDEX = ".index"
_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, kw_only=True)
class ModelDir:
    """Attributes:
    path: The folder; it need not exist.
    """

    path: Path

    @classmethod
    def of(cls, root: str, *, experiment_digest: str) -> ModelDir:
        """Returns the directory of an experiment: equal experiments share one."""
        return cls(path=Path(root) / experiment_digest[:16])

    @property
    def events(self) -> Path:
        return self.path / "train"

    def steps(self) -> tuple[int, ...]:
        """Returns the steps of the checkpoints there are, ascending."""
        found = []
        for index in self.path.glob(f"{_PREFIX}*{_INDEX}"):
            number = index.name.removeprefix(_PREFIX).removesuffix(_INDEX)
            if number.isdigit():
                found.append(int(number))
        return tuple(sorted(found))

    def prefix(self, step: int) -> str:
        """Returns the checkpoint's address as TensorFlow takes it: without `.index`."""
        return str(self.path / f"{_PREFIX}{step}")

    def checkpoint(self, step: int) -> CheckpointRef:
        """Returns a checkpoint with the digest of its bytes, which are read for it."""
        return CheckpointRef(
            step=step, uri=self.prefix(step), digest=checkpoint_digest(self.prefix(step))
        )

    def commit(self, step: int, write: Callable[[str], None]) -> None:
        """Makes a checkpoint appear whole or not at all.

        Args:
            step: Its step.
            write: Writes the checkpoint's files under the prefix that it is given.
        """
        with explain_os_errors(self.path):
            work = self.path / ".saving"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            try:
                write(str(work / f"{_PREFIX}{step}"))
                # The index last: a checkpoint is there when its index is.
                for file in sorted(work.iterdir(), key=lambda file: file.suffix == _INDEX):
                    if file.is_file():
                        with open(file, "rb") as stream:
                            os.fsync(stream.fileno())
                        os.replace(file, self.path / file.name)
            finally:
                # Of a disk that is full, the beginning of a checkpoint takes the rest.
                shutil.rmtree(work, ignore_errors=True)

    def set_aside(self, step: int) -> Path:
        """Moves an unreadable checkpoint to `damaged`, where nothing looks for checkpoints."""
        folder = self.path / "damaged"
        with explain_os_errors(folder):
            folder.mkdir(exist_ok=True)
            for file in self.path.glob(f"{_PREFIX}{step}.*"):
                os.replace(file, folder / file.name)
        return folder

    def journal(self, *, experiment_digest: str) -> TrainingJournal:
        """Returns what was measured so far; an empty journal where there is none to go on from."""
        try:
            journal = read_document(TrainingJournal, self.path / "journal.json")
        except ArtifactError:
            journal = None
        if journal is None or journal.experiment_digest != experiment_digest:
            return TrainingJournal(experiment_digest=experiment_digest, train_time_s=0.0, curve=())
        return journal

    def write_journal(self, journal: TrainingJournal) -> None:
        write_document(self.path / "journal.json", journal)

    def summary(self, *, experiment_digest: str) -> TrainingSummary | None:
        """Returns the summary of a finished training whose checkpoints are all still there.

        It speaks of the directory as it is found now: a moved one keeps its training.
        """
        try:
            summary = read_document(TrainingSummary, self.path / "training.json")
            if summary.experiment_digest != experiment_digest:
                return None
            present = tuple(self.checkpoint(ref.step) for ref in summary.checkpoints)
        except ArtifactError:
            return None
        if not present or [r.digest for r in present] != [r.digest for r in summary.checkpoints]:
            return None
        return summary.model_copy(update={"model_dir": str(self.path), "checkpoints": present})

    def write_summary(self, summary: TrainingSummary) -> None:
        write_document(self.path / "training.json", summary)

    def ledger(self) -> Ledger | None:
        """Returns the metrics measured so far, if any are readable."""
        try:
            return read_document(Ledger, self.path / "ledger.json")
        except ArtifactError:
            return None

    def write_ledger(self, ledger: Ledger) -> None:
        write_document(self.path / "ledger.json", ledger)

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
                    where=str(self.path),
                    remedy="Look whether it still runs; run select again to go on.",
                )
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training out of the directory; the lock dies with its process.

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
                    where=str(self.path),
                    remedy="Wait for it or stop it; then run again: training goes on from the "
                    "newest checkpoint.",
                ) from failure
            except OSError:
                # A file system without locks: the schedulers that use one start one task a time.
                pass
            yield
