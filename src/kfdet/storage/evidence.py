"""The folder `evidence` beside a metrics.json: what its numbers follow from, in three Parquet files.

| file | columns |
|---|---|
| images.parquet | int32 for each partition of the images: the place of the slice among its names |
| objects.parquet | image int32, class_id int32, areas uint16 |
| detections.parquet | image int32, class_id int32, score float64, rank uint16, hits_A and left_out_A uint16 for each area A |

Images are rows in canonical order, and bits count as `kfdet.core.evidence` says. The names of slices
are in the metadata of images.parquet, the settings in those of detections.parquet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kfdet.core.evidence import Evidence, ImageParts
from kfdet.errors import ArtifactError
from kfdet.schema.base import parse_json
from kfdet.schema.metrics import CocoSettings
from kfdet.storage.atomic import new_folder
from kfdet.storage.columns import to_arrow, to_numpy
from kfdet.storage.files import files_digest

EVIDENCE_FOLDER = "evidence"
IMAGES_FILE = "images.parquet"
OBJECTS_FILE = "objects.parquet"
DETECTIONS_FILE = "detections.parquet"
_OBJECTS = pa.schema([("image", pa.int32()), ("class_id", pa.int32()), ("areas", pa.uint16())])
_SETTINGS = b"kfdet.settings"
_NAMES = b"kfdet.names"
_FILES = (IMAGES_FILE, OBJECTS_FILE, DETECTIONS_FILE)


def _detections(settings: CocoSettings) -> Any:
    kinds = ("hits", "left_out")
    return pa.schema(
        [
            ("image", pa.int32()),
            ("class_id", pa.int32()),
            ("score", pa.float64()),
            ("rank", pa.uint16()),
            *((f"{kind}_{area}", pa.uint16()) for kind in kinds for area in settings.area_names),
        ],
        metadata={_SETTINGS: settings.canonical_json().encode()},
    )


def _image_places(parts: Sequence[ImageParts]) -> Any:
    names = json.dumps([part.names for part in parts]).encode()
    return pa.schema([(part.by, pa.int32()) for part in parts], metadata={_NAMES: names})


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
            _detections(evidence.settings),
        )  # fmt: skip
        _write(
            work / IMAGES_FILE,
            [part.place for part in evidence.image_parts],
            _image_places(evidence.image_parts),
        )
        return evidence_digest(work)


def evidence_digest(folder: Path | str) -> str:
    """Returns one SHA-256 for the folder's files.

    Raises:
        ArtifactError: A file is missing.
    """
    files = [Path(folder) / name for name in _FILES]
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
    objects = _columns(_read(Path(folder) / OBJECTS_FILE))
    table = _read(Path(folder) / DETECTIONS_FILE)
    seen, where = _columns(table), str(Path(folder) / DETECTIONS_FILE)
    text = (table.schema.metadata or {}).get(_SETTINGS, b"{}").decode()
    settings = parse_json(CocoSettings, text, where=where, error=ArtifactError)
    return Evidence(
        images=images,
        object_image=objects["image"].astype(np.int64),
        object_class=objects["class_id"].astype(np.int64),
        object_areas=objects["areas"],
        image=seen["image"].astype(np.int64),
        class_id=seen["class_id"].astype(np.int64),
        score=seen["score"],
        rank=seen["rank"].astype(np.int64),
        hits=np.stack([seen[f"hits_{area}"] for area in settings.area_names], axis=1),
        left_out=np.stack([seen[f"left_out_{area}"] for area in settings.area_names], axis=1),
        settings=settings,
        image_parts=_image_parts(_read(Path(folder) / IMAGES_FILE)),
    )


def _image_parts(table: Any) -> tuple[ImageParts, ...]:
    names = json.loads((table.schema.metadata or {}).get(_NAMES, b"[]"))
    return tuple(
        ImageParts(by=by, names=tuple(own), place=to_numpy(table[by]).astype(np.int64))
        for by, own in zip(table.column_names, names, strict=True)
    )


def _write(path: Path, columns: list[Any], schema: Any) -> None:
    arrays = [to_arrow(column, field.type) for column, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")


def _read(path: Path) -> Any:
    with pq.ParquetFile(path) as file:
        return file.read()


def _columns(table: Any) -> dict[str, Any]:
    return {name: to_numpy(table[name]) for name in table.column_names}
