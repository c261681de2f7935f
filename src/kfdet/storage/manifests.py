"""The manifest of a data set that was examined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from kfdet.core.validation.partial import Partial
from kfdet.schema.dataset import SPLITS, LabelMap, Manifest, ShardFile, Split, SplitManifest
from kfdet.storage.files import digest_of_digests


def split_digest(partial: Partial) -> str:
    """Returns the digest of a split's images: that of its files and, if any, of what is left out."""
    excluded = [
        (f"{PurePath(file.name).name} without", ",".join(map(str, file.excluded)))
        for file in partial.files
        if file.excluded
    ]
    return digest_of_digests([*_named_digests(partial), *excluded])


def split_files_digest(partial: Partial) -> str:
    """Returns the digest of a split's files: names and bytes, in canonical order."""
    return digest_of_digests(_named_digests(partial))


def _named_digests(partial: Partial) -> list[tuple[str, str]]:
    return [(PurePath(file.name).name, file.sha256) for file in partial.files]


def manifest_of(partials: Mapping[Split, Partial], *, label_map: LabelMap) -> Manifest:
    """Returns the manifest of splits that were examined without error."""
    splits = {split: _split(partials[split]) for split in SPLITS}
    return Manifest(
        label_map=label_map, train=splits["train"], val=splits["val"], test=splits["test"]
    )


def _split(partial: Partial) -> SplitManifest:
    return SplitManifest(
        shards=tuple(
            ShardFile(
                uri=file.name,
                records=records,
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                compression=file.compression,
                excluded=file.excluded,
            )
            for file, records in zip(partial.files, partial.records, strict=True)
        ),
        images=partial.tally.images,
        boxes=partial.tally.boxes,
        digest=split_digest(partial),
    )
