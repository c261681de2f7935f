"""TensorFlow checkpoints as files: which there are, whole or not, and what names their content."""

from __future__ import annotations

import re
from pathlib import Path

from kfdet.errors import ArtifactError
from kfdet.storage.copies import copy_of, local_files
from kfdet.storage.files import files_digest
from kfdet.storage.locations import is_remote
from kfdet.storage.stores import store_of

_STEP = re.compile(r"-(\d+)$")


def checkpoint_files(prefix: str) -> tuple[Path, ...]:
    """Returns the files of a checkpoint: its index and its data, sorted by name.

    Args:
        prefix: Path or gs:// address without `.index`: `model/ckpt-250`.

    Raises:
        ArtifactError: The index or a part of the data is missing.
    """
    path = Path(local_prefix(prefix))
    index = path.with_name(path.name + ".index")
    data = sorted(path.parent.glob(f"{path.name}.data-?????-of-?????"))
    parts = int(data[0].name.rsplit("-of-", 1)[1]) if data else 0
    if not index.is_file() or not data or len(data) != parts:
        raise ArtifactError(
            "is no whole checkpoint",
            where=prefix,
            expected=f"{index.name} and {path.name}.data-00000-of-00001",
            remedy="Give the prefix of the files, without .index or .data.",
        )
    return (*data, index)


def local_prefix(prefix: str) -> str:
    """Returns the prefix of files of this machine: the same, or that of verified copies."""
    if not is_remote(prefix):
        return prefix
    local_files(store_of(prefix).list(f"{prefix}."))
    return str(copy_of(prefix))


def checkpoint_digest(prefix: str) -> str:
    """Returns the SHA-256 over the names and bytes of a checkpoint's files."""
    return files_digest(checkpoint_files(prefix))


def checkpoint_step(prefix: str) -> int:
    """Returns the step that stands at the end of a checkpoint's name."""
    match = _STEP.search(prefix)
    if not match:
        raise ArtifactError(
            "the name does not end in a step", where=prefix, expected="a name like ckpt-250"
        )
    return int(match.group(1))


def check_checkpoint(prefix: str, *, digest: str) -> str:
    """Makes sure that a checkpoint still holds the bytes it was chosen for.

    Returns:
        The prefix of its files on this machine.

    Raises:
        ArtifactError: It is missing or has other bytes.
    """
    present = checkpoint_digest(prefix)
    if present != digest:
        raise ArtifactError(
            f"the checkpoint's digest is {present[:16]}",
            where=prefix,
            expected=f"{digest[:16]}, that of the checkpoint chosen",
            remedy="Something has written over it: run select again.",
        )
    return local_prefix(prefix)
