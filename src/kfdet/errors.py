"""The errors that a user can cause or must act on, each with the exit code it ends in.

KfdetError                       1   anything kfdet explains itself
├── UsageError                   2   a wrong command line
├── DataError                   10   records, label maps, COCO or VOC files
│   ├── ArtifactError           10   a file written by another stage is missing, damaged or foreign
│   └── FaultyDataError         10   what validate found (kfdet.core.validation.findings)
├── ConfigError                 11   run configuration, detector or gate policy
├── StorageError                 1   disk full, no permission, unreachable location
├── ClusterError                 1   Kubeflow Pipelines unreachable, refusing or of another version
├── TrainingError                1   NaN loss, unusable checkpoints
└── ParityError                  1   an export that does not answer like its checkpoint
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

from kfdet.visible import visible, visible_line


class KfdetError(Exception):
    """A failure with an explanation: what, where, what was expected, and the remedy.

    Args:
        what: The fault itself, with the value seen.
        where: File, record, key or address; printed first.
        expected: What would have been right.
        remedy: What the reader can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"{visible_line(self.where)}: {self.what}" if self.where else self.what
        if self.expected:
            text = f"{text.rstrip('.')}; expected {self.expected}"
        if not text.endswith((".", "?", "!")):
            text += "."
        # What was seen comes from data: a terminal must show it, not obey it.
        return visible(f"{text} {self.remedy}" if self.remedy else text)


class UsageError(KfdetError):
    exit_code = 2


class DataError(KfdetError):
    exit_code = 10


class ArtifactError(DataError):
    pass


class ConfigError(KfdetError):
    exit_code = 11


class StorageError(KfdetError):
    pass


class ClusterError(KfdetError):
    pass


class TrainingError(KfdetError):
    pass


class ParityError(KfdetError):
    pass


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ' Did you mean "x"?' for the closest known word, or '' when none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'Did you mean "{close[0]}"?' if close else ""
