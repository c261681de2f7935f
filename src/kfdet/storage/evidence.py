"""The folder `evidence` beside a metrics.json: what its numbers follow from, in two Parquet files.

| file | columns |
|---|---|
| objects.parquet | image int32, class_id int32, areas uint16 |
| detections.parquet | image int32, class_id int32, score float64, rank uint8, hits_A and left_out_A uint16 for each area A |

Images are rows in canonical order, and bits count as `kfdet.core.evidence` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kfdet.core.coco import AREAS
from kfdet.core.evidence import Evidence
from kfdet.errors import ArtifactError
from kfdet.storage.atomic import new_folder
from kfdet.storage.columns import to_arrow, to_numpy
from kfdet.storage.files import files_digest

EVIDENCE_FOLDER = "evidence"
OBJECTS_FILE = "objects.parquet"
DETECTIONS_FILE = "detections.parquet"
_OBJECTS = pa.schema([("image", pa.int32()), ("class_id", pa.int32()), ("areas", pa.uint16())])
_DETECTIONS = pa.schema(
    [
        ("image", pa.int32()),
        ("class_id", pa.int32()),
        ("score", pa.float64()),
        ("rank", pa.uint8()),
        *((f"{kind}_{area}", pa.uint16()) for kind in ("hits", "left_out") for area in AREAS),
    ]
)


def write_evidence(folder: Path | str, evidence: Evidence) -> str:
    """Writes the folder whole or not at all, and returns its digest."""
    with new_folder(folder) as work:
        _write(
            work / OBJECTS_FILE,
            [evidence.object_image, evidence.object_class, evidence.object_areas],
            _OBJECTS,
        )
        _write(
            work / DETECTIONS_FILE,
            [evidence.image, evidence.class_id, evidence.score, evidence.rank,
             *evidence.hits.T, *evidence.left_out.T],
            _DETECTIONS,
        )  # fmt: skip
        return evidence_digest(work)


def evidence_digest(folder: Path | str) -> str:
    """Returns one SHA-256 for the folder's files.

    Raises:
        ArtifactError: A file is missing.
    """
    files = [Path(folder) / name for name in (OBJECTS_FILE, DETECTIONS_FILE)]
    for file in files:
        if not file.is_file():
            raise ArtifactError(
                "the file is missing",
                where=str(file),
                expected="what merge or metrics wrote beside metrics.json",
                remedy="Run it again, and keep the folder beside its metrics.json.",
            )
    return files_digest(files)


def read_evidence(folder: Path | str, *, images: int, digest: str) -> Evidence:
    """Reads the folder.

    Args:
        folder: Where it lies.
        images: Number of images, as the metrics say.
        digest: What the metrics say of it.

    Raises:
        ArtifactError: A file is missing, or it is not what the metrics were computed from.
    """
    found = evidence_digest(folder)
    if found != digest:
        raise ArtifactError(
            f"has digest {found[:12]}",
            where=str(folder),
            expected=f"{digest[:12]}, as metrics.json says",
            remedy="It belongs to other metrics: run merge or metrics again.",
        )
    objects = _read(Path(folder) / OBJECTS_FILE)
    seen = _read(Path(folder) / DETECTIONS_FILE)
    return Evidence(
        images=images,
        object_image=objects["image"].astype(np.int64),
        object_class=objects["class_id"].astype(np.int64),
        object_areas=objects["areas"],
        image=seen["image"].astype(np.int64),
        class_id=seen["class_id"].astype(np.int64),
        score=seen["score"],
        rank=seen["rank"].astype(np.int64),
        hits=np.stack([seen[f"hits_{area}"] for area in AREAS], axis=1),
        left_out=np.stack([seen[f"left_out_{area}"] for area in AREAS], axis=1),
    )


def _write(path: Path, columns: list[Any], schema: Any) -> None:
    arrays = [to_arrow(column, field.type) for column, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")


def _read(path: Path) -> dict[str, Any]:
    with pq.ParquetFile(path) as file:
        table = file.read()
    return {name: to_numpy(table[name]) for name in table.column_names}
