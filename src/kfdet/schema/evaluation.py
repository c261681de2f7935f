"""What one `evaluate` task gives: the detections and the ground truth of its shard.

The folder holds `shard.json` (ShardResult) and three Parquet files. Boxes are
[xmin, ymin, xmax, ymax] in pixels of the original image, origin at the top left.

| file | columns |
|---|---|
| images.parquet | image_id int64, source_id string, file string, record int64, width_px int32, height_px int32, features string |
| ground_truth.parquet | image_id int64, class_id int32, is_crowd bool, area float64 (px^2), xmin, ymin, xmax, ymax float64 |
| detections.parquet | image_id int64, class_id int32, score float32, xmin, ymin, xmax, ymax float32 |

`features` is a JSON object: every other feature of the record with one value of text or whole number,
its value as text. Rows are in ascending order of image_id; detections of one image in the order the model gave them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kfdet.schema.base import Document, Sha256
from kfdet.schema.dataset import Split

SHARD_FILE = "shard.json"
IMAGES_FILE = "images.parquet"
GROUND_TRUTH_FILE = "ground_truth.parquet"
DETECTIONS_FILE = "detections.parquet"


class ShardResult(Document):
    """Attributes:
    shard, num_shards: This is shard k of n; it holds the files [k::n] of the split.
    split_digest: Digest of the split that the shard was cut from.
    checkpoint_digest: Digest of the checkpoint, or of the export, that made the detections.
    """

    shard: Annotated[int, Field(ge=0)]
    num_shards: Annotated[int, Field(ge=1)]
    split: Split
    split_digest: Sha256
    checkpoint_digest: Sha256
    images: Annotated[int, Field(ge=0)]
    ground_truth_boxes: Annotated[int, Field(ge=0)]
    detections: Annotated[int, Field(ge=0)]
    inference_time_s: Annotated[float, Field(ge=0)]
