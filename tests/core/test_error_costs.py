import numpy as np
import pytest
from evaluation_cases import label_map, own, random_data, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import Detections, EvaluationData, canonical
from kfdet.core.error_costs import ERROR_KINDS, error_costs
from kfdet.core.matching import match_everywhere
from kfdet.schema.metrics import CocoSettings

LABELS = label_map("circle", "square", "triangle")


PERFECT = [(i, own(i), 0.9, "none") for i in range(40)]
cases = st.builds(
    random_data,
    st.integers(0, 10**6),
    images=st.integers(0, 8),
    crowd=st.sampled_from([0.0, 0.3]),
    ties=st.just(False),
    degenerate=st.booleans(),
)


def costs(data: EvaluationData, **settings: object):
    return error_costs(
        match_everywhere(data, label_map=LABELS, settings=CocoSettings.model_validate(settings))
    )


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    inside = sides.prod()
    return inside / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inside)


def average_precision(points: list[tuple[float, bool]], objects: int) -> float:
    hits = np.cumsum([hit for _, hit in sorted(points, key=lambda point: -point[0])])
    if not points or not objects:
        return 0.0
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / objects, np.linspace(0, 1, 101), side="left")
    return float(np.mean(np.append(precision, 0.0)[places]))


def tide_by_hand(data: EvaluationData, t: int, threshold: float) -> dict[str, float]:
    """The decomposition box by box, as the paper and tidecv have it; scores are distinct."""
    matches = match_everywhere(data, label_map=LABELS)
    truth, seen = matches.data.ground_truth, matches.data.detections
    found = dict(zip(matches.rows.tolist(), matches.found[0, :, t].tolist(), strict=True))
    hit_of = {d: g for d, g in found.items() if g >= 0}
    used = {g for g in hit_of.values() if not truth.is_crowd[g]}
    rows = [d for d in np.flatnonzero(matches.counted) if d not in hit_of]
    errors: dict[int, tuple[str, int]] = {}
    for d in rows:
        objects = [
            g
            for g in range(len(truth))
            if truth.image_id[g] == seen.image_id[d] and not truth.is_crowd[g]
        ]
        box = seen.boxes_xyxy_px[d].astype(np.float64)
        overlap = {g: iou(box, truth.boxes_xyxy_px[g]) for g in objects}
        same = {g: o for g, o in overlap.items() if truth.class_id[g] == seen.class_id[d]}
        other = {g: o for g, o in overlap.items() if g not in same}
        best = max(same, key=lambda g: same[g], default=-1)
        wrong = max(other, key=lambda g: other[g], default=-1)
        if 0.1 <= same.get(best, 0.0) < threshold:
            errors[d] = ("Loc", best)
        elif other.get(wrong, 0.0) >= threshold:
            errors[d] = ("Cls", wrong)
        elif same.get(best, 0.0) >= threshold:
            errors[d] = ("Dupe", -1)
        elif max(overlap.values(), default=0.0) <= 0.1:
            errors[d] = ("Bkg", -1)
        else:
            errors[d] = ("Both", -1)
    surest: dict[int, int] = {}
    for d, (_, g) in sorted(errors.items(), key=lambda item: -seen.score[item[0]]):
        if g >= 0 and g not in used:
            surest.setdefault(g, d)
    pointed_at = {g for _, g in errors.values()}
    real = [g for g in range(len(truth)) if not truth.is_crowd[g]]
    missed = [g for g in real if g not in used and g not in pointed_at]

    def ap(kind: str) -> dict[int, float]:
        points: dict[int, list[tuple[float, bool]]] = {c.id: [] for c in LABELS.classes}
        for d, g in hit_of.items():
            if not truth.is_crowd[g]:
                points[int(seen.class_id[d])].append((float(seen.score[d]), True))
        for d, (error, g) in errors.items():
            if error != kind:
                points[int(seen.class_id[d])].append((float(seen.score[d]), False))
            elif g >= 0 and surest.get(g) == d:
                points[int(truth.class_id[g])].append((float(seen.score[d]), True))
        values = {}
        for c in LABELS.classes:
            objects = sum(truth.class_id[g] == c.id for g in real)
            if not objects:
                continue
            left = objects
            if kind == "Miss":
                left -= sum(truth.class_id[g] == c.id for g in missed)
            values[c.id] = average_precision(points[c.id], left) if left else 1.0
        return values

    plain = ap("nothing")
    if not plain:
        return dict.fromkeys(ERROR_KINDS, 0.0)
    return {
        kind: max(0.0, float(np.mean([ap(kind)[c] - plain[c] for c in plain])))
        for kind in ERROR_KINDS
    }


@settings(max_examples=60, deadline=None)
@given(data=cases)
def test_the_costs_are_those_found_box_by_box(data):
    data = canonical(data)
    found = costs(data)
    thresholds = CocoSettings().iou_thresholds
    by_hand = [tide_by_hand(data, t, threshold) for t, threshold in enumerate(thresholds)]
    for kind in ERROR_KINDS:
        assert found.ap50[kind] == pytest.approx(by_hand[0][kind], abs=1e-9)
        mean = np.mean([one[kind] for one in by_hand])
        assert found.ap[kind] == pytest.approx(mean, abs=1e-9)


def test_without_one_half_among_the_thresholds_there_is_no_cost_in_ap50():
    found = costs(random_data(3), iou_thresholds=[0.6, 0.7])
    assert found.ap50 is None
    assert max(found.ap.values()) > 0


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([*PERFECT, (0, 1, 0.95, "none")], "Dupe"),
        ([(0, 2, 0.9, "none"), *PERFECT[1:]], "Cls"),
        ([*PERFECT, (1, 2, 0.99, "far")], "Bkg"),
        (PERFECT[1:], "Miss"),
    ],
)
def test_what_could_be_gained_is_put_down_to_the_error_that_was_made(rows, kind):
    gains = costs(scene(rows)).ap50
    assert gains[kind] > 0
    assert max(gains, key=lambda name: gains[name]) == kind


def test_boxes_badly_placed_are_put_down_to_their_place():
    far_off = [(i, own(i), 0.9, "none") for i in range(39)]
    data = scene([*far_off])
    seen = data.detections
    half = np.append(seen.boxes_xyxy_px, [[60.0, 0.0, 160.0, 100.0]], axis=0).astype(np.float32)
    moved = EvaluationData(
        images=data.images,
        ground_truth=data.ground_truth,
        detections=Detections(
            image_id=np.append(seen.image_id, 39),
            class_id=np.append(seen.class_id, own(39)),
            score=np.append(seen.score, np.float32(0.9)),
            boxes_xyxy_px=half,
        ),
    )
    gains = costs(moved).ap50
    assert max(gains, key=lambda name: gains[name]) == "Loc"
