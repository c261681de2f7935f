"""Runs made by hand: configurations, trainings, records and folders of runs. No TensorFlow."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from kfdet.schema.dataset import ClassLabel, LabelMap
from kfdet.schema.detector_config import BackboneConfig, DetectorConfig
from kfdet.schema.gate_policy import ChampionRule, GatePolicy, GateRule
from kfdet.schema.metrics import METRIC_NAMES, ClassMetrics, CocoStatistics, Metrics
from kfdet.schema.run_config import DatasetConfig, RunConfig
from kfdet.schema.run_record import RUN_FILE, STAGES, RunRecord, StageRecord
from kfdet.schema.training import (
    CheckpointRef,
    CurvePoint,
    Ledger,
    LedgerEntry,
    ResolvedExperiment,
    TrainingSummary,
)
from kfdet.schema.training_config import LearningRateConfig, TrainingConfig
from kfdet.storage.documents import write_document

HOSTILE = '<script>alert("&")</script>'
DIGEST = hashlib.sha256(b"").hexdigest()


def statistics(value: float | None) -> CocoStatistics:
    return CocoStatistics(**dict.fromkeys(METRIC_NAMES, value))


def run_config(
    name: str = "shapes", *, steps: int = 300, batch_size: int = 16, peak: float = 0.003
) -> RunConfig:
    return RunConfig(
        name=name,
        dataset=DatasetConfig(label_map="labels.pbtxt", train=("t*",), val=("v*",), test=("e*",)),
        detector=DetectorConfig(
            input_size=(128, 128), max_level=5, backbone=BackboneConfig(model_id=10)
        ),
        training=TrainingConfig(
            steps=steps,
            batch_size=batch_size,
            checkpoint_every=100,
            learning_rate=LearningRateConfig(peak=peak),
        ),
        gate=GatePolicy(
            no_champion="pass",
            rules=(
                GateRule(metric="ap", at_least=0.5, champion=ChampionRule(max_drop=0.01)),
                GateRule(metric="ap50", class_name=HOSTILE, at_least=0.9),
            ),
        ),
    )


def training_summary(
    *, steps: int = 300, resumed_from: int = 0, points: int = 30
) -> TrainingSummary:
    curve = tuple(
        CurvePoint(
            step=(k + 1) * steps // points,
            loss=0.4 + 3 * math.exp(-k / 8),
            class_loss=0.2 + math.exp(-k / 8),
            box_loss=0.004 + 0.02 * math.exp(-k / 8),
            learning_rate=0.003 * (1 - k / points),
            steps_per_s=20.0 + k % 3,
        )
        for k in range(points)
    )
    checkpoints = tuple(
        CheckpointRef(step=step, uri=f"models/a/ckpt-{step}", digest=DIGEST)
        for step in range(100, steps + 1, 100)
    )
    return TrainingSummary(
        model_dir="models/my model",
        experiment_digest=DIGEST,
        steps=steps,
        images_per_step=16,
        parameters=1_234_567,
        device="CPU (2 cores)",
        resumed_from=resumed_from,
        train_time_s=41.2,
        curve=curve,
        checkpoints=checkpoints,
    )


def ledger(*aps: float | None) -> Ledger:
    entries = tuple(
        LedgerEntry(
            checkpoint=CheckpointRef(step=100 * k, uri=f"models/a/ckpt-{100 * k}", digest=DIGEST),
            metrics=statistics(ap),
            evaluation_time_s=2.3,
        )
        for k, ap in enumerate(aps, start=1)
    )
    best = max(range(len(aps)), key=lambda k: (aps[k] or 0.0, -k))
    return Ledger(split_digest=DIGEST, metric="ap", entries=entries, best_step=100 * (best + 1))


def resolved_experiment(*, class_name: str = "circle") -> ResolvedExperiment:
    config = run_config()
    return ResolvedExperiment(
        experiment="retinanet",
        detector=config.detector,
        training=config.training,
        label_map=LabelMap(classes=(ClassLabel(id=1, name=class_name),)),
        train_digest=DIGEST,
        train_images=400,
        params={},
    )


def run_metrics(ap: float, *, split_digest: str = DIGEST, classes: tuple[str, ...] = ()) -> Metrics:
    return Metrics(
        engine="hotcoco",
        engine_version="1.3.0",
        split="test",
        split_digest=split_digest,
        checkpoint_digest=DIGEST,
        images=100,
        boxes=250,
        detections=900,
        shards=2,
        overall=statistics(ap),
        classes=tuple(
            ClassMetrics(
                id=k,
                name=name,
                boxes=50,
                images=40,
                detections=90,
                metrics=statistics(ap),
                curves=(),
            )
            for k, name in enumerate(classes, start=1)
        ),
    )


def run_record(
    config: RunConfig | None = None,
    *,
    verdict: str | None = "pass",
    failed: str | None = None,
    outputs: dict[str, dict[str, object]] | None = None,
) -> RunRecord:
    """A run in which every stage is done, or all those before the failed one."""
    config = config or run_config()
    ran = STAGES.index(failed) if failed else len(STAGES)
    if not failed and verdict != "pass":
        ran = STAGES.index("export")
    stages = tuple(
        StageRecord(
            stage=stage,
            status="failed" if stage == failed else "done" if k < ran else "skipped",
            time_s=1.5 * k if k <= ran else 0.0,
            key_figure=f"{stage} key figure {HOSTILE}" if k <= ran else "",
            report=f"reports/{stage}.html" if k < ran else None,
            outputs=(outputs or {}).get(stage, {}),
        )
        for k, stage in enumerate(STAGES)
    )
    passed = verdict == "pass" and not failed
    return RunRecord(
        name=config.name,
        kfdet_version="0.1.0",
        started="2025-01-17T12:00:00+00:00",
        time_s=95.6,
        config=config,
        data_digests={"train": DIGEST, "val": DIGEST, "test": DIGEST},
        stages=stages,
        verdict=None if failed else verdict,
        reasons=() if failed else (f"ap 0.82 against 0.5 {HOSTILE}",),
        published_version=3 if passed else None,
        error=f"stage {failed}: {HOSTILE}" if failed else None,
    )


def write_run(
    folder: Path,
    config: RunConfig,
    *,
    ap: float = 0.8,
    split_digest: str = DIGEST,
    classes: tuple[str, ...] = ("circle", "square"),
) -> Path:
    """Writes the folder of a run that passed."""
    artifacts = folder / "artifacts"
    documents = {
        "train": ("summary", training_summary(steps=config.training.steps)),
        "select": ("ledger", ledger(ap - 0.2, ap - 0.1, ap)),
        "merge": ("metrics_json", run_metrics(ap, split_digest=split_digest, classes=classes)),
    }
    outputs: dict[str, dict[str, object]] = {}
    for stage, (name, document) in documents.items():
        write_document(artifacts / stage / name, document)
        outputs[stage] = {name: str(artifacts / stage / name)}
    write_document(folder / RUN_FILE, run_record(config, outputs=outputs))
    return folder
