"""CPU time of the paired resampling of the difference in AP of two models, on a set of COCO's size.

    python benchmarks/bootstrap.py [--images 5000] [--detections 500000] [--resamples 1000]

Both models are matched to the ground truth first; that is timed too, and apart, since `merge` does it
once and the gate reads the outcome. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
from coco_metrics import CLASSES, synthetic

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images
from kfdet.core.evidence import gather_evidence
from kfdet.core.uncertainty import Subject, spreads
from kfdet.schema.dataset import ClassLabel, LabelMap


def evaluation_data(
    columns: dict[str, np.ndarray], images: int, *, shaken: float
) -> EvaluationData:
    """The synthetic set, its detections moved by a share of a pixel's ten."""
    ids = np.arange(images)
    rng = np.random.default_rng(1)
    boxes = columns["seen_boxes"] + shaken * rng.normal(0, 1, columns["seen_boxes"].shape)
    return EvaluationData(
        images=Images(
            image_id=ids, source_id=("",) * images, file=("",) * images, record=ids,
            width_px=ids, height_px=ids,
        ),
        ground_truth=GroundTruth(
            image_id=columns["truth_image"], class_id=columns["truth_class"],
            is_crowd=columns["truth_crowd"], area=columns["truth_area"],
            boxes_xyxy_px=columns["truth_boxes"],
        ),
        detections=Detections(
            image_id=columns["seen_image"], class_id=columns["seen_class"],
            score=columns["seen_score"], boxes_xyxy_px=boxes.astype(np.float32),
        ),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    columns = synthetic(arguments.images, arguments.detections)
    ids = list(range(1, CLASSES + 1))
    labels = LabelMap(classes=tuple(ClassLabel(id=k, name=f"class {k}") for k in ids))
    begun = time.process_time()
    first, second = (
        gather_evidence(evaluation_data(columns, arguments.images, shaken=shaken), label_map=labels)
        for shaken in (0.0, 2.0)
    )
    matched = time.process_time()
    subject = Subject(metric="ap")
    found = spreads([subject], first, second, class_ids=ids, resamples=arguments.resamples, seed=0)[
        subject
    ]
    ended = time.process_time()
    summary = {
        "images": arguments.images,
        "objects": len(columns["truth_image"]),
        "detections": arguments.detections,
        "classes": CLASSES,
        "resamples": arguments.resamples,
        "standard_error_of_the_difference": found.standard_error if found else None,
        "matching_cpu_s": round(matched - begun, 2),
        "bootstrap_cpu_s": round(ended - matched, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
