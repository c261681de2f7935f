"""How often the interval of a difference of two models' AP holds the true difference.

    python benchmarks/bootstrap_coverage.py [--trials 1000] [--resamples 200]

A large made-up population of images is looked at by two models that find hard what is hard. Its
difference in AP is the truth. Test sets are drawn from it, and each gives an interval at 95 %: ours,
centred at the measured difference, and the percentiles of the resamples beside it. The coverage of a
single model's AP is printed too. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from statistics import NormalDist

import numpy as np

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images
from kfdet.core.evidence import Evidence, gather_evidence
from kfdet.core.uncertainty import draw_weights, weighted_metric
from kfdet.schema.dataset import ClassLabel, LabelMap

POPULATION = 20_000
Z95 = NormalDist().inv_cdf(0.975)


def population(classes: int, *, seed: int = 0) -> tuple[Evidence, Evidence]:
    """Two models on the same images: the second places boxes worse and finds less."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0, 0.7, POPULATION)
    image = np.repeat(np.arange(POPULATION), rng.poisson(3, POPULATION))
    total = image.size
    size = np.exp(rng.normal(3.8, 0.7, (total, 2))).clip(8, 300)
    corner = rng.random((total, 2)) * 340
    boxes = np.concatenate([corner, corner + size], axis=1)
    label = rng.integers(1, classes + 1, total)
    ids = np.arange(POPULATION)
    images = Images(
        image_id=ids, source_id=("",) * POPULATION, file=("",) * POPULATION, record=ids,
        width_px=ids, height_px=ids,
    )  # fmt: skip
    truth = GroundTruth(
        image_id=image, class_id=label, is_crowd=np.zeros(total, np.bool_),
        area=size.prod(axis=1), boxes_xyxy_px=boxes,
    )  # fmt: skip
    own = rng.normal(0, 1, total)
    labels = LabelMap(classes=tuple(ClassLabel(id=k, name=str(k)) for k in range(1, classes + 1)))

    def model(skill: float) -> Evidence:
        clarity = skill - hardness[image] - own + rng.normal(0, 0.5, total)
        seen = np.flatnonzero(clarity > -1.2)
        noise = rng.normal(0, 0.07, (seen.size, 4)) * np.exp(-0.4 * clarity[seen])[:, None]
        near = boxes[seen] + noise * np.tile(size[seen], 2)
        alarms = np.repeat(ids, rng.poisson(2, POPULATION))
        extent = np.exp(rng.normal(3.8, 0.7, (alarms.size, 2))).clip(8, 300)
        place = rng.random((alarms.size, 2)) * 340
        score = np.concatenate(
            [clarity[seen], rng.normal(-1.0, 0.8, alarms.size) + 0.5 * hardness[alarms]]
        )
        where = np.concatenate([image[seen], alarms])
        order = np.argsort(where, kind="stable")
        found = Detections(
            image_id=where[order],
            class_id=np.concatenate([label[seen], rng.integers(1, classes + 1, alarms.size)])[order],
            score=(1 / (1 + np.exp(-score[order]))).astype(np.float32),
            boxes_xyxy_px=np.concatenate(
                [near, np.concatenate([place, place + extent], axis=1)]
            )[order].astype(np.float32),
        )  # fmt: skip
        data = EvaluationData(images=images, ground_truth=truth, detections=found)
        return gather_evidence(data, label_map=labels)

    return model(0.3), model(0.15)


def part(evidence: Evidence, rows: np.ndarray) -> Evidence:
    """The evidence on some images, rows ascending."""
    place = np.full(evidence.images, -1)
    place[rows] = np.arange(rows.size)
    objects, seen = place[evidence.object_image] >= 0, place[evidence.image] >= 0
    values = {
        field.name: getattr(evidence, field.name)[objects if "object" in field.name else seen]
        for field in dataclasses.fields(Evidence)
        if field.name != "images"
    }
    values["object_image"] = place[values["object_image"]]
    values["image"] = place[values["image"]]
    return Evidence(images=rows.size, **values)


def ap(evidence: Evidence, weights: np.ndarray, classes: int) -> np.ndarray:
    by_class = weighted_metric(
        evidence, weights, metric="ap", class_ids=list(range(1, classes + 1))
    )
    mean: np.ndarray = np.nanmean(by_class, axis=0)
    return mean


def coverage(
    images: int, classes: int, *, trials: int, resamples: int, models: tuple[Evidence, Evidence]
) -> dict[str, object]:
    whole = np.ones((POPULATION, 1))
    true = [float(ap(model, whole, classes)[0]) for model in models]
    rng = np.random.default_rng(images)
    held = {"difference": 0, "difference_percentiles": 0, "single": 0, "single_percentiles": 0}
    errors, spreads, lifts = [], [], []
    for trial in range(trials):
        rows = np.sort(rng.choice(POPULATION, images, replace=False))
        weights = np.concatenate(
            [np.ones((images, 1)), draw_weights(images, resamples=resamples, seed=trial)], axis=1
        )
        first, second = (ap(part(model, rows), weights, classes) for model in models)
        for name, drawn, truth in (
            ("difference", first - second, true[0] - true[1]),
            ("single", first, true[0]),
        ):
            point, spread = drawn[0], float(np.std(drawn[1:], ddof=1))
            held[name] += abs(point - truth) <= Z95 * spread
            low, high = np.quantile(drawn[1:], [0.025, 0.975])
            held[f"{name}_percentiles"] += low <= truth <= high
            if name == "difference":
                errors.append(point - truth)
                spreads.append(spread)
            else:
                lifts.append(float(drawn[1:].mean()) - point)
    return {
        "images": images,
        "classes": classes,
        "true_difference": round(true[0] - true[1], 4),
        **{f"coverage_{name}": round(count / trials, 4) for name, count in held.items()},
        "bias_of_the_difference": round(float(np.mean(errors)), 5),
        "spread_of_the_difference": round(float(np.std(errors)), 5),
        "standard_error_mean": round(float(np.mean(spreads)), 5),
        "lift_of_resampled_ap": round(float(np.mean(lifts)), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--case", action="append", metavar="IMAGES,CLASSES")
    arguments = parser.parse_args()
    results = []
    for case in arguments.case or ["100,3", "300,3", "300,10", "1000,3"]:
        images, classes = (int(part) for part in case.split(","))
        results.append(
            coverage(
                images,
                classes,
                trials=arguments.trials,
                resamples=arguments.resamples,
                models=population(classes),
            )
        )
        print(json.dumps(results[-1]), flush=True)
    lowest = min(float(str(one["coverage_difference"])) for one in results)
    highest = max(float(str(one["coverage_difference"])) for one in results)
    print(json.dumps({"nominal": 0.95, "lowest": lowest, "highest": highest,
                      "trials": arguments.trials, "resamples": arguments.resamples}))  # fmt: skip


if __name__ == "__main__":
    main()
