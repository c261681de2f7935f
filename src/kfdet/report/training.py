"""The page of a training: curves, speed, checkpoints, and how to look closer."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kfdet.report.charts import Series, line_chart
from kfdet.report.page import (
    Cell,
    Html,
    Section,
    Tile,
    badge,
    code,
    code_block,
    columns,
    details,
    message,
    page,
    paragraph,
    properties,
    table,
)
from kfdet.report.wording import duration, number
from kfdet.schema.metrics import MetricName
from kfdet.schema.training import CurvePoint, Ledger, ResolvedExperiment, TrainingSummary
from kfdet.wording import plural

_TABLE_METRICS: tuple[MetricName, ...] = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")  # fmt: skip
_SMOOTHED_FROM = 300
_STRAIGHT_AXIS_UP_TO = 20
_WORTH_MORE_STEPS = 0.005
_DIGEST_SHOWN = 16


def build(
    summary: TrainingSummary,
    experiment: ResolvedExperiment,
    ledger: Ledger | None,
    metric: MetricName,
) -> str:
    """Returns the report of a training as one HTML document.

    Args:
        summary: What the training gave.
        experiment: What it was told.
        ledger: The checkpoints' metrics on val; None as long as they have not been measured.
        metric: The metric that chooses, when there is a ledger.
    """
    steps = plural(summary.steps, "step")
    batch = f"{plural(summary.images_per_step, 'image')} a step"
    title = "Training" if ledger is None else "Training and selection"
    status = "trained" if ledger is None else f"step {ledger.best_step:,} selected"
    sections = [
        *_selection(summary, ledger, metric),
        _curves(summary, box_weight=experiment.training.losses.box_weight),
        _pace_section(summary),
    ]
    return page(
        title=f"{title}: {experiment.experiment}",
        subtitle=f"{steps} of {batch} on {summary.device}, {plural(experiment.train_images, 'training image')}",
        status=(status, "good"),
        tiles=_tiles(summary, experiment, ledger, metric),
        sections=[*sections, _checkpoints(summary, ledger), _closer_look(summary, experiment)],
    )


def _tiles(
    summary: TrainingSummary,
    experiment: ResolvedExperiment,
    ledger: Ledger | None,
    metric: MetricName,
) -> list[Tile]:
    tiles = []
    if ledger:
        best = ledger.best.metrics.value(metric)
        tiles.append(
            Tile(
                label=f"Best val {metric}",
                value=number(best) if best is None else f"{best:.3f}",
                hint=f"step {ledger.best_step:,} of {summary.steps:,}",
                tone="warn" if best is None else "good",
            )
        )
    if summary.curve:
        first, last = summary.curve[0], summary.curve[-1]
        tiles.append(
            Tile(
                label="Last loss",
                value=number(last.loss),
                hint=f"from {number(first.loss)} at step {first.step:,}",
            )
        )
    epochs = summary.steps * summary.images_per_step / max(1, experiment.train_images)
    tiles += [
        Tile(label="Steps", value=f"{summary.steps:,}", hint=f"{epochs:.1f} passes over the data"),
        Tile(label="Training time", value=duration(summary.train_time_s), hint=_resumed(summary)),
        Tile(label="Speed", value=_pace(summary), hint=_images_per_s(summary)),
        Tile(label="Parameters", value=_millions(summary.parameters), hint=summary.device),
    ]
    return tiles


def _curves(summary: TrainingSummary, *, box_weight: float) -> Section:
    steps = [float(point.step) for point in summary.curve]
    total = [point.loss for point in summary.curve]
    resumed = [(float(summary.resumed_from), "resumed")] if summary.resumed_from else []
    series = [Series("total", steps, total)]
    if len(total) >= _SMOOTHED_FROM:
        series.append(Series("smoothed", steps, _smoothed(total)))
    boxes = [point.box_loss * box_weight for point in summary.curve]
    parts = [
        Series("class", steps, [point.class_loss for point in summary.curve]),
        Series(f"box, times its weight {number(box_weight)}", steps, boxes),
    ]
    together = line_chart(
        series,
        title="Total loss",
        x_label="step",
        y_label="loss",
        x_range=_all_steps(summary),
        vertical=resumed,
        log_y=_wide(total),
    )
    apart = line_chart(
        parts,
        title="Class and box loss",
        x_label="step",
        y_label="loss",
        x_range=_all_steps(summary),
        vertical=resumed,
        log_y=_wide([value for part in parts for value in part.known]),
    )
    intro = "What the optimiser minimised: class loss, weighted box loss and regularisation."
    return Section(title="Loss", intro=intro, body=(columns(together, apart),))


def _pace_section(summary: TrainingSummary) -> Section:
    steps = [float(point.step) for point in summary.curve]
    speeds = [point.steps_per_s for point in summary.curve]
    rate = line_chart(
        [Series("learning rate", steps, [point.learning_rate for point in summary.curve])],
        title="Learning rate",
        x_label="step",
        y_label="rate",
        x_range=_all_steps(summary),
    )
    speed = line_chart(
        [Series("speed", steps, speeds)],
        title="Speed",
        x_label="step",
        y_label="steps a second",
        x_range=_all_steps(summary),
        y_range=(0.0, max(speeds) * 1.1) if speeds and max(speeds) > 0 else None,
    )
    return Section(title="Learning rate and speed", body=(columns(rate, speed),))


def _selection(
    summary: TrainingSummary, ledger: Ledger | None, metric: MetricName
) -> list[Section]:
    if ledger is None:
        return []
    headline: list[MetricName] = ["ap", "ap50", "ap75"]
    first = _by_checkpoint(
        "Metrics on val by checkpoint",
        [metric, *(name for name in headline if name != metric)],
        summary,
        ledger,
    )
    second = _by_checkpoint(
        "The same by size of the objects", ["ap_small", "ap_medium", "ap_large"], summary, ledger
    )
    intro = (
        "Each checkpoint was measured on the validation split; the test split takes no part in it."
    )
    body = (_advice(ledger, metric), columns(first, second))
    return [Section(title="Selection", intro=intro, body=body)]


def _by_checkpoint(
    title: str, names: Sequence[MetricName], summary: TrainingSummary, ledger: Ledger
) -> Html:
    steps = [float(entry.checkpoint.step) for entry in ledger.entries]
    return line_chart(
        [Series(name, steps, [e.metrics.value(name) for e in ledger.entries]) for name in names],
        title=title,
        x_label="step",
        y_label="average precision" if all(n.startswith("ap") for n in names) else "metric",
        y_range=(0.0, 1.0),
        x_range=(0.0, max(float(summary.steps), *steps)),
        markers=True,
        vertical=[(float(ledger.best_step), "selected")],
    )


def _advice(ledger: Ledger, metric: MetricName) -> Html:
    """Says what the place of the best checkpoint means."""
    best = ledger.best.metrics.value(metric)
    if best is None:
        return message(f"{metric} is undefined on val: no ground truth defines it there.", "warn")
    if best == 0:
        return message(
            f"No checkpoint reaches a {metric} above 0: the model has learnt nothing that val shows. "
            "Check the classes and the boxes in the data report, then train longer.",
            "warn",
        )
    earlier = [e.metrics.value(metric) or 0.0 for e in ledger.entries[:-1]]
    if earlier and best - max(earlier) > _WORTH_MORE_STEPS:
        return message(f"The last checkpoint is the best by {metric}: more steps may still help.")
    last = ledger.entries[-1].metrics.value(metric)
    if last is not None and best - last > 0.02:
        return message(
            f"{metric} fell from {best:.3f} at step {ledger.best_step:,} to {last:.3f} at the end: "
            "fewer steps, more augmentation or a lower learning rate may keep what was gained."
        )
    if not earlier:
        return message(
            "There is one checkpoint only: a smaller checkpoint_every would show the course."
        )
    return message(f"{metric} has levelled off: more steps of the same would change little.")


def _checkpoints(summary: TrainingSummary, ledger: Ledger | None) -> Section:
    if ledger is None:
        rows: list[list[Cell]] = [
            [c.step, code(c.digest[:_DIGEST_SHOWN]), code(c.uri)] for c in summary.checkpoints
        ]
        body = table(["step", "digest", "files"], rows, empty="No checkpoint was written.")
        return Section(title="Checkpoints", intro="All of them are kept.", body=(body,))
    headers = ["step", "", *_TABLE_METRICS, "time", "digest"]
    marked = [i for i, e in enumerate(ledger.entries) if e.checkpoint.step == ledger.best_step]
    cells: list[list[Cell]] = [
        [
            entry.checkpoint.step,
            badge("selected", "good") if i in marked else Html(""),
            *(entry.metrics.value(name) for name in _TABLE_METRICS),
            duration(entry.evaluation_time_s),
            code(entry.checkpoint.digest[:8]),
        ]
        for i, entry in enumerate(ledger.entries)
    ]
    where = details(
        "Where the files are",
        table(
            ["step", "files"],
            [[e.checkpoint.step, code(e.checkpoint.uri)] for e in ledger.entries],
        ),
    )
    intro = (
        f"{plural(len(cells), 'checkpoint')} measured on val; the earliest of equals is selected."
    )
    return Section(
        title="Checkpoints", intro=intro, body=(table(headers, cells, marked=marked), where)
    )


def _closer_look(summary: TrainingSummary, experiment: ResolvedExperiment) -> Section:
    detector, training = experiment.detector, experiment.training
    facts = columns(
        properties(
            {
                "experiment": experiment.experiment,
                "input": f"{detector.input_size[0]} x {detector.input_size[1]} px",
                "levels": f"{detector.min_level} to {detector.max_level}",
                "classes": ", ".join(label.name for label in experiment.label_map.classes[:12])
                + (" …" if len(experiment.label_map.classes) > 12 else ""),
                "batch": plural(summary.images_per_step, "image"),
                "precision": training.precision,
                "seed": str(training.seed),
            }
        ),
        properties(
            {
                "device": summary.device,
                "resumed from": f"step {summary.resumed_from:,}"
                if summary.resumed_from
                else "not resumed",
                "model directory": code(summary.model_dir),
                "experiment digest": code(summary.experiment_digest[:_DIGEST_SHOWN]),
                "training data digest": code(experiment.train_digest[:_DIGEST_SHOWN]),
            }
        ),
    )
    command = code_block(f"tensorboard --logdir {shlex.quote(summary.model_dir)}")
    return Section(
        title="Details",
        body=(
            facts,
            paragraph("TensorBoard's events lie in the model directory. To open them:"),
            command,
        ),
    )


def _smoothed(values: Sequence[float]) -> list[float]:
    """Returns the mean over a window around each value, which does not lag behind as a running one."""
    reach = max(2, len(values) // 30)
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _wide(values: Sequence[float]) -> bool:
    """Returns whether a straight axis would press most of the curve flat."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > _STRAIGHT_AXIS_UP_TO


def _all_steps(summary: TrainingSummary) -> tuple[float, float]:
    return 0.0, float(max(1, summary.steps))


def _resumed(summary: TrainingSummary) -> str:
    return f"resumed at step {summary.resumed_from:,}" if summary.resumed_from else "in one go"


def _typical(curve: Sequence[CurvePoint]) -> float | None:
    """Returns the median speed: the first steps build the graph and say nothing."""
    speeds = sorted(point.steps_per_s for point in curve)
    return speeds[len(speeds) // 2] if speeds else None


def _pace(summary: TrainingSummary) -> str:
    typical = _typical(summary.curve)
    return f"{typical:.3g} steps/s" if typical is not None else number(None)


def _images_per_s(summary: TrainingSummary) -> str:
    typical = _typical(summary.curve)
    return f"{typical * summary.images_per_step:,.0f} images/s" if typical is not None else ""


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1_000_000 else f"{count:,}"
