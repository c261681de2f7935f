"""How often the gate's intervals hold the truth, for one model's metric and for a difference of two.

    python benchmarks/bootstrap_coverage.py [--trials 1000] [--resamples 200]
        [--case IMAGES,CLASSES,SKILL,METRIC ...]

A large made-up population of images is looked at by two models that find hard what is hard; what they
score on all of it is the truth. Test sets are drawn from it, and each gives intervals at 95 %: ours,
and beside them the plain percentiles of a bootstrap, on fewer trials. A coverage is printed with its
own 95 % interval, since trials are finite (Wilson).

Also: whether as many more images as the gate asks for do settle a rule. From sets on which the
measured margin is one standard error, the gate's estimate leads to larger sets; on these the interval
should just reach the threshold, so about half of them settle it, and the ratio of the width found to
the one foretold should be 1. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images
from kfdet.core.evidence import Evidence, gather_evidence
from kfdet.core.uncertainty import Estimate, Subject, spreads
from kfdet.core.weighted import mean_over_classes, weighted_metric
from kfdet.schema.dataset import ClassLabel, LabelMap

POPULATION = 20_000
Z95 = NormalDist().inv_cdf(0.975)
SKILL_GAP = 0.15
# The second model of a difference has a little less skill. Skill -0.6 gives an AP of 0.35, 0.3 one
# of 0.56 and 1.8 one of 0.79, where AP50 is 0.96.
CASES = (
    "100,3,0.3,ap", "300,3,0.3,ap", "300,10,0.3,ap", "300,3,-0.6,ap",
    "300,3,1.8,ap", "300,3,0.3,ap50", "300,3,0.3,ar_100", "100,3,-0.6,ap50", "300,3,1.8,ap50",
)  # fmt: skip
PERCENTILE_TRIALS = 200
SETTLING_TRIALS = 50


@dataclass(frozen=True, kw_only=True)
class Case:
    images: int
    classes: int
    skill: float
    metric: str


def population(classes: int, skill: float, *, seed: int = 0) -> tuple[Evidence, Evidence]:
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

    def model(own_skill: float) -> Evidence:
        clarity = own_skill - hardness[image] - own + rng.normal(0, 0.5, total)
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

    return model(skill), model(skill - SKILL_GAP)


def part(evidence: Evidence, rows: np.ndarray) -> Evidence:
    """The evidence on some images, rows ascending."""
    place = np.full(evidence.images, -1)
    place[rows] = np.arange(rows.size)
    objects, seen = place[evidence.object_image] >= 0, place[evidence.image] >= 0
    values = {
        field.name: getattr(evidence, field.name)[objects if "object" in field.name else seen]
        for field in dataclasses.fields(Evidence)
        if field.name not in ("images", "settings", "image_parts")
    }
    values["object_image"] = place[values["object_image"]]
    values["image"] = place[values["image"]]
    return Evidence(images=rows.size, **values)


def value(evidence: Evidence, case: Case, weights: np.ndarray | None = None) -> np.ndarray:
    if weights is None:
        weights = np.ones((evidence.images, 1))
    ids = list(range(1, case.classes + 1))
    return mean_over_classes(weighted_metric(evidence, weights, metric=case.metric, class_ids=ids))


def sample(models: tuple[Evidence, ...], images: int, rng: np.random.Generator) -> list[Evidence]:
    rows = np.sort(rng.choice(POPULATION, images, replace=False))
    return [part(model, rows) for model in models]


def estimates(
    sets: list[Evidence], case: Case, *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """As the gate makes them."""
    subject = Subject(metric=case.metric)
    options = {"class_ids": list(range(1, case.classes + 1)), "resamples": resamples, "seed": seed}
    first, second = sets
    scores = [float(value(one, case)[0]) for one in sets]
    alone = spreads([subject], first, **options)[subject]
    paired = spreads([subject], first, second, **options)[subject]
    boxes = first.object_image.size
    return {
        "difference": Estimate.of_difference(scores[0] - scores[1], paired, boxes=boxes),
        "single": Estimate.of_value(scores[0], alone, boxes=boxes),
    }


def percentiles(sets: list[Evidence], case: Case, *, resamples: int, seed: int) -> dict[str, tuple]:
    """What a bootstrap with replacement would say."""
    images = sets[0].images
    draws = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), size=resamples
    )
    weights = np.ascontiguousarray(draws.T, np.float64)
    first, second = (value(one, case, weights) for one in sets)
    return {
        "difference": tuple(np.quantile(first - second, [0.025, 0.975])),
        "single": tuple(np.quantile(first, [0.025, 0.975])),
    }


def share(count: int, trials: int) -> dict[str, object]:
    """A share and its 95 % interval by Wilson."""
    p, n = count / trials, trials
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return {
        "coverage": round(p, 4),
        "low": round(centre - half, 4),
        "high": round(centre + half, 4),
    }


def coverage(case: Case, *, trials: int, resamples: int) -> dict[str, object]:
    models = population(case.classes, case.skill)
    scores = [float(value(model, case)[0]) for model in models]
    truth = {"difference": scores[0] - scores[1], "single": scores[0]}
    rng = np.random.default_rng(case.images)
    held, plain = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    plain_trials = min(trials, PERCENTILE_TRIALS)
    for trial in range(trials):
        sets = sample(models, case.images, rng)
        for name, estimate in estimates(sets, case, resamples=resamples, seed=trial).items():
            low, high = estimate.interval(Z95)
            held[name] += low <= truth[name] <= high
        if trial < plain_trials:
            drawn = percentiles(sets, case, resamples=resamples, seed=trial)
            for name, (low, high) in drawn.items():
                plain[name] += low <= truth[name] <= high
    return {
        **dataclasses.asdict(case),
        "truth": {name: round(number, 4) for name, number in truth.items()},
        **{name: share(count, trials) for name, count in held.items()},
        "bootstrap_percentiles": {n: round(count / plain_trials, 3) for n, count in plain.items()},
        "more_images": settling(models, case, resamples=resamples),
    }


def settling(models: tuple[Evidence, ...], case: Case, *, resamples: int) -> dict[str, object]:
    """Whether the images that the gate asks for settle a margin of one standard error."""
    rng = np.random.default_rng(1)
    needed = math.ceil(case.images * Z95**2)
    settled, ratios = dict.fromkeys(("difference", "single"), 0), []
    for trial in range(SETTLING_TRIALS):
        few = estimates(sample(models, case.images, rng), case, resamples=resamples, seed=trial)
        many = estimates(sample(models, needed, rng), case, resamples=resamples, seed=trial)
        for name in settled:
            settled[name] += Z95 * many[name].width <= few[name].width
            ratios.append(many[name].width / (few[name].width * math.sqrt(case.images / needed)))
    return {
        "images": needed,
        "settled": {name: round(count / SETTLING_TRIALS, 2) for name, count in settled.items()},
        "width_found_to_foretold": round(float(np.median(ratios)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--case", action="append", metavar="IMAGES,CLASSES,SKILL,METRIC")
    arguments = parser.parse_args()
    results = []
    for text in arguments.case or CASES:
        images, classes, skill, metric = text.split(",")
        case = Case(images=int(images), classes=int(classes), skill=float(skill), metric=metric)
        results.append(coverage(case, trials=arguments.trials, resamples=arguments.resamples))
        print(json.dumps(results[-1]), flush=True)
    summary: dict[str, object] = {"nominal": 0.95, "trials": arguments.trials}
    for name in ("difference", "single"):
        shares = [one[name]["coverage"] for one in results]
        summary[name] = {"lowest": min(shares), "highest": max(shares)}
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
