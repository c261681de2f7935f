"""The page of a feasibility check: can the gate be reached, what stands in the way, and what helps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kfdet.core.feasibility.findings import suggestion_words
from kfdet.core.validation.catalogue import BY_CODE
from kfdet.core.validation.findings import by_code
from kfdet.report.charts import bar_chart, histogram_chart
from kfdet.report.experiment import model_section, settings_table
from kfdet.report.page import (
    Cell,
    Html,
    Section,
    Tile,
    Tone,
    badge,
    bullets,
    code,
    columns,
    details,
    heading,
    message,
    page,
    paragraph,
    properties,
    table,
)
from kfdet.report.wording import difference, duration, number, percent, size
from kfdet.schema.dataset import Finding, Histogram
from kfdet.schema.feasibility import (
    AnchorFit,
    AnchorRecall,
    Estimates,
    Feasibility,
    FeasibilityVerdict,
    ResizeFit,
    RuleFeasibility,
)
from kfdet.schema.metrics import METRIC_NAMES
from kfdet.schema.training import ResolvedExperiment
from kfdet.wording import plural

_VERDICTS: dict[FeasibilityVerdict, tuple[str, Tone, str]] = {
    "can_pass": (
        "can pass", "good", "Nothing that can be seen before training stands between data and gate.",
    ),
    "at_risk": ("at risk", "warn", "The gate can be reached, but not with confidence."),
    "cannot_pass": (
        "cannot pass", "bad", "No detector passes the gate on these data with these settings.",
    ),
}  # fmt: skip
_OUTCOMES: dict[str, tuple[str, Tone]] = {
    "reachable": ("in reach", "good"),
    "at_risk": ("at risk", "warn"),
    "out_of_reach": ("out of reach", "bad"),
}
_TONES: dict[str, Tone] = {"error": "bad", "warning": "warn", "info": "neutral"}
_MARKS_SHOWN = 12


def feasibility_page(answer: Feasibility, experiment: ResolvedExperiment) -> str:
    """Returns the report of a feasibility check as one HTML document.

    Args:
        answer: The verdict with all that it rests on.
        experiment: What would be trained.
    """
    words, tone, _ = _VERDICTS[answer.verdict]
    sections = [
        _verdict(answer),
        _rules(answer.rules),
        _ceilings(answer),
        _anchors(answer, experiment),
        _resize(answer.resize),
        _power(answer.rules, images=answer.ceilings.images),
        _findings(answer),
        _configuration(experiment),
    ]
    if answer.estimates is not None:
        sections.insert(2, _estimates(answer.estimates))
    return page(
        title="Can it pass?",
        subtitle=f"{experiment.experiment} at {experiment.detector.input_size[0]} x "
        f"{experiment.detector.input_size[1]} px, {plural(answer.ceilings.images, 'test image')} with "
        f"{plural(answer.ceilings.boxes, 'box', 'boxes')}; nothing has been trained",
        status=(words, tone),
        tiles=_tiles(answer),
        sections=sections,
    )


def _tiles(answer: Feasibility) -> list[Tile]:
    ceilings, whole = answer.ceilings, answer.anchors.rows[0]
    outcomes = [rule.outcome for rule in answer.rules]
    beyond = outcomes.count("out_of_reach")
    tiles = [
        Tile(
            label="Rules in reach",
            value=f"{outcomes.count('reachable')} of {len(outcomes)}",
            tone="bad" if beyond else "warn" if "at_risk" in outcomes else "good",
        ),
        Tile(label="AP at most", value=_three(ceilings.ceiling.ap), hint="for any detector"),
        Tile(
            label="A perfect detector", value=_three(ceilings.perfect.ap), hint="AP, as configured"
        ),
        Tile(
            label="Boxes with an anchor",
            value=percent(whole.matched),
            hint="overlap 0.5 or more, in train",
        ),
    ]
    if answer.estimates is not None:
        device = answer.estimates.device
        tiles.append(
            Tile(label="Training", value=duration(answer.estimates.training_time_s), hint=device)
        )
    return tiles


def _verdict(answer: Feasibility) -> Section:
    _, tone, sentence = _VERDICTS[answer.verdict]
    body: list[Html] = [message(sentence, tone), bullets(answer.reasons)]
    steps = list(dict.fromkeys(_what_helps(answer)))
    if steps:
        body += [heading("What to change"), bullets(steps)]
    return Section(title="Verdict", body=tuple(body))


def _what_helps(answer: Feasibility) -> Iterator[str]:
    for rule in answer.rules:
        if rule.outcome != "reachable" and rule.remedy:
            yield rule.remedy
    about_rules = "gate.rules"
    for finding in answer.findings:
        if finding.severity != "info" and finding.file != about_rules:
            yield finding.remedy
    if answer.anchors.suggestion is not None:
        yield suggestion_words(answer.anchors)


def _rules(rules: Sequence[RuleFeasibility]) -> Section:
    rows: list[list[Cell]] = [
        [
            badge(*_OUTCOMES[rule.outcome]),
            rule.rule,
            rule.threshold,
            rule.perfect,
            rule.ceiling,
            rule.boxes,
            rule.reason,
        ]
        for rule in rules
    ]
    headers = ["", "Rule", "Asked for", "Perfect detector", "Ceiling", "Boxes", "In words"]
    return Section(
        title="Rules of the gate",
        intro="Above the ceiling nothing can lie. A perfect detector answers the ground truth itself; "
        "one whose boxes deviate can lie a little above it, where suppression takes exact boxes.",
        body=(table(headers, rows),),
    )


def _estimates(found: Estimates) -> Section:
    free = "" if found.free_disk_bytes is None else f", of {size(found.free_disk_bytes)} free"
    memory = size(found.memory_bytes)
    if found.device_memory_bytes is not None:
        memory += f", and {size(found.device_memory_bytes)} on the device"
    pairs: dict[str, str | Html | float | int | None] = {
        "device": found.device,
        "weights": f"{found.parameters:,}",
        "training": f"{duration(found.training_time_s)}, {found.step_time_s * 1000:,.0f} ms a step "
        f"over {plural(found.measured_steps, 'step')}",
        "every checkpoint on val": duration(found.selection_time_s),
        "test": duration(found.evaluation_time_s),
        "start of each stage with TensorFlow": duration(found.startup_time_s),
        "the whole run, about": duration(found.total_time_s),
        "memory": memory,
        "checkpoints": f"{found.checkpoints:,} of {size(found.checkpoint_bytes)}: "
        f"{size(found.disk_bytes)}{free}",
    }
    return Section(
        title="Time, memory and disk on this machine",
        intro="From a few steps of the real training, on the real records; while they ran, other work "
        "on the machine counts too.",
        body=(properties(pairs),),
    )


def _ceilings(answer: Feasibility) -> Section:
    found = answer.ceilings
    rows: list[list[Cell]] = [
        [name, found.ceiling.value(name), found.perfect.value(name), found.oracle.value(name)]
        for name in (*METRIC_NAMES, *found.ceiling.more)
    ]
    headers = ["Metric", "Ceiling", "Perfect detector", "Ground truth alone"]
    by_class: list[list[Cell]] = [
        [
            entry.name,
            entry.boxes,
            entry.ceiling.ap,
            entry.perfect.ap,
            entry.perfect.ap50,
            entry.oracle.ap,
            entry.losses.suppressed,
            entry.losses.over_limit,
            entry.losses.unfindable,
        ]
        for entry in found.classes
    ]
    class_headers = [
        "Class", "Boxes", "Ceiling of AP", "Perfect AP", "Perfect AP50", "Ground truth alone",
        "Suppressed", "Beyond the limit", "Without area",
    ]  # fmt: skip
    body = [
        columns(table(headers, rows), _ceiling_by_iou(answer)),
        heading("By class"),
        table(class_headers, by_class),
    ]
    if found.oracle_reasons:
        body.insert(0, message(" ".join(found.oracle_reasons), "warn"))
    else:
        body.append(
            paragraph(
                "The ground truth, sent through decoding, resize and evaluation as if it were "
                "detections, scores 1: what lies before and behind the model costs nothing."
            )
        )
    return Section(
        title="Ceilings",
        intro="How high each metric can be on the test set before anything is learnt: suppression lets "
        "no two boxes of a class stand that overlap too much, and of each image a limited number of "
        "detections is kept.",
        body=tuple(body),
    )


def _ceiling_by_iou(answer: Feasibility) -> Html:
    entries = answer.ceilings.ap_by_iou
    return bar_chart(
        [f"{entry.iou:.2f}" for entry in entries],
        {"AP at most": [entry.ap for entry in entries]},
        title="Ceiling of AP by the IoU that a match needs",
        y_label="AP",
        y_range=(0.0, 1.0),
    )


def _anchors(answer: Feasibility, experiment: ResolvedExperiment) -> Section:
    found, train = answer.anchors, answer.resize[0]
    settings = experiment.detector.anchors
    ratios = sorted(settings.aspect_ratios)
    body: list[Html] = [
        table(
            ["Class", "Size", "Boxes", "Best overlap, mean", "Anchor of 0.5 or more", "Trains one"],
            [_anchor_row(row) for row in found.rows if row.boxes],
        ),
        paragraph(
            f"{found.anchors_total:,} anchors an image: sides {_few(found.sides_px)} px, ratios "
            f"{', '.join(number(ratio) for ratio in ratios)}. Every box's best anchor is trained on "
            "it, unless another box has the same one; the last column counts that over "
            f"{plural(found.forced_images, 'image')}."
        ),
        _suggested(found),
        columns(
            histogram_chart(
                {
                    entry.name: _covering(entry.box_side_px, found.sides_px)
                    for entry in answer.class_sizes
                },
                title="Sizes of the training boxes, and the anchors' sides",
                x_label="square root of the area (px of the input)",
                log_x=True,
                vertical=[(side, "") for side in found.sides_px],
            ),
            histogram_chart(
                {fit.split: fit.box_side_px for fit in answer.resize},
                title="Sizes by split",
                x_label="square root of the area (px of the input)",
                log_x=True,
            ),
        ),
        columns(
            _shapes(train.width_by_height, "Width to height", ratios),
            _shapes(train.height_by_width, "Height to width", [1 / ratio for ratio in ratios]),
        ),
    ]
    return Section(
        title="Anchors and boxes",
        intro="A box that no anchor overlaps by half is learnt from its single best one, and badly. "
        "Everything is measured after the resize; upright lines are anchors.",
        body=tuple(body),
    )


def _covering(histogram: Histogram, values: Sequence[float]) -> Histogram:
    """Returns a histogram with empty bins at its ends, so that all the values lie inside."""
    edges, counts = list(histogram.edges), list(histogram.counts)
    if sum(counts) and values[0] < edges[0]:
        edges, counts = [values[0] * 0.8, *edges], [0, *counts]
    if sum(counts) and values[-1] > edges[-1]:
        edges, counts = [*edges, values[-1] * 1.25], [*counts, 0]
    return Histogram(edges=tuple(edges), counts=tuple(counts))


def _shapes(histogram: Histogram, title: str, ratios: Sequence[float]) -> Html:
    return histogram_chart(
        {"train": histogram},
        title=f"{title} of the training boxes",
        x_label=title.lower(),
        log_x=True,
        vertical=[(ratio, number(round(ratio, 2))) for ratio in sorted(ratios)],
    )


def _suggested(found: AnchorFit) -> Html:
    best = found.suggestion
    if best is None:
        return message("No anchors that can be configured fit clearly better.", "good")
    return message(
        f"{suggestion_words(found)} That is {difference(best.gain)} for {best.anchors_total:,} anchors "
        f"in place of {found.anchors_total:,}.",
        "warn",
    )


def _anchor_row(row: AnchorRecall) -> list[Cell]:
    name = row.class_name if row.class_name is not None else "all classes"
    return [
        name,
        row.size,
        row.boxes,
        row.mean_best_iou,
        percent(row.matched),
        percent(row.trained),
    ]


def _few(sides: Sequence[float]) -> str:
    shown = [f"{side:.0f}" for side in sides]
    if len(shown) <= _MARKS_SHOWN:
        return ", ".join(shown)
    return f"{shown[0]} to {shown[-1]} in {len(shown)} steps"


def _resize(fits: Sequence[ResizeFit]) -> Section:
    rows: list[list[Cell]] = [
        [
            fit.split,
            fit.images,
            fit.mean_scale,
            percent(fit.padding_share),
            fit.reduced,
            fit.enlarged,
            fit.boxes,
            fit.tiny_boxes,
            fit.most_boxes,
            fit.crowded_images,
        ]
        for fit in fits
    ]
    tiny = number(fits[0].tiny_side_px)
    headers = [
        "Split", "Images", "Mean scale", "Padding", "Reduced", "Enlarged", "Boxes",
        f"A side below {tiny} px", "Most in an image", "Images with too many",
    ]  # fmt: skip
    return Section(
        title="Resize",
        intro="What the way to the model's input makes of images and boxes, and whether the fullest "
        "image fits into what training and detection keep.",
        body=(table(headers, rows),),
    )


def _power(rules: Sequence[RuleFeasibility], *, images: int) -> Section:
    rows: list[list[Cell]] = [
        [
            rule.rule,
            rule.boxes,
            "interval" if rule.by_interval else "measured value",
            percent(rule.confidence, digits=0),
            rule.half_width,
            rule.detectable,
            rule.needed,
            rule.more_images,
        ]
        for rule in rules
        if rule.half_width is not None
    ]
    headers = [
        "Rule", "Boxes", "Judged by", "Confidence", "Known to within", "Shows from", "Holds from",
        "More images",
    ]  # fmt: skip
    return Section(
        title="What the test set can tell",
        intro=f"How far each number would move on {images:,} other images of the same kind, near what "
        "the rule asks for: from made-up detectors on the real ground truth, with the gate's own "
        "resampling. A true difference shows from the fourth number on, four times of five.",
        body=(
            table(headers, rows, empty="No rule has a number that can be told beforehand."),
            paragraph(
                "Known to within: half the interval's width. Holds from: the value that must be "
                "measured for the whole interval to lie above the threshold. More images: until the "
                "interval is as narrow as the difference asked for."
            ),
        ),
    )


def _configuration(experiment: ResolvedExperiment) -> Section:
    training = experiment.training
    epochs = training.steps * training.batch_size / max(1, experiment.train_images)
    words = (
        f"{training.steps:,} steps of {training.batch_size} images, {epochs:.1f} times each of "
        f"{experiment.train_images:,}; digest {experiment.fingerprint()[:16]}."
    )
    model = model_section(experiment.detector)
    return Section(
        title="What would be trained",
        body=(*model.body, paragraph(words), settings_table(experiment)),
    )


def _findings(answer: Feasibility) -> Section:
    if not answer.findings:
        return Section(title="Findings", body=(paragraph("Settings and data fit: there is none."),))
    rows: list[list[Cell]] = []
    places: list[Html] = []
    for name, found in by_code(answer.findings).items():
        first, count = found[0], answer.counts[name]
        rows.append(
            [badge(first.severity, _TONES[first.severity]), code(name), BY_CODE[name].what, count]
        )
        places.append(details(f"{name}: {count:,}", paragraph(BY_CODE[name].why), _places(found)))
    return Section(
        title="Findings",
        intro="Severities can be changed under dataset.severities.",
        body=(table(["Severity", "Code", "What", "Count"], rows), *places),
    )


def _places(found: Sequence[Finding]) -> Html:
    rows: list[list[Cell]] = [
        [f.split, code(f.file), f.record, f.source_id, f.seen, f.expected, f.remedy] for f in found
    ]
    headers = ["Split", "Where", "Record", "Source id", "Seen", "Expected", "Remedy"]
    return table(headers, rows)


def _three(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
