"""Every page that kfdet writes, built by hand with one name in every place that a name can come to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from dataset_cases import QUIET, config_of, payload, sound_splits, write_dataset
from evaluation_cases import digest, label_map, random_data, shard_result, write_export
from feasibility_cases import DETECTOR, scattered
from PIL import Image
from run_cases import (
    ledger,
    resolved_experiment,
    run_config,
    run_metrics,
    run_record,
    training_summary,
)

from kfdet.core.advice import advise
from kfdet.core.coco import EvaluationData, canonical, metrics_document
from kfdet.core.feasibility.assess import Question, assess
from kfdet.core.gating import Champion, decide
from kfdet.core.label_map import contiguous
from kfdet.core.measurement import Measurement, measure
from kfdet.core.run_comparison import RunResults, compare_runs
from kfdet.core.validation.catalogue import severities
from kfdet.errors import DataError
from kfdet.report import compare, index, training
from kfdet.report.evaluation import evaluation_page
from kfdet.report.experiment import experiment_page
from kfdet.report.export import export_page
from kfdet.report.feasibility import feasibility_page
from kfdet.report.galleries import read_galleries
from kfdet.report.gate import gate_page
from kfdet.schema.dataset import Histogram, ImageSize, SplitStatistics, Statistics
from kfdet.schema.gate_policy import GatePolicy, GateRule
from kfdet.schema.metrics import MeasurementConfig, Metrics
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.stages import validate
from kfdet.storage.label_maps import write_label_map


def data_page(name: str, folder: Path) -> str:
    """Records, label map and ids of validate; findings of many codes, pictures, a chart."""
    hostile = {"source_id": [f"../../{name}".encode()], "filename": [name.encode()]}
    splits = sound_splits(3)
    splits["train"] += [
        payload(seed=90, object__class__text=[name.encode()], **hostile),
        payload(seed=91, format=[name.encode()], boxes=[(0.1, 0.1, 0.1, 0.5)], **hostile),
        payload(seed=92, encoded=[name.encode()], **hostile),
    ]
    splits["test"][0] = splits["train"][3]
    write_dataset(folder / "data", splits)
    write_label_map(folder / "data" / "label_map.pbtxt", contiguous(("cat", name)))
    out = folder / "out"
    out.mkdir()
    names = ("manifest", "statistics", "findings", "quarantine", "report")
    with contextlib.suppress(DataError):
        validate.run(
            dataset=config_of(folder / "data"), progress=QUIET, **{n: out / n for n in names}
        )
    return (out / "report").read_text(encoding="utf-8")


def measured(name: str) -> tuple[EvaluationData, Measurement, Metrics]:
    """A class, a feature with its value, every source id and every file of that name."""
    labels = label_map("circle", name, "triangle")
    data = canonical(random_data(1, images=30))
    images = replace(
        data.images,
        source_id=(name,) * 30,
        file=(f"../{name}",) * 30,
        features=tuple({name: (name, "other")[i % 2]} for i in range(30)),
    )
    data = replace(data, images=images)
    found = measure(data, label_map=labels, engine="hotcoco", config=MeasurementConfig())
    document = metrics_document(
        found.evaluation, data, shard_result(data, num_shards=2), label_map=labels,
        evidence_digest="e" * 64, details=found.details,
    )  # fmt: skip
    return data, found, document


def merge_page(name: str, folder: Path) -> str:
    """Evaluation with galleries, diagnosis and advice, of merge and of metrics."""
    _, found, document = measured(name)

    def read(file: str, record: int) -> Image.Image:
        if record % 3 == 0:
            raise DataError(f"{name} is gone", where=file)
        return Image.new("RGB", (300, 300), "green")

    return evaluation_page(
        document,
        found.diagnosis,
        read_galleries(found.diagnosis, read),
        advice=advise(document, config=DiagnosisConfig(low_recall=1.0, low_precision=1.0)),
    )


def gate_report(name: str, folder: Path) -> str:
    """A decision about a class of that name, with a champion that has it."""
    metrics = run_metrics(0.5, classes=("circle", name))
    policy = GatePolicy(
        no_champion="pass",
        rules=(
            GateRule(metric="ap50", class_name=name, at_least=0.99),
            GateRule.model_validate(
                {"metric": "ap", "class_name": name, "champion": {"max_drop": 0.1}}
            ),
        ),
    )
    champion = Champion(version=2, metrics=metrics, checkpoint_digest=digest(name))
    decision = decide(metrics, policy=policy, champion=champion)
    return gate_page(decision, metrics=metrics, champion=champion, model=name)


def check_report(name: str, folder: Path) -> str:
    """What can be said before training of a rule about that class."""
    labels = label_map("cat", name)
    experiment = resolved_experiment().model_copy(update={"label_map": labels})
    question = Question(
        detector=DETECTOR,
        training=experiment.training,
        policy=GatePolicy(rules=(GateRule(metric="ap50", class_name=name, at_least=0.9999),)),
        label_map=labels,
        severities=severities({}),
    )
    train = scattered(0, split="train", side=(50.0, 90.0), most=2)
    splits = {"train": train, "val": scattered(1, split="val"), "test": scattered(2)}
    answer = assess(question, splits, test_digest=digest("test"), estimates=None)
    return feasibility_page(answer, experiment)


def render_report(name: str, folder: Path) -> str:
    """An experiment whose overrides and whole configuration hold the name."""
    split = SplitStatistics(
        images=9, images_without_boxes=0, boxes=9, crowd_boxes=0, classes=(), formats={},
        image_sizes=(ImageSize(width_px=128, height_px=128, images=9),),
        box_side_px=Histogram(edges=(16.0, 32.0), counts=(9,)),
        box_aspect_ratio=Histogram(edges=(0.9, 1.1), counts=(9,)),
        boxes_per_image=Histogram(edges=(0.0, 5.0), counts=(9,)),
        brightness=Histogram(edges=(0.0, 255.0), counts=(9,)),
    )  # fmt: skip
    experiment = resolved_experiment(class_name=name).model_copy(
        update={"params": {"task": {name: name}}}
    )
    statistics = Statistics(train=split, val=split, test=split)
    return experiment_page(experiment, statistics=statistics, parameters=9, full=name)


def training_report(name: str, folder: Path) -> str:
    """A training and its selection, in a folder and on a device of that name."""
    summary = training_summary().model_copy(update={"model_dir": name, "device": name})
    return training.build(summary, resolved_experiment(class_name=name), ledger(0.3, 0.5), "ap")


def export_report(name: str, folder: Path) -> str:
    """An export with a class, a signature and a file of that name, in a folder of that name."""
    exported = write_export(folder / "export")
    files = tuple(file.model_copy(update={"path": f"../{name}"}) for file in exported.files)
    exported = exported.model_copy(
        update={
            "label_map": label_map("circle", name),
            "signatures": {name: name},
            "versions": {name: name},
            "files": files,
        }
    )
    return export_page(exported, exported.parity, folder=name)


def front_page(name: str, folder: Path) -> str:
    """The front page of a run with that name in settings, results, reasons and paths."""
    config = run_config()
    rules = (GateRule(metric="ap50", class_name=name, at_least=0.9),)
    dataset = config.dataset.model_copy(update={"label_map": name, "train": (f"../{name}",)})
    config = config.model_copy(
        update={"dataset": dataset, "gate": config.gate.model_copy(update={"rules": rules})}
    )
    record = run_record(config, outputs={"train": {"model_dir": f"../{name}"}})
    stages = tuple(one.model_copy(update={"key_figure": name}) for one in record.stages)
    record = record.model_copy(update={"stages": stages, "reasons": (name,), "error": name})
    return index.build(
        record, metrics=run_metrics(0.5, classes=(name,)), files=[(name, f"../{name}")]
    )


def comparison_page(name: str, folder: Path) -> str:
    """Two runs side by side, one of that name, with that class and with a setting that holds it."""
    runs = [
        RunResults(
            label=label,
            record=run_record(run_config(peak=peak)),
            summary=training_summary().model_copy(update={"device": name}),
            ledger=ledger(0.4, 0.5),
            metrics=run_metrics(0.5 + peak, classes=("circle", name)),
            notes=(name,),
        )
        for label, peak in (("a", 0.003), (name, 0.01))
    ]
    return compare.build(compare_runs(runs))


PAGES: Mapping[str, Callable[[str, Path], str]] = {
    "validate": data_page,
    "check": check_report,
    "render": render_report,
    "train": training_report,
    "merge": merge_page,
    "gate": gate_report,
    "export": export_report,
    "run": front_page,
    "compare": comparison_page,
}
