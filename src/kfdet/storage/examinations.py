"""The folder that one `examine` task writes and `validate` reads: see `kfdet.schema.examination`."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kfdet.core.validation.examine import CONTENT_BYTES
from kfdet.core.validation.examined import check_groups, shard_document, shard_partial
from kfdet.core.validation.near_copies import HASH_BYTES
from kfdet.core.validation.partial import Partial
from kfdet.core.validation.tally import ID_BYTES, Identities
from kfdet.errors import ArtifactError
from kfdet.schema.dataset import Split
from kfdet.schema.examination import GROUP_FILE, IMAGES_FILE, ExaminedGroup
from kfdet.storage.atomic import new_folder
from kfdet.storage.columns import read_parquet, to_numpy
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.scanning import SplitFiles, all_shards, unmatched_patterns

_IMAGES = pa.schema(
    [
        ("content", pa.binary(CONTENT_BYTES)),
        ("id_key", pa.binary(ID_BYTES)),
        ("hash", pa.binary(HASH_BYTES)),
        ("source_id", pa.string()),
        ("record", pa.uint64()),
        ("byte_offset", pa.uint64()),
    ]
)


def write_group(
    folder: Path,
    shards: Sequence[Partial],
    *,
    group: int,
    num_groups: int,
    label_map_sha256: str | None,
    data_digest: str | None,
) -> None:
    """Writes the examined shards of a group, whole or not at all.

    Args:
        folder: Where the group appears; an older one there is replaced.
        shards: Partial results of a single shard each.
        group: k, from zero.
        num_groups: n.
        label_map_sha256: Of the label map; None where it can't be read.
        data_digest: Digest that the data had when the run began; None where none was given.

    Raises:
        StorageError: The location can't be written.
    """
    document = ExaminedGroup(
        group=group,
        num_groups=num_groups,
        label_map_sha256=label_map_sha256,
        data_digest=data_digest,
        shards=tuple(shard_document(shard) for shard in shards),
    )
    with new_folder(folder) as work:
        with pq.ParquetWriter(work / IMAGES_FILE, _IMAGES, compression="zstd") as writer:
            for shard in shards:
                if len(shard.identities):
                    writer.write_table(_table(shard.identities))
        write_document(work / GROUP_FILE, document)


def read_group(folder: Path) -> tuple[ExaminedGroup, tuple[Partial, ...]]:
    """Reads the folder of a group.

    Returns:
        What the group says of itself, and a partial result for each of its shards.

    Raises:
        ArtifactError: A file is missing, damaged, or not what `group.json` says; names it.
    """
    document = read_document(ExaminedGroup, folder / GROUP_FILE)
    path = folder / IMAGES_FILE
    table = read_parquet(path, written_by="examine", remedy="Run examine for this group again.")
    rows = sum(shard.images for shard in document.shards)
    if not table.schema.equals(_IMAGES) or table.num_rows != rows:
        raise ArtifactError(
            f"has {table.num_rows:,} rows of {', '.join(table.schema.names)}",
            where=str(path),
            expected=f"{rows:,} rows of {', '.join(_IMAGES.names)}",
            remedy="Run examine for this group again.",
        )
    partials = []
    begin = 0
    for shard in document.shards:
        part = table.slice(begin, shard.images)
        partials.append(shard_partial(shard, _identities(part, file=shard.file)))
        begin += shard.images
    return document, tuple(partials)


def read_groups(
    folders: Sequence[Path],
    *,
    files: Mapping[Split, SplitFiles],
    label_map_sha256: str | None,
    data_digest: str | None,
) -> dict[Split, Partial]:
    """Reads the groups of a data set, in any order, and merges their shards into the splits.

    What comes out is what examining every shard in one process gives.

    Args:
        folders: Of all the groups.
        files: Split to its files.
        label_map_sha256: Of the label map; None where it can't be read.
        data_digest: Digest that the data had when the run began; None where none was given.

    Raises:
        ArtifactError: A group is missing, doubled, foreign or damaged.
    """
    read = {str(folder): read_group(folder) for folder in folders}
    expected = all_shards(files)
    check_groups(
        {where: document for where, (document, _) in read.items()},
        expected={
            (split, file): files[split].excluded.get(file, frozenset()) for split, file in expected
        },
        label_map_sha256=label_map_sha256,
        data_digest=data_digest,
    )
    shards = {
        (part.files[0].split, part.files[0].name): part
        for _, parts in read.values()
        for part in parts
    }
    merged = unmatched_patterns(files)
    for key in expected:
        merged[key[0]].merge(shards.pop(key))
    return merged


def _table(identities: Identities) -> Any:
    count = len(identities)
    ends = np.frombuffer(identities.text_ends, dtype=np.uint64)
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    texts = pa.StringArray.from_buffers(
        count, pa.py_buffer(offsets.tobytes()), pa.py_buffer(bytes(identities.texts))
    )
    columns = [
        _fixed(identities.contents, width=CONTENT_BYTES),
        _fixed(identities.id_keys, width=ID_BYTES),
        _fixed(identities.hashes, width=HASH_BYTES),
        texts,
        *(
            pa.Array.from_buffers(pa.uint64(), count, [None, pa.py_buffer(bytes(numbers))])
            for numbers in (identities.records, identities.offsets)
        ),
    ]
    return pa.table(columns, schema=_IMAGES)


def _fixed(values: bytearray, *, width: int) -> Any:
    kind = pa.binary(width)
    return pa.Array.from_buffers(kind, len(values) // width, [None, pa.py_buffer(bytes(values))])


def _identities(table: Any, *, file: str) -> Identities:
    count = table.num_rows
    texts = bytearray()
    ends = array("Q")
    for chunk in table["source_id"].chunks:
        for text in chunk:
            texts += text.as_buffer().to_pybytes()
            ends.append(len(texts))
    return Identities(
        files=[file] if count else [],
        file_ends=array("Q", [count] if count else []),
        contents=_bytes(table["content"], width=CONTENT_BYTES),
        id_keys=_bytes(table["id_key"], width=ID_BYTES),
        hashes=_bytes(table["hash"], width=HASH_BYTES),
        texts=texts,
        text_ends=ends,
        records=_numbers(table["record"]),
        offsets=_numbers(table["byte_offset"]),
    )


def _bytes(column: Any, *, width: int) -> bytearray:
    values = bytearray()
    for chunk in column.chunks:
        begin = chunk.offset * width
        values += memoryview(chunk.buffers()[1])[begin : begin + len(chunk) * width]
    return values


def _numbers(column: Any) -> array[int]:
    return array("Q", to_numpy(column).astype(np.uint64).tobytes())
