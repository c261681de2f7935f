"""The folder that one `evaluate` task writes and `merge` reads: see `kfdet.schema.evaluation`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images
from kfdet.errors import ArtifactError
from kfdet.schema.evaluation import (
    DETECTIONS_FILE,
    GROUND_TRUTH_FILE,
    IMAGES_FILE,
    SHARD_FILE,
    ShardResult,
)
from kfdet.storage.atomic import new_folder
from kfdet.storage.columns import read_parquet, to_numpy
from kfdet.storage.documents import read_document, write_document

_IMAGES = pa.schema(
    [
        ("image_id", pa.int64()),
        ("source_id", pa.string()),
        ("file", pa.string()),
        ("record", pa.int64()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("features", pa.string()),
    ]
)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_GROUND_TRUTH = pa.schema(
    [
        ("image_id", pa.int64()),
        ("class_id", pa.int32()),
        ("is_crowd", pa.bool_()),
        ("area", pa.float64()),
        *((corner, pa.float64()) for corner in _CORNERS),
    ]
)
_DETECTIONS = pa.schema(
    [
        ("image_id", pa.int64()),
        ("class_id", pa.int32()),
        ("score", pa.float32()),
        *((corner, pa.float32()) for corner in _CORNERS),
    ]
)

# Each group costs a few hundred bytes a column, which are held to the end.
_GROUP_ROWS = 32_768


class ShardWriter:
    """Writes the folder of a shard, batch by batch, so that it is there whole or not at all.

    Rows are held only until there are enough for a row group. Use as a context manager: `write` for each batch of images in ascending order of image id, then
    `finish` once. Leaving it without `finish`, or by an exception, leaves nothing behind.

        with ShardWriter(folder) as writer:
            for batch in batches:
                writer.write(batch)
            writer.finish(result)

    Args:
        folder: Where the shard appears; an older one there is replaced at the end.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._finished = False
        self._last_image = -1
        self.images = 0
        self.ground_truth_boxes = 0
        self.detections = 0

    def __enter__(self) -> ShardWriter:
        with contextlib.ExitStack() as stack:
            self._work = stack.enter_context(new_folder(self._folder))
            work = self._work
            self._images = stack.enter_context(_TableWriter(work / IMAGES_FILE, _IMAGES))
            self._truth = stack.enter_context(_TableWriter(work / GROUND_TRUTH_FILE, _GROUND_TRUTH))
            self._seen = stack.enter_context(_TableWriter(work / DETECTIONS_FILE, _DETECTIONS))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._finished:
            unfinished = RuntimeError(f"the shard {self._folder} was left without finish()")
            self._stack.__exit__(RuntimeError, unfinished, None)
            raise unfinished
        self._stack.__exit__(kind, error, trace)

    def write(self, data: EvaluationData) -> None:
        """Appends the rows of some images.

        Args:
            data: Images in ascending order of id, above all that were written before; boxes of
                these images only, in ascending order of image id.
        """
        images, truth, seen = data.images, data.ground_truth, data.detections
        self._check_order(data)
        no_features: tuple[Mapping[str, str], ...] = ({},) * len(images)
        self._images.write(
            [images.image_id, list(images.source_id), list(images.file), images.record,
             images.width_px.astype(np.int32), images.height_px.astype(np.int32),
             [json.dumps(dict(one), sort_keys=True) for one in images.features or no_features]]
        )  # fmt: skip
        self._truth.write(
            [truth.image_id, truth.class_id.astype(np.int32), truth.is_crowd, truth.area,
             *truth.boxes_xyxy_px.T]
        )  # fmt: skip
        self._seen.write(
            [seen.image_id, seen.class_id.astype(np.int32), seen.score, *seen.boxes_xyxy_px.T]
        )
        self.images += len(images)
        self.ground_truth_boxes += len(truth)
        self.detections += len(seen)

    def finish(self, result: ShardResult) -> None:
        """Writes `shard.json`; its counts must be those of the rows written."""
        counted = (self.images, self.ground_truth_boxes, self.detections)
        stated = (result.images, result.ground_truth_boxes, result.detections)
        if counted != stated:
            raise ValueError(f"the shard result says {stated}, but {counted} rows were written")
        for file in (self._images, self._truth, self._seen):
            file.close()
        write_document(self._work / SHARD_FILE, result)
        self._finished = True

    def _check_order(self, data: EvaluationData) -> None:
        ids = data.images.image_id
        if len(ids):
            if ids[0] <= self._last_image or (np.diff(ids) <= 0).any():
                raise ValueError("images must come in ascending order of image id")
            self._last_image = int(ids[-1])
        for boxes in (data.ground_truth.image_id, data.detections.image_id):
            if (np.diff(boxes) < 0).any() or not np.isin(boxes, ids).all():
                raise ValueError("boxes must be of the images of their batch, in their order")


class _TableWriter:
    """A Parquet file whose rows come in small batches."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[Any] = []
        self._rows = 0

    def __enter__(self) -> _TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, columns: list[Any]) -> None:
        table = pa.table(columns, schema=self._schema)
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= _GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        self._write_group()
        self._file.close()

    def _write_group(self) -> None:
        if self._rows:
            self._file.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._rows = [], 0


def read_shard(folder: Path | str) -> tuple[ShardResult, EvaluationData]:
    """Reads the folder of a shard.

    Returns:
        What the shard says of itself, and its rows as they were written.

    Raises:
        ArtifactError: A file is missing or damaged, a column has another type, or the number of
            rows is not what `shard.json` says; names the file.
    """
    path = Path(folder)
    result = read_document(ShardResult, path / SHARD_FILE)
    images = _read_table(path / IMAGES_FILE, _IMAGES, rows=result.images)
    truth = _read_table(path / GROUND_TRUTH_FILE, _GROUND_TRUTH, rows=result.ground_truth_boxes)
    seen = _read_table(path / DETECTIONS_FILE, _DETECTIONS, rows=result.detections)
    return result, EvaluationData(
        images=Images(
            image_id=_column(images, "image_id", np.int64),
            source_id=tuple(images["source_id"].to_pylist()),
            file=tuple(images["file"].to_pylist()),
            record=_column(images, "record", np.int64),
            width_px=_column(images, "width_px", np.int64),
            height_px=_column(images, "height_px", np.int64),
            features=_features(images["features"].to_pylist()),
        ),
        ground_truth=GroundTruth(
            image_id=_column(truth, "image_id", np.int64),
            class_id=_column(truth, "class_id", np.int64),
            is_crowd=_column(truth, "is_crowd", np.bool_),
            area=_column(truth, "area", np.float64),
            boxes_xyxy_px=_boxes(truth, np.float64),
        ),
        detections=Detections(
            image_id=_column(seen, "image_id", np.int64),
            class_id=_column(seen, "class_id", np.int64),
            score=_column(seen, "score", np.float32),
            boxes_xyxy_px=_boxes(seen, np.float32),
        ),
    )


def _read_table(path: Path, schema: Any, *, rows: int) -> Any:
    table = read_parquet(path, written_by="evaluate", remedy="Run evaluate for this shard again.")
    if not table.schema.equals(schema):
        raise ArtifactError(
            f"has the columns {_described(table.schema)}",
            where=str(path),
            expected=_described(schema),
        )
    if table.num_rows != rows:
        raise ArtifactError(
            f"has {table.num_rows:,} rows",
            where=str(path),
            expected=f"{rows:,}, as {SHARD_FILE} says",
            remedy="Run evaluate for this shard again.",
        )
    if any(column.null_count for column in table.columns):
        raise ArtifactError("has empty cells", where=str(path), expected="a value in every cell")
    return table


def _features(texts: list[str]) -> tuple[Mapping[str, str], ...]:
    # Most images have the values of many others: each text is parsed once.
    parsed = {text: json.loads(text) for text in set(texts)}
    return tuple(parsed[text] for text in texts)


def _column(table: Any, name: str, dtype: Any) -> Any:
    return to_numpy(table[name]).astype(dtype, copy=False)


def _boxes(table: Any, dtype: Any) -> Any:
    return np.stack([_column(table, corner, dtype) for corner in _CORNERS], axis=1)


def _described(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
