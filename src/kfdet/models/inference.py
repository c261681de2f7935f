"""A detector over a stream of records: nothing grows with the data set, no image is lost."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from kfdet.core.coco import Detections, EvaluationData
from kfdet.core.detected import Detected
from kfdet.core.placed_record import PlacedRecord, ground_truth_of, images_of
from kfdet.errors import DataError

Detect = Callable[[Sequence[bytes]], list[Detected]]

# One batch decodes while another is in the network, and one waits while results are written.
_BATCHES_AT_WORK = 2
_BATCHES_IN_HAND = 3


def evaluate_records(
    detect: Detect, records: Iterable[PlacedRecord], *, batch_size: int
) -> Iterator[EvaluationData]:
    """Yields images, ground truth and detections batch by batch, in the order of the records.

    Args:
        detect: Encoded images to detections.
        records: In ascending order of image id; read as the work goes on.
        batch_size: Images a step; no detection depends on it. The last batch may be smaller.

    Raises:
        DataError: An image can't be decoded; names its file and record.
    """
    for batch, detected in _detected(detect, records, batch_size=batch_size):
        yield EvaluationData(
            images=images_of(batch),
            ground_truth=ground_truth_of(batch),
            detections=_detections(batch, detected),
        )


def _detected(
    detect: Detect, records: Iterable[PlacedRecord], *, batch_size: int
) -> Iterator[tuple[list[PlacedRecord], list[Detected]]]:
    remaining = iter(records)
    batches = iter(lambda: list(itertools.islice(remaining, batch_size)), [])
    waiting: deque[tuple[list[PlacedRecord], Future[list[Detected]]]] = deque()
    with ThreadPoolExecutor(_BATCHES_AT_WORK) as pool:
        for batch in batches:
            encoded = [placed.record.encoded for placed in batch]
            waiting.append((batch, pool.submit(detect, encoded)))
            if len(waiting) == _BATCHES_IN_HAND:
                yield _result(detect, *waiting.popleft())
        while waiting:
            yield _result(detect, *waiting.popleft())


def _result(
    detect: Detect, batch: list[PlacedRecord], future: Future[list[Detected]]
) -> tuple[list[PlacedRecord], list[Detected]]:
    try:
        return batch, future.result()
    except ValueError as failure:
        # The message names no image: the one that fails alone is to blame.
        for placed in batch:
            try:
                detect([placed.record.encoded])
            except ValueError as alone:
                raise DataError(
                    f"the image can't be decoded: {alone}",
                    where=placed.where,
                    expected="a whole JPEG, PNG or BMP file",
                    remedy="Run validate to see every such record.",
                ) from failure
        raise


def _detections(batch: Sequence[PlacedRecord], detected: Sequence[Detected]) -> Detections:
    counts = [len(found) for found in detected]
    boxes = np.concatenate([found.boxes_yxyx_px for found in detected])
    return Detections(
        image_id=np.repeat(np.array([placed.image_id for placed in batch], np.int64), counts),
        class_id=np.concatenate([found.class_ids for found in detected]),
        score=np.concatenate([found.scores for found in detected]),
        boxes_xyxy_px=boxes[:, [1, 0, 3, 2]],
    )
