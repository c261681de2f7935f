"""The page of an evaluation: how good, where it fails, and what the failures look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kfdet.core.advice import Advice, with_examples
from kfdet.core.coco import RECALL_POINTS
from kfdet.core.diagnosis import Diagnosis
from kfdet.core.error_analysis import FALSE_ALARM_CAUSES, MISS_CAUSES, ScoreCurve
from kfdet.report.charts import Series, bar_chart, heatmap, line_chart
from kfdet.report.galleries import Galleries, gallery_sections
from kfdet.report.page import (
    Html,
    Section,
    Tile,
    anchor_of,
    code,
    columns,
    details,
    heading,
    link,
    listing,
    message,
    page,
    paragraph,
    properties,
    table,
)
from kfdet.report.wording import number, percent
from kfdet.schema.metrics import (
    COCO,
    LARGEST_AREA_PX2,
    METRIC_NAMES,
    SLICE_NUMBERS,
    ClassMetrics,
    CocoSettings,
    Metrics,
    Slice,
    is_statistic,
)
from kfdet.wording import plural

_TILES = (
    ("ap", "Average precision", "AP, mean over IoU 0.5 to 0.95"),
    ("ap50", "AP50", "a box counts when it overlaps by half"),
    ("ap75", "AP75", "a box counts when it fits closely"),
    ("ap_small", "AP, small", "objects below 32 × 32 px"),
    ("ap_medium", "AP, medium", "up to 96 × 96 px"),
    ("ap_large", "AP, large", "above 96 × 96 px"),
    ("ar_1", "Recall, 1 box", "AR, the best box of each class and image"),
    ("ar_10", "Recall, 10 boxes", "AR, the ten best"),
    ("ar_100", "Recall, 100 boxes", "AR, the hundred best"),
    ("ar_small", "Recall, small", "AR, objects below 32 × 32 px"),
    ("ar_medium", "Recall, medium", "AR, up to 96 × 96 px"),
    ("ar_large", "Recall, large", "AR, above 96 × 96 px"),
)
_ALARM_WORDS = {
    "duplicate": "second box on an object that was found",
    "wrong_class": "on an object of another class",
    "badly_placed": "badly placed: IoU 0.1 to 0.5 with an object of its class",
    "both": "badly placed on an object of another class",
    "background": "nothing there",
}
_MISS_WORDS = {
    "low_score": "seen, but with a score below the threshold",
    "wrong_class": "taken for another class",
    "badly_placed": "only a badly placed box",
    "unseen": "nothing answered",
}
_GAIN_WORDS = {
    "Cls": "wrong class", "Loc": "badly placed", "Both": "wrong class and badly placed",
    "Dupe": "second box", "Bkg": "nothing there", "Miss": "missed",
}  # fmt: skip
_SLICE_WORDS = {
    "box_size": "Size of the object (root of its area)",
    "box_aspect_ratio": "Shape of the object (width to height)",
    "objects_in_image": "Objects in the image",
}
_OF_A_CLASS = ("ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")
_NO_CURVES = "Curves are drawn at IoU 0.5 and 0.75, and evaluation.iou_thresholds has neither."
_TRADE_OFFS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_LINES = 8
_MANY = 24
_WEAKEST = 16
_LARGEST_MATRIX = 24
_PAIRS = 15


def evaluation_page(
    metrics: Metrics,
    diagnosis: Diagnosis,
    galleries: Galleries,
    *,
    advice: Sequence[Advice] = (),
) -> str:
    """Returns the report of an evaluation as one HTML document.

    Args:
        metrics: The numbers.
        diagnosis: What is behind them.
        galleries: Pictures of the failures.
        advice: What stands out.
    """
    ap = metrics.overall.ap
    sections = [
        _classes(metrics, diagnosis),
        _curves(metrics),
        _scores(metrics, diagnosis),
        _errors(metrics, diagnosis),
        _confusion(diagnosis),
        *_slices(metrics),
        *gallery_sections(diagnosis, galleries),
        _evidence(metrics),
    ]
    shown = {section.title for section in sections}
    return page(
        title=f"Evaluation on the {metrics.split} set",
        subtitle=f"{plural(metrics.images, 'image')}, {plural(metrics.boxes, 'object')} of "
        f"{plural(len(metrics.classes), 'class', 'classes')}, "
        f"{plural(metrics.detections, 'detection')}, merged from {plural(metrics.shards, 'shard')}",
        status=(f"AP {_value(ap)}", "neutral") if ap is not None else ("AP undefined", "warn"),
        tiles=_tiles(metrics, diagnosis),
        sections=[_advice(metrics, diagnosis, advice, shown=shown), *sections],
    )


def _tiles(metrics: Metrics, diagnosis: Diagnosis) -> list[Tile]:
    errors = diagnosis.standard_errors
    spread = f", ± {errors.overall:.3f}" if errors and errors.overall is not None else ""
    if metrics.settings.are_coco:
        return [
            Tile(
                label=label,
                value=_value(metrics.overall.value(name)),
                hint=hint + spread * (name == "ap"),
            )
            for name, label, hint in _TILES
        ]
    # The words above are COCO's: other settings are told by the names and the definition below.
    return [
        Tile(
            label=name, value=_value(value), hint="by the chosen settings" + spread * (name == "ap")
        )
        for name, value in metrics.overall.named().items()
        if value is not None
    ]


def _advice(
    metrics: Metrics, diagnosis: Diagnosis, advice: Sequence[Advice], *, shown: set[str]
) -> Section:
    body: list[Html] = []
    if metrics.overall.ap is None:
        body.append(
            message(
                "No image of this set has an object of a known class: nothing can be measured.",
                "bad",
            )
        )
    elif metrics.detections == 0:
        body.append(message("There is no detection at all, of any score.", "bad"))
    elif diagnosis.operating_score is None:
        body.append(
            message(
                "No detection hits an object. The model has learnt nothing yet, or its class ids "
                "are not those of the label map.",
                "bad",
            )
        )
    for piece in advice:
        body += _piece(with_examples(piece, shown=shown))
    return Section(
        title="What stands out",
        intro="Each point names its evidence; what the numbers don't show is not said. Shares have "
        "the interval that they are judged by, and thresholds are those of diagnosis in the "
        "configuration.",
        body=tuple(body or [paragraph("Nothing: no rule of this page found a weak place.")]),
    )


def _piece(advice: Advice) -> list[Html]:
    facts: dict[str, str | Html | float | int | None] = {}
    if advice.keys:
        facts["To try"] = listing(code(key) for key in advice.keys)
    if advice.thresholds:
        facts["Judged by"] = listing(
            code(f"diagnosis.{name}: {value:g}") for name, value in advice.thresholds.items()
        )
    if advice.examples:
        facts["To see"] = listing(link(name, f"#{anchor_of(name)}") for name in advice.examples)
    return [
        heading(advice.finding),
        paragraph(f"{advice.evidence} {advice.remedy}"),
        properties(facts),
    ]


def _classes(metrics: Metrics, diagnosis: Diagnosis) -> Section:
    errors = diagnosis.standard_errors
    spread = errors.per_class if errors else (None,) * len(metrics.classes)
    more = [name for name in _OF_A_CLASS if not metrics.settings.lacks(name)]
    rows = [
        [
            entry.name,
            entry.boxes,
            entry.images,
            entry.detections,
            entry.metrics.ap,
            error,
            *(entry.metrics.value(name) for name in more),
        ]
        for entry, error in zip(metrics.classes, spread, strict=True)
    ]
    ranked = sorted(metrics.classes, key=lambda entry: -(entry.metrics.ap or 0))
    many = len(ranked) > _MANY
    measured = [entry for entry in ranked if entry.metrics.ap is not None]
    ranked = measured[-_WEAKEST:] if many else ranked
    whole = table(
        ["Class", "Objects", "Images", "Detections", "AP", "± AP", *map(_column, more)], rows
    )
    bars = ["ap", "ap50"] if "ap50" in more else ["ap"]
    return Section(
        title="Classes",
        intro=_classes_intro(diagnosis),
        body=(
            bar_chart(
                [entry.name for entry in ranked],
                {_column(name): [entry.metrics.value(name) for entry in ranked] for name in bars},
                title=f"AP of the {len(ranked)} weakest classes" if many else "AP of each class",
                y_label="AP",
                y_range=(0.0, 1.0),
                horizontal=len(ranked) > _LINES,
            ),
            details(f"All {len(metrics.classes)} classes", whole) if many else whole,
            details(
                "All recalls, objects by area, and AP at each overlap", *_all_of_classes(metrics)
            ),
        ),
    )


def _all_of_classes(metrics: Metrics) -> list[Html]:
    areas = list(metrics.boxes_by_area)
    shown = [*(name for name in METRIC_NAMES if name.startswith("ar_")), *metrics.overall.more]
    tables = [
        table(
            ["Class", *(f"Objects {area}" for area in areas),
             *(name.upper().replace("_", " ") for name in shown)],
            [
                [entry.name, *(entry.boxes_by_area.get(area) for area in areas),
                 *(entry.metrics.value(name) for name in shown)]
                for entry in metrics.classes
            ],
        )
    ]  # fmt: skip
    if metrics.details is not None:
        ious = [f"IoU {at.iou:g}" for at in metrics.details.ap_by_iou]
        tables.append(
            table(
                ["AP of class", *ious],
                [[one.name, *(at.ap for at in one.ap_by_iou)] for one in metrics.details.classes],
            )
        )
    return tables


def _classes_intro(diagnosis: Diagnosis) -> str:
    dash = "A dash stands where the set has no object that defines the number."
    if diagnosis.standard_errors is None:
        return f"{dash} The set is too large for a bootstrap of the standard errors."
    return (
        f"{dash} ± is the standard error over images, from "
        f"{diagnosis.standard_errors.resamples} halves of the set: on endless images of this kind "
        "the AP would lie within twice that, 19 times of 20."
    )


def _curves(metrics: Metrics) -> Section:
    charts = []
    for iou, at_iou in ((0.5, "ap50"), (0.75, "ap75")):
        if metrics.settings.lacks(at_iou):
            continue
        with_curve = [
            (entry, curve)
            for entry in metrics.classes
            for curve in entry.curves
            if curve.iou == iou
        ]
        shown = sorted(with_curve, key=lambda pair: _ap_at(pair[0], iou))[:_LINES]
        mean = np.mean([curve.precision for _, curve in with_curve], axis=0) if with_curve else []
        series = [Series(entry.name, RECALL_POINTS, curve.precision) for entry, curve in shown]
        if len(with_curve) > 1:
            series = [
                Series("mean of the classes", RECALL_POINTS, np.asarray(mean).tolist()),
                *series[: _LINES - 1],
            ]
        charts.append(
            line_chart(
                series,
                title=f"A hit overlaps by {percent(iou, digits=0)} (IoU {iou:g})",
                x_label="recall",
                y_label="precision",
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
            )
        )
    many = len(metrics.classes) >= _LINES
    return Section(
        title="Precision and recall",
        intro="Recall is the share of objects found, precision the share of answers that are "
        "right; the area below a curve is the AP. A curve that ends early never finds the rest."
        + (" Shown are the weakest classes." if many else ""),
        body=(columns(*charts) if charts else paragraph(_NO_CURVES),),
    )


def _ap_at(entry: ClassMetrics, iou: float) -> float:
    return (entry.metrics.ap50 if iou == 0.5 else entry.metrics.ap75) or 0.0


def _scores(metrics: Metrics, diagnosis: Diagnosis) -> Section:
    curve, best = diagnosis.curve, diagnosis.curve.best()
    if best is None:
        return Section(title="Score threshold", body=(paragraph("No detection is a hit."),))
    x = curve.score[::-1].tolist()
    chart = line_chart(
        [
            Series("precision", x, curve.precision[::-1].tolist()),
            Series("recall", x, curve.recall[::-1].tolist()),
            Series("F1", x, curve.f1[::-1].tolist()),
        ],
        title="Detections at or above a score, all classes together, IoU 0.5",
        x_label="score threshold",
        y_label="share",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        vertical=[(float(curve.score[best]), "best F1")],
    )
    points = [["highest F1", *_point(curve, best)]]
    for wanted in (0.9, 0.95, 0.99):
        reached = np.flatnonzero(curve.precision >= wanted)
        if reached.size:
            points.append([f"precision at least {wanted:g}", *_point(curve, int(reached[-1]))])
    headers = ["Score", "Precision", "Recall", "F1"]
    per_class = [
        [entry.name, *(_point(one, at) if (at := one.best()) is not None else [None] * 4)]
        for entry, one in zip(metrics.classes, diagnosis.class_curves, strict=True)
    ]
    return Section(
        title="Score threshold",
        intro="AP looks at all scores; a product works with one. These points were read off this "
        "very set, so they flatter a little: choose the final one on other images.",
        body=(
            chart,
            table(["Operating point", *headers], points),
            details("The highest F1 of each class", table(["Class", *headers], per_class)),
        ),
    )


def _point(curve: ScoreCurve, at: int) -> list[str | Html | float | int | None]:
    return [
        float(curve.score[at]),
        float(curve.precision[at]),
        float(curve.recall[at]),
        float(curve.f1[at]),
    ]


def _errors(metrics: Metrics, diagnosis: Diagnosis) -> Section:
    at = diagnosis.outcomes
    alarms, misses = int(at.false_alarm.sum()), int(at.miss.sum())
    objects = int((~diagnosis.data.ground_truth.is_crowd).sum())
    kept = f"Kept are detections with a score of {number(round(at.score, 3))} or more."
    summary = (
        f"{plural(int(at.hit.sum()), 'hit')}, {plural(alarms, 'false alarm')}, "
        f"{plural(misses, 'miss', 'misses')} of {plural(objects, 'object')}. {kept}"
    )
    costs = diagnosis.error_costs
    gains = {
        name: {_GAIN_WORDS[kind]: gain for kind, gain in by_kind.items()}
        for name, by_kind in (("AP50", costs.ap50), ("AP", costs.ap))
        if by_kind is not None
    }
    by_iou = {iou: ap for iou, ap in diagnosis.ap_by_iou.items() if ap is not None}
    return Section(
        title="Errors",
        intro=summary,
        body=(
            columns(
                _causes("False alarm", FALSE_ALARM_CAUSES, at.false_alarm_cause, _ALARM_WORDS),
                _causes("Miss", MISS_CAUSES, at.miss_cause, _MISS_WORDS),
            ),
            columns(
                bar_chart(
                    list(gains["AP"]),
                    {name: list(by_kind.values()) for name, by_kind in gains.items()},
                    title="What AP would gain if one kind of error were mended (TIDE)",
                    y_label="gain, over detections of any score",
                    horizontal=True,
                ),
                line_chart(
                    [Series("mean over the classes", list(by_iou), list(by_iou.values()))],
                    title="AP by the overlap that a hit needs",
                    x_label="IoU",
                    y_label="AP",
                    y_range=(0.0, 1.0),
                    markers=True,
                ),
            ),
            _calibration(metrics, diagnosis),
        ),
    )


def _causes(
    name: str, causes: Sequence[str], cause_of: np.ndarray, words: Mapping[str, str]
) -> Html:
    counts = [int(np.count_nonzero(cause_of == i)) for i in range(len(causes))]
    total = sum(counts)
    return table(
        [f"{name}: cause", "Count", "Share"],
        [
            [words[cause], count, percent(count / total if total else None)]
            for cause, count in zip(causes, counts, strict=True)
        ],
    )


def _calibration(metrics: Metrics, diagnosis: Diagnosis) -> Html:
    found = diagnosis.reliability
    filled = found.detections > 0
    # Points that rest on a handful of detections jump about.
    steady = filled & (found.detections >= 10)
    if not steady.any():
        return paragraph("Too few detections to say how far scores can be trusted.")
    expected = metrics.details.calibration.expected_error if metrics.details else None
    error = "" if expected is None else f"; expected calibration error {expected:.3f}"
    return line_chart(
        [
            Series(
                "detections", found.mean_score[steady].tolist(), found.hit_share[steady].tolist()
            ),
            Series("a score that keeps its word", [0.0, 1.0], [0.0, 1.0]),
        ],
        title="Share of hits among detections of a score (IoU 0.5; ranges with 10 or more)" + error,
        x_label="score",
        y_label="share of hits",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        markers=True,
    )


def _confusion(diagnosis: Diagnosis) -> Section:
    names = [label.name for label in diagnosis.label_map.classes]
    matrix = diagnosis.confusion
    body: list[Html] = []
    if len(names) <= _LARGEST_MATRIX:
        sums = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        body.append(
            heatmap(
                [*names, "nothing there"],
                [*names, "missed"],
                matrix.tolist(),
                title="Objects and what they were taken for",
                row_label="truth",
                column_label="answer",
                shares=(matrix / sums).tolist(),
            )
        )
    between = matrix[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    frequent = np.argsort(-between, axis=None, kind="stable")[:_PAIRS]
    pairs = [
        [names[truth], names[answer], int(between[truth, answer])]
        for truth, answer in zip(*np.unravel_index(frequent, between.shape), strict=True)
        if between[truth, answer]
    ]
    body.append(
        table(
            ["Object", "Taken for", "Times"],
            pairs,
            caption="The classes that are mixed up most",
            empty="No class is taken for another.",
        )
    )
    return Section(
        title="Confusion",
        intro="Boxes are matched by place alone (IoU 0.5), then classes are compared."
        + (
            " A row is shaded by its share. The last row are false alarms on nothing, the last "
            "column misses."
            if len(names) <= _LARGEST_MATRIX
            else f" The whole matrix of {len(names)} classes is in metrics.json."
        ),
        body=tuple(body),
    )


def _slices(metrics: Metrics) -> list[Section]:
    if metrics.details is None:
        return []
    by_kind: dict[str, list[Slice]] = {}
    for part in metrics.details.slices:
        if part.images:
            by_kind.setdefault(part.by, []).append(part)
    score = metrics.details.score
    trade_offs = table(
        ["At", "Precision at that recall", "Recall at that precision"],
        [[number(at), score.precision_at(at), score.recall_at(at)] for at in _TRADE_OFFS],
        caption="All classes together, IoU 0.5",
    )
    return [
        Section(
            title="Parts of the set",
            intro="Precision and recall (the share of objects that are found) are those of detections "
            "at or above the score of the highest F1, at IoU 0.5.",
            body=(
                *(
                    _slice_table(by, parts, settings=metrics.settings)
                    for by, parts in by_kind.items()
                ),
                trade_offs,
            ),
        )
    ]


def _slice_table(by: str, parts: Sequence[Slice], *, settings: CocoSettings) -> Html:
    shown = [name for name in SLICE_NUMBERS if not (is_statistic(name) and settings.lacks(name))]
    return table(
        ["Part", "Images", "Objects", *map(_column, shown)],
        [
            [part.name, part.images, part.boxes, *(part.value(name) for name in shown)]
            for part in parts
        ],
        caption=_SLICE_WORDS.get(by, f"Feature {by} of the records"),
    )


def _column(metric: str) -> str:
    """Returns the heading of a metric's column: `AP50`, `AR 100`, `Precision`."""
    if not is_statistic(metric):
        return metric.capitalize()
    return f"{metric[:2].upper()}{metric[2:].replace('_', ' ')}"


def _definition(settings: CocoSettings) -> str:
    """Returns what the statistics are taken over, in words."""
    ious = settings.iou_thresholds
    spread = (
        "IoU 0.5 to 0.95 in steps of 0.05"
        if ious == COCO.iou_thresholds
        else f"IoU {', '.join(f'{iou:g}' for iou in ious)}"
    )
    areas = ", ".join(
        f"{name} {low:g} to {high:g} px²" if high < LARGEST_AREA_PX2 else f"{name} from {low:g} px²"
        for name, (low, high) in sorted(settings.areas.items(), key=lambda item: item[1])
    )
    return (
        f"{spread}; areas: {areas or 'all alone'}; 101 recall points; up to "
        f"{settings.max_detections[-1]} detections of a class in an image; crowd regions count "
        "neither way."
    )


def _evidence(metrics: Metrics) -> Section:
    return Section(
        title="Evidence",
        intro=("COCO detection metrics: " if metrics.settings.are_coco else "Chosen settings: ")
        + _definition(metrics.settings),
        body=(
            properties(
                {
                    "Engine": f"{metrics.engine} {metrics.engine_version}",
                    "Checkpoint": metrics.checkpoint_digest,
                    f"{metrics.split} set": metrics.split_digest,
                    "Metrics": metrics.fingerprint(),
                }
            ),
        ),
    )


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
