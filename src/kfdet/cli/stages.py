"""One verb a stage: the same functions that the components call, on files in a folder."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from pathlib import Path
from typing import Any

from kfdet.cli.output import VERDICT_EXIT_CODES, answer, faults_answered
from kfdet.errors import UsageError
from kfdet.progress import Progress
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DiagnosisConfig, ParityConfig
from kfdet.storage.run_config import read_diagnosis, read_measurement, read_policy, read_run_config


def _run(stage: str, arguments: argparse.Namespace, **inputs: Any) -> Any:
    """Runs a stage and prints its result with the paths that it wrote."""
    run = importlib.import_module(f"kfdet.stages.{stage}").run
    progress = Progress.from_environment(stage)
    result = run(**inputs, progress=progress)
    told = _flat(dataclasses.asdict(result))
    written = {
        # The gate tells a decision, and writes one.
        f"{name}_file" if name in told else name: str(path)
        for name, path in inputs.items()
        if _is_written(path, arguments.out)
    }
    answer(told | written, as_json=arguments.json)
    return result


def _is_written(value: Any, out: str) -> bool:
    return isinstance(value, Path) and value.is_relative_to(out)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if hasattr(value, "model_dump"):
            flat |= _flat(value.model_dump())
        elif name == "more":
            flat |= value
        else:
            flat[name] = value
    return flat


def fingerprint(arguments: argparse.Namespace) -> None:
    from kfdet.stages import fingerprint as stage

    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    result = stage.run(dataset=config.dataset, progress=Progress("fingerprint", quiet=True))
    answer({"data_digest": result.data_digest, **result.digests}, as_json=arguments.json)


def warmstart(arguments: argparse.Namespace) -> None:
    from kfdet.stages import warmstart as stage

    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    result = stage.run(
        detector=config.detector,
        training=config.training,
        model_root=arguments.model_root,
        registry=arguments.registry,
        model=config.registry.model or config.name,
        manifest=Path(arguments.manifest),
        progress=Progress("warmstart"),
    )
    answer(
        {
            "init_checkpoint": result.training.init_checkpoint or "none",
            "init_modules": ", ".join(result.training.init_modules),
            "version": result.version,
        },
        as_json=arguments.json,
    )


def examine(arguments: argparse.Namespace) -> None:
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    number, total = arguments.group, arguments.num_groups
    _run(
        "examine",
        arguments,
        dataset=config.dataset,
        group=number,
        num_groups=total,
        out=Path(arguments.out) / f"group-{number:05d}-of-{total:05d}",
    )


def validate(arguments: argparse.Namespace) -> None:
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    out = Path(arguments.out)
    written = {
        "findings": out / "findings.json",
        "quarantine": out / "quarantine.json",
        "report": out / "report.html",
    }
    with faults_answered(as_json=arguments.json, written=written):
        _run(
            "validate",
            arguments,
            dataset=config.dataset,
            groups=[Path(group) for group in arguments.groups],
            readers=config.evaluation.shards,
            manifest=out / "manifest.json",
            statistics=out / "statistics.json",
            **written,
        )


def render(arguments: argparse.Namespace) -> None:
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    out = Path(arguments.out)
    _run(
        "render",
        arguments,
        detector=config.detector,
        training=config.training,
        manifest=Path(arguments.manifest),
        statistics=Path(arguments.statistics),
        experiment=out / "experiment.json",
        experiment_yaml=out / "experiment.yaml",
        report=out / "report.html",
    )


def train(arguments: argparse.Namespace) -> None:
    out = Path(arguments.out)
    _run(
        "train",
        arguments,
        experiment=Path(arguments.experiment),
        manifest=Path(arguments.manifest),
        model_root=arguments.model_root,
        summary=out / "summary.json",
        report=out / "report.html",
    )


def select(arguments: argparse.Namespace) -> None:
    if bool(arguments.summary) == bool(arguments.follow):
        raise UsageError("give exactly one of --summary and --follow", where="kfdet select")
    out = Path(arguments.out)
    _run(
        "select",
        arguments,
        experiment=Path(arguments.experiment),
        manifest=Path(arguments.manifest),
        summary=Path(arguments.summary) if arguments.summary else None,
        follow=arguments.follow or None,
        metric=arguments.metric,
        batch_size=arguments.batch_size,
        engine=arguments.engine,
        config=_measurement(arguments.evaluation),
        ledger=out / "ledger.json",
        report=out / "report.html",
    )


def evaluate(arguments: argparse.Namespace) -> None:
    from kfdet.storage.exports import model_digest

    _run(
        "evaluate",
        arguments,
        experiment=Path(arguments.experiment),
        manifest=Path(arguments.manifest),
        checkpoint=arguments.checkpoint,
        checkpoint_digest=model_digest(arguments.checkpoint),
        split=arguments.split,
        shard=arguments.shard,
        num_shards=arguments.num_shards,
        batch_size=arguments.batch_size,
        out=Path(arguments.out) / f"shard-{arguments.shard:05d}-of-{arguments.num_shards:05d}",
    )


def merge(arguments: argparse.Namespace) -> None:
    out = Path(arguments.out)
    _run(
        "merge",
        arguments,
        shards=[Path(shard) for shard in arguments.shards],
        manifest=Path(arguments.manifest),
        split=arguments.split,
        engine=arguments.engine,
        config=_measurement(arguments.evaluation),
        diagnosis=_diagnosis(arguments.diagnosis),
        feasibility=Path(arguments.feasibility) if arguments.feasibility else None,
        metrics=out / "metrics.json",
        evidence=out / "evidence",
        report=out / "report.html",
    )


def metrics(arguments: argparse.Namespace) -> None:
    out = Path(arguments.out)
    _run(
        "metrics",
        arguments,
        ground_truth=Path(arguments.ground_truth),
        detections=Path(arguments.detections),
        images=Path(arguments.images) if arguments.images else None,
        split=arguments.split,
        engine=arguments.engine,
        config=_measurement(arguments.evaluation),
        diagnosis=_diagnosis(arguments.diagnosis),
        metrics=out / "metrics.json",
        evidence=out / "evidence",
        report=out / "report.html",
    )


def champion(arguments: argparse.Namespace) -> None:
    _run(
        "champion",
        arguments,
        policy=read_policy(Path(arguments.policy)),
        registry=arguments.registry,
        model=arguments.model,
        split=arguments.split,
        config=_measurement(arguments.evaluation),
        manifest=Path(arguments.manifest),
        selected=Path(arguments.out) / "selected.json",
    )


def record(arguments: argparse.Namespace) -> None:
    _run(
        "record",
        arguments,
        registry=arguments.registry,
        model=arguments.model,
        metrics=Path(arguments.metrics),
        evidence=Path(arguments.metrics).parent / "evidence",
    )


def gate(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out)
    policy = read_policy(Path(arguments.policy))
    if not arguments.model and any(rule.champion for rule in policy.rules):
        raise UsageError(
            "rules compare with the champion",
            where="--model",
            expected="the name of the model in the registry",
        )
    result = _run(
        "gate",
        arguments,
        metrics=Path(arguments.metrics),
        evidence=_evidence_beside(arguments.metrics),
        policy=policy,
        registry=arguments.registry,
        model=arguments.model or "unnamed",
        decision=out / "decision.json",
        report=out / "report.html",
    )
    return VERDICT_EXIT_CODES[result.decision] if arguments.exit_code else 0


def export(arguments: argparse.Namespace) -> None:
    from kfdet.storage.checkpoints import checkpoint_digest, checkpoint_step

    out = Path(arguments.out)
    _run(
        "export",
        arguments,
        experiment=Path(arguments.experiment),
        manifest=Path(arguments.manifest),
        checkpoint=arguments.checkpoint,
        checkpoint_digest=checkpoint_digest(arguments.checkpoint),
        checkpoint_step=checkpoint_step(arguments.checkpoint),
        parity=ParityConfig(images=arguments.images),
        export_root=arguments.export_root or arguments.out,
        export_manifest=out / "export.json",
        report=out / "report.html",
    )


def publish(arguments: argparse.Namespace) -> None:
    _run(
        "publish",
        arguments,
        export_uri=arguments.export,
        decision=Path(arguments.decision),
        metrics=Path(arguments.metrics),
        evidence=_evidence_beside(arguments.metrics),
        registry=arguments.registry,
        model=arguments.model,
        run_name=arguments.run_name,
        version=Path(arguments.out) / "version.json",
    )


def _measurement(path: str | None) -> MeasurementConfig:
    return read_measurement(Path(path)) if path else MeasurementConfig()


def _diagnosis(path: str | None) -> DiagnosisConfig:
    return read_diagnosis(Path(path)) if path else DiagnosisConfig()


def _evidence_beside(metrics: str) -> Path | None:
    folder = Path(metrics).parent / "evidence"
    return folder if folder.is_dir() else None
