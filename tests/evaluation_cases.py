"""Evaluations made by hand: random data, shards on disk, metrics, exports. No TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images
from kfdet.core.evidence import Evidence
from kfdet.schema.dataset import ClassLabel, LabelMap, Manifest, ShardFile, SplitManifest
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.evaluation import ShardResult
from kfdet.schema.export import ExportManifest, FileDigest, ParityProof
from kfdet.schema.metrics import METRIC_NAMES, ClassMetrics, CocoStatistics, Metrics
from kfdet.storage.documents import write_document
from kfdet.storage.files import digest_of_digests
from kfdet.storage.shards import ShardWriter


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


CHECKPOINT = digest("checkpoint")


def label_map(*names: str) -> LabelMap:
    return LabelMap(classes=tuple(ClassLabel(id=i, name=n) for i, n in enumerate(names, start=1)))


def random_data(
    seed: int,
    *,
    images: int = 7,
    classes: int = 3,
    crowd: float = 0.15,
    ties: bool = True,
    area_given: bool = True,
    degenerate: bool = False,
    unlisted_class: bool = True,
) -> EvaluationData:
    """Boxes on a coarse grid, so that overlaps and scores tie; about half of the detections lie on or
    near an object. Some images lack objects or detections."""
    rng = np.random.default_rng(seed)
    ids = np.arange(images)
    truth_image = np.repeat(ids, rng.integers(0, 6, images))
    seen_image = np.repeat(ids, rng.integers(0, 12, images))
    sides = [8.0, 16.0, 32.0, 100.0, 200.0] + [0.0] * degenerate

    def boxes(count: int) -> np.ndarray:
        corner = rng.integers(0, 8, (count, 2)) * 8.0
        return np.concatenate([corner, corner + rng.choice(sides, (count, 2))], axis=1)

    truth_boxes = boxes(truth_image.size)
    size = truth_boxes[:, 2:] - truth_boxes[:, :2]
    chosen = rng.choice([1.0, 500.0, 1024.0, 2000.0, 9216.0, 20000.0], truth_image.size)
    truth_class = rng.integers(1, classes + 1, truth_image.size)
    seen_class = rng.integers(1, classes + 1 + unlisted_class, seen_image.size)
    seen_boxes = boxes(seen_image.size)
    for row, image in enumerate(seen_image):
        objects = np.flatnonzero(truth_image == image)
        if objects.size and rng.random() < 0.6:
            near = rng.choice(objects)
            seen_boxes[row] = truth_boxes[near]
            if rng.random() < 0.8:
                seen_class[row] = truth_class[near]
    seen_boxes += rng.choice([0.0, 0.0, 0.3, 4.0], (seen_image.size, 1))
    scores = rng.choice([0.1, 0.3, 0.5, 0.9, 1.0], seen_image.size)
    return EvaluationData(
        images=Images(
            image_id=ids,
            source_id=tuple(f"photo {i}.jpg" for i in ids),
            file=("test-00000-of-00001.tfrecord",) * images,
            record=ids,
            width_px=np.full(images, 300),
            height_px=np.full(images, 300),
            features=tuple({"camera": ("north", "south")[i % 2]} for i in range(images)),
        ),
        ground_truth=GroundTruth(
            image_id=truth_image,
            class_id=truth_class,
            is_crowd=rng.random(truth_image.size) < crowd,
            area=chosen if area_given else size[:, 0] * size[:, 1],
            boxes_xyxy_px=truth_boxes,
        ),
        detections=Detections(
            image_id=seen_image,
            class_id=seen_class,
            score=(scores if ties else rng.random(seen_image.size)).astype(np.float32),
            boxes_xyxy_px=seen_boxes.astype(np.float32),
        ),
    )


OFF = {"none": (0, 0, 0, 0), "loose": (0, 0, 38, 0), "far": (500, 500, 500, 500)}


def scene(
    rows: list[tuple[int, int, float, str]],
    *,
    images: int = 40,
    side: float = 100.0,
) -> EvaluationData:
    """One object in each image; rows are (image, class answered, score, offset of the box)."""
    ids = np.arange(images)
    class_id = ids % 2 + 1
    sides = np.full(images, side)
    boxes = np.stack([np.zeros(images), np.zeros(images), sides, sides], axis=1)
    seen = [(i, c, s, boxes[i] + np.array(OFF[o])) for i, c, s, o in rows]
    return EvaluationData(
        images=Images(
            image_id=ids,
            source_id=tuple(map(str, ids)),
            file=("f",) * images,
            record=ids,
            width_px=np.full(images, 1000),
            height_px=np.full(images, 1000),
        ),
        ground_truth=GroundTruth(
            image_id=ids,
            class_id=class_id,
            is_crowd=np.zeros(images, np.bool_),
            area=sides**2,
            boxes_xyxy_px=boxes,
        ),
        detections=Detections(
            image_id=np.array([row[0] for row in seen], np.int64),
            class_id=np.array([row[1] for row in seen], np.int64),
            score=np.array([row[2] for row in seen], np.float32),
            boxes_xyxy_px=np.array([row[3] for row in seen], np.float32).reshape(-1, 4),
        ),
    )


def own(image: int) -> int:
    return image % 2 + 1


def of_images(data: EvaluationData, image_ids: Sequence[int] | np.ndarray) -> EvaluationData:
    """Returns the rows of some images, in their order in the data."""
    i, t, s = data.images, data.ground_truth, data.detections
    rows = np.flatnonzero(np.isin(i.image_id, image_ids))
    a, b = np.isin(t.image_id, image_ids), np.isin(s.image_id, image_ids)
    return EvaluationData(
        images=Images(
            image_id=i.image_id[rows],
            source_id=tuple(i.source_id[k] for k in rows),
            file=tuple(i.file[k] for k in rows),
            record=i.record[rows],
            width_px=i.width_px[rows],
            height_px=i.height_px[rows],
            features=i.features and tuple(i.features[k] for k in rows),
        ),
        ground_truth=GroundTruth(
            image_id=t.image_id[a],
            class_id=t.class_id[a],
            is_crowd=t.is_crowd[a],
            area=t.area[a],
            boxes_xyxy_px=t.boxes_xyxy_px[a],
        ),
        detections=Detections(
            image_id=s.image_id[b],
            class_id=s.class_id[b],
            score=s.score[b],
            boxes_xyxy_px=s.boxes_xyxy_px[b],
        ),
    )


def assert_same_evidence(ours: Evidence, theirs: Evidence) -> None:
    """Fails unless both are equal to the bit."""
    for field in dataclasses.fields(Evidence):
        if field.name != "image_parts":
            mine, other = getattr(ours, field.name), getattr(theirs, field.name)
            np.testing.assert_array_equal(mine, other)
    for part, same in zip(ours.image_parts, theirs.image_parts, strict=True):
        assert (part.by, part.names) == (same.by, same.names)
        np.testing.assert_array_equal(part.place, same.place)


def split_manifest(records: Sequence[int], *, boxes: int = 0, name: str = "test") -> SplitManifest:
    """A split whose shards have these numbers of records."""
    files = tuple(
        ShardFile(
            uri=f"/data/{name}-{i:05d}-of-{len(records):05d}.tfrecord",
            records=count,
            size_bytes=100 * count,
            sha256=digest(f"{name} {i}"),
        )
        for i, count in enumerate(records)
    )
    return SplitManifest(shards=files, images=sum(records), boxes=boxes, digest=digest(name))


def manifest(test: SplitManifest, labels: LabelMap) -> Manifest:
    other = split_manifest([1], name="train")
    return Manifest(label_map=labels, train=other, val=other, test=test)


def shard_result(data: EvaluationData, **changes: object) -> ShardResult:
    facts: dict[str, object] = {
        "shard": 0,
        "num_shards": 1,
        "split": "test",
        "split_digest": digest("test"),
        "checkpoint_digest": CHECKPOINT,
        "images": len(data.images),
        "ground_truth_boxes": len(data.ground_truth),
        "detections": len(data.detections),
        "inference_time_s": 0.5,
    }
    return ShardResult.model_validate(facts | changes)


def write_shard(folder: Path, data: EvaluationData, **changes: object) -> Path:
    with ShardWriter(folder) as writer:
        writer.write(data)
        writer.finish(shard_result(data, **changes))
    return folder


def statistics(value: float | None = 0.5, **changes: float | None) -> CocoStatistics:
    return CocoStatistics(**(dict.fromkeys(METRIC_NAMES, value) | changes))


def metrics(
    overall: CocoStatistics | None = None,
    *,
    classes: dict[str, CocoStatistics] | None = None,
    checkpoint: str = CHECKPOINT,
    split_digest: str = digest("test"),
) -> Metrics:
    entries = {"circle": statistics(), "square": statistics()} if classes is None else classes
    return Metrics(
        engine="hotcoco",
        engine_version="1.3.0",
        split="test",
        split_digest=split_digest,
        checkpoint_digest=checkpoint,
        images=10,
        boxes=20,
        detections=30,
        shards=2,
        overall=overall or statistics(),
        classes=tuple(
            ClassMetrics(
                id=i, name=name, boxes=10, images=5, detections=15, metrics=value, curves=()
            )
            for i, (name, value) in enumerate(entries.items(), start=1)
        ),
    )


def write_export(
    folder: Path, *, checkpoint: str = CHECKPOINT, content: str = "weights", parity: bool = True
) -> ExportManifest:
    """An export as `export` leaves it, with small files in place of a model."""
    files = {
        "labels.txt": b"circle\nsquare\n",
        "saved_model/saved_model.pb": content.encode(),
        "saved_model/variables/variables.index": b"index",
    }
    entries = []
    for path, payload in sorted(files.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(payload)
        sha = hashlib.sha256(payload).hexdigest()
        entries.append(FileDigest(path=path, size_bytes=len(payload), sha256=sha))
    export = ExportManifest(
        checkpoint_step=250,
        checkpoint_digest=checkpoint,
        experiment_digest=digest("experiment"),
        detector=DetectorConfig(input_size=(128, 128)),
        label_map=label_map("circle", "square"),
        signatures={"serving_default": "uint8[N, height, width, 3]"},
        parity=ParityProof(
            images=8,
            detections=20,
            mismatches=0 if parity else 3,
            max_score_difference=1e-6,
            max_box_difference_px=1e-4,
            score_tolerance=1e-4,
            box_tolerance_px=0.05,
            passed=parity,
        ),
        files=tuple(entries),
        content_digest=digest_of_digests((entry.path, entry.sha256) for entry in entries),
        versions={"tensorflow": "2.20.0"},
    )
    write_document(folder / "export.json", export)
    return export
