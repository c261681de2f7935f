"""The front page of a run: the verdict, the picture of the pipeline, and the way to everything else."""

from __future__ import annotations

from collections.abc import Sequence

from kfdet.core.run_comparison import flatten
from kfdet.report.dag import run_dag
from kfdet.report.markup import join, tag
from kfdet.report.page import (
    Cell,
    Html,
    Section,
    Tile,
    Tone,
    badge,
    bounded,
    bullets,
    code,
    columns,
    details,
    link,
    listing,
    message,
    page,
    paragraph,
    properties,
    table,
)
from kfdet.report.wording import duration, number
from kfdet.schema.gate_policy import GateRule
from kfdet.schema.metrics import Metrics
from kfdet.schema.run_record import (
    RUN_FILE,
    RunRecord,
    StageRecord,
    StageStatus,
    loop_tasks,
)
from kfdet.wording import plural

_VERDICTS: dict[str, tuple[str, Tone, str]] = {
    "pass": ("pass", "good", "The model passed the gate."),
    "fail": ("fail", "bad", "The model did not pass the gate."),
    "insufficient_evidence": (
        "insufficient evidence", "warn", "The gate could not tell: the model was not let out.",
    ),
}  # fmt: skip
_STATUSES: dict[StageStatus, tuple[str, Tone]] = {
    "done": ("done", "good"), "cached": ("from cache", "neutral"), "failed": ("failed", "bad"),
    "skipped": ("skipped", "neutral"),
}  # fmt: skip
_DIGEST_SHOWN = 16


def build(
    record: RunRecord, *, metrics: Metrics | None = None, files: Sequence[tuple[str, str]] = ()
) -> str:
    """Returns the front page of a run as one HTML document.

    Args:
        record: What the run did.
        metrics: The candidate's metrics on the test split, when the run got that far.
        files: What else lies in the run's folder: what it is, and its path relative to the page.
    """
    sections = [
        _verdict(record),
        _pipeline(record),
        _stages(record.stages),
        _outputs(record, files),
        _configuration(record),
    ]
    return page(
        title=record.name,
        subtitle=f"run of {_date(record.started)}, {duration(record.time_s)}, kfdet {record.kfdet_version}",
        status=run_status(record),
        tiles=_tiles(record, metrics),
        sections=sections,
    )


def run_status(record: RunRecord) -> tuple[str, Tone]:
    """Returns how a run ended in a word or two: its verdict, or what broke it off."""
    if record.error:
        failed = next((stage.stage for stage in record.stages if stage.status == "failed"), "")
        return (f"{failed} failed" if failed else "broke off"), "bad"
    words, tone, _ = _VERDICTS.get(record.verdict or "", ("no verdict", "bad", ""))
    return words, tone


def _tiles(record: RunRecord, metrics: Metrics | None) -> list[Tile]:
    key_figures = {
        stage.stage: stage.key_figure
        for stage in record.stages
        if stage.status in ("done", "cached")
    }
    tiles = []
    if metrics:
        hint = f"{plural(metrics.images, 'image')}, {plural(metrics.boxes, 'box', 'boxes')}"
        tiles.append(Tile(label="Test ap", value=_fraction(metrics.overall.ap), hint=hint))
        tiles.append(Tile(label="Test ap50", value=_fraction(metrics.overall.ap50)))
    elif "merge" in key_figures:
        tiles.append(Tile(label="Test set", value=key_figures["merge"]))
    labels = {"validate": "Data", "select": "Selected checkpoint"}
    tiles += [
        Tile(label=label, value=key_figures[stage])
        for stage, label in labels.items()
        if stage in key_figures
    ]
    if record.published_version is not None:
        tiles.append(
            Tile(label="Published", value=f"version {record.published_version}", hint=_model(record), tone="good")
        )  # fmt: skip
    failed = [stage.stage for stage in record.stages if stage.status == "failed"]
    if failed:
        tiles.append(Tile(label="Failed", value=", ".join(failed), tone="bad"))
    reused = sum(stage.status == "cached" for stage in record.stages)
    hint = f"{plural(reused, 'stage')} from the cache" if reused else ""
    return [*tiles, Tile(label="Time", value=duration(record.time_s), hint=hint)]


def _verdict(record: RunRecord) -> Section:
    body: list[Html] = []
    if record.verdict:
        _, tone, sentence = _VERDICTS[record.verdict]
        if record.published_version is not None:
            sentence += f" It is published as {_model(record)} version {record.published_version}."
        body.append(message(sentence, tone))
        body.append(bullets(record.reasons))
    if record.error:
        body.append(message(record.error, "bad"))
    if not record.verdict:
        body.append(paragraph("The run ended before the gate could decide; nothing was let out."))
    return Section(title="Verdict", body=tuple(body))


def _pipeline(record: RunRecord) -> Section:
    version = record.published_version
    registry = "unchanged" if version is None else f"version {version} is champion"
    picture = run_dag(record.stages, tasks=loop_tasks(record.config), registry=registry)
    return Section(title="Pipeline", intro="A stage with a report opens it.", body=(picture,))


def _stages(stages: Sequence[StageRecord]) -> Section:
    rows: list[list[Cell]] = [
        [
            stage.stage,
            badge(*_STATUSES[stage.status]),
            duration(stage.time_s) if stage.status in ("done", "failed") else None,
            stage.key_figure or None,
            link("open", stage.report) if stage.report else None,
        ]
        for stage in stages
    ]
    return Section(
        title="Stages", body=(table(["stage", "status", "time", "result", "report"], rows),)
    )


def _outputs(record: RunRecord, files: Sequence[tuple[str, str]]) -> Section:
    outputs = {name: value for stage in record.stages for name, value in stage.outputs.items()}
    names = {
        "model_dir": "checkpoints and TensorBoard events",
        "checkpoint": "selected checkpoint",
        "export_uri": "exported SavedModel",
    }
    where: dict[str, str | Html | float | int | None] = {
        words: code(str(outputs[name])) for name, words in names.items() if outputs.get(name)
    }
    if record.published_version is not None:
        where["registry"] = code(f"{record.config.registry.uri}/{_model(record)}, version {record.published_version}")  # fmt: skip
    beside = [link(words, path) for words, path in [("run record", RUN_FILE), *files]]
    where["in this folder"] = listing(beside)
    return Section(title="Outputs", body=(properties(where),))


def _configuration(record: RunRecord) -> Section:
    config = record.config
    detector, training = config.detector, config.training
    rate = training.learning_rate
    left = properties(
        {
            "train": code(" ".join(config.dataset.train)),
            "val": code(" ".join(config.dataset.val)),
            "test": code(" ".join(config.dataset.test)),
            "label map": code(config.dataset.label_map),
            **{
                f"{split.replace('_', ' ')} digest": code(digest[:_DIGEST_SHOWN])
                for split, digest in record.data_digests.items()
            },
        }
    )
    right = properties(
        {
            "experiment": detector.experiment,
            "input": f"{detector.input_size[0]} x {detector.input_size[1]} px",
            "backbone": f"ResNet-{detector.backbone.model_id}, width {detector.backbone.depth_multiplier:g}"
            if detector.experiment == "retinanet"
            else "the experiment's own",
            "steps": f"{training.steps:,} of {plural(training.batch_size, 'image')}",
            "learning rate": f"{number(rate.peak)}, {rate.schedule}, {rate.warmup_steps:,} steps of warm-up",
            "validation": plural(config.validation.groups, "group"),
            "evaluation": f"{plural(config.evaluation.shards, 'shard')}, {config.evaluation.engine}",
            "gate": join([bounded(_rule(rule)) for rule in config.gate.rules], separator=tag("br")),
        }
    )
    rows: list[list[Cell]] = [
        [code(key), "" if value is None else str(value)]
        for key, value in flatten(config.model_dump(mode="json")).items()
    ]
    everything = details("Every setting", table(["setting", "value"], rows))
    return Section(title="Configuration", body=(columns(left, right), everything))


def _rule(rule: GateRule) -> str:
    """Returns a rule in words."""
    subject = f'{rule.metric} of "{rule.class_name}"' if rule.class_name else rule.metric
    parts = []
    if rule.at_least is not None:
        parts.append(f"at least {number(rule.at_least)}")
    if rule.champion and rule.champion.max_drop is not None:
        parts.append(f"at most {number(rule.champion.max_drop)} below the champion")
    if rule.champion and rule.champion.min_gain is not None:
        parts.append(f"at least {number(rule.champion.min_gain)} above the champion")
    return f"{subject}: {' and '.join(parts)}"


def _model(record: RunRecord) -> str:
    return record.config.registry.model or record.config.name


def _fraction(value: float | None) -> str:
    return number(None) if value is None else f"{value:.3f}"


def _date(started: str) -> str:
    """2025-01-17T12:00:00+00:00 is read as 2025-01-17 12:00."""
    return started[:16].replace("T", " ")
