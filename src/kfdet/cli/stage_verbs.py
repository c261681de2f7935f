"""What the verbs of single stages take, in the order of the pipeline."""

from __future__ import annotations

import argparse

from kfdet.cli.verbs import Verbs, add_verb

_EXPERIMENT = "experiment.json from render"
_MANIFEST = "manifest.json from validate"
_SPLITS = ("train", "val", "test")


def add_stage_verbs(verbs: Verbs) -> None:
    """Adds a verb for each stage."""
    _add_data_stages(verbs)
    _add_stages_before_training(verbs)
    _add_training_stages(verbs)
    _add_measuring_stages(verbs)
    _add_champion_stages(verbs)
    _add_release_stages(verbs)


def _add_data_stages(verbs: Verbs) -> None:
    add_verb(
        verbs,
        "fingerprint",
        "name a data set by its bytes",
        handler="kfdet.cli.stages:fingerprint",
        config=True,
    )
    examine = _stage(verbs, "examine", "check the records of one group of shards", config=True)
    examine.add_argument("--group", type=int, default=0, metavar="K", help="default: 0")
    examine.add_argument("--num-groups", type=int, default=1, metavar="N", help="default: 1")
    validate = _stage(verbs, "validate", "check every record of a data set", config=True)
    validate.add_argument(
        "--groups",
        metavar="GROUP",
        nargs="+",
        default=[],
        help="folders of all the groups from examine; records are then not read again",
    )


def _add_stages_before_training(verbs: Verbs) -> None:
    warmstart = add_verb(
        verbs,
        "warmstart",
        "say what a training that starts from the champion begins with",
        handler="kfdet.cli.stages:warmstart",
        config=True,
    )
    _add_inputs(warmstart, manifest=_MANIFEST)
    _add_model_root(warmstart)
    warmstart.add_argument("--registry", metavar="DIR", default="registry")

    render = _stage(verbs, "render", "render the configuration into an experiment", config=True)
    _add_inputs(render, manifest=_MANIFEST, statistics="statistics.json from validate")

    check = add_verb(
        verbs,
        "check",
        "say before any training whether data and configuration can reach the gate",
        handler="kfdet.cli.check:check",
        config=True,
        out="out/check",
    )
    check.add_argument(
        "--no-timing", action="store_true", help="measure no training steps: seconds, no TensorFlow"
    )
    check.add_argument(
        "--exit-code", action="store_true", help="end with 22 when the gate can't be reached"
    )


def _add_training_stages(verbs: Verbs) -> None:
    train = _stage(verbs, "train", "train, or resume training")
    _add_inputs(train, experiment=_EXPERIMENT, manifest=_MANIFEST)
    _add_model_root(train)

    select = _stage(verbs, "select", "evaluate every checkpoint on val and choose the best")
    _add_inputs(select, experiment=_EXPERIMENT, manifest=_MANIFEST)
    select.add_argument("--summary", metavar="FILE", help="summary.json from train")
    select.add_argument(
        "--follow",
        metavar="MODEL_DIR",
        help="beside a running training: evaluate each checkpoint as it appears",
    )
    select.add_argument("--metric", default="ap", help="val metric that chooses (default: ap)")
    _add_batch_size(select)
    _add_engine(select)
    _add_evaluation(select)


def _add_measuring_stages(verbs: Verbs) -> None:
    evaluate = _stage(verbs, "evaluate", "run a checkpoint over one shard of a split")
    _add_inputs(evaluate, experiment=_EXPERIMENT, manifest=_MANIFEST)
    _add_checkpoint(evaluate, "without .index, or folder of an export or of a version")
    evaluate.add_argument("--split", choices=_SPLITS, default="test")
    evaluate.add_argument("--shard", type=int, default=0, metavar="K", help="default: 0")
    evaluate.add_argument("--num-shards", type=int, default=1, metavar="N", help="default: 1")
    _add_batch_size(evaluate)

    merge = _stage(verbs, "merge", "merge the shards' detections into exact metrics")
    merge.add_argument("shards", metavar="SHARD", nargs="+", help="folders from evaluate")
    _add_inputs(merge, manifest=_MANIFEST)
    merge.add_argument("--split", choices=_SPLITS, default="test")

    metrics = _stage(verbs, "metrics", "compute metrics of any detector from COCO files")
    files = {
        "ground-truth": "COCO instances",
        "detections": "COCO results: image_id, category_id, bbox, score",
    }
    _add_inputs(metrics, **files)
    metrics.add_argument(
        "--images", metavar="DIR", help="folder of the images, for pictures in the report"
    )
    metrics.add_argument(
        "--split",
        choices=_SPLITS,
        default="test",
        help="what the metrics say of themselves (default: test)",
    )
    for parser in (merge, metrics):
        _add_engine(parser)
        parser.add_argument(
            "--diagnosis",
            metavar="FILE",
            help="when the report gives advice: YAML, or a run configuration",
        )
    merge.add_argument(
        "--feasibility", metavar="FILE", help="feasibility.json from check, for advice on ceilings"
    )
    for parser in (merge, metrics):
        _add_evaluation(parser)


def _add_champion_stages(verbs: Verbs) -> None:
    champion = _stage(
        verbs, "champion", "say whether the champion must be measured on these images"
    )
    _add_inputs(champion, manifest=_MANIFEST)
    champion.add_argument("--split", choices=_SPLITS, default="test")
    _add_evaluation(champion)
    _add_policy(champion)
    _add_registry(champion)

    record = _stage(
        verbs, "record", "keep what the champion scored on other images, or by other settings"
    )
    _add_inputs(
        record, metrics="metrics.json of the champion's export, with its evidence beside it"
    )
    _add_registry(record)


def _add_release_stages(verbs: Verbs) -> None:
    gate = _stage(verbs, "gate", "hold metrics against a policy and the champion")
    gate.add_argument("metrics", metavar="METRICS", help="metrics.json from merge or metrics")
    _add_policy(gate)
    gate.add_argument(
        "--exit-code", action="store_true", help="end with 20 or 21 when it does not pass"
    )
    _add_registry(gate, model_required=False)

    export = _stage(verbs, "export", "export a checkpoint and prove that it answers alike")
    _add_inputs(export, experiment=_EXPERIMENT, manifest=_MANIFEST)
    _add_checkpoint(export, "without .index")
    export.add_argument("--images", type=int, default=32, help="test images compared (32)")
    export.add_argument(
        "--export-root", metavar="DIR", help="folder of exports, or gs:// (default: that of --out)"
    )

    publish = _stage(verbs, "publish", "publish an export as the new champion")
    publish.add_argument("export", metavar="EXPORT", help="folder of the export")
    _add_inputs(publish, decision="decision.json from gate", metrics="metrics.json from merge")
    publish.add_argument("--run-name", default="by hand", help="noted in the version's record")
    _add_registry(publish)


def _stage(
    verbs: Verbs, name: str, summary: str, *, config: bool = False
) -> argparse.ArgumentParser:
    handler = f"kfdet.cli.stages:{name}"
    return add_verb(verbs, name, summary, handler=handler, config=config, out=f"out/{name}")


def _add_inputs(parser: argparse.ArgumentParser, **files: str) -> None:
    for name, summary in files.items():
        parser.add_argument(f"--{name}", metavar="FILE", required=True, help=summary)


def _add_model_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-root", metavar="DIR", default="models", help="or gs:// (default: models)"
    )


def _add_checkpoint(parser: argparse.ArgumentParser, summary: str) -> None:
    parser.add_argument("--checkpoint", metavar="PREFIX", required=True, help=summary)


def _add_batch_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=8, help="default: 8")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=("hotcoco", "pycocotools"), default="hotcoco")


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--evaluation",
        metavar="FILE",
        help="IoU thresholds, areas, counts and slices: YAML, or a run configuration",
    )


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy", metavar="FILE", required=True, help="gate policy, or a run configuration"
    )


def _add_registry(parser: argparse.ArgumentParser, *, model_required: bool = True) -> None:
    parser.add_argument("--registry", metavar="DIR", default="registry", help="or gs://")
    parser.add_argument("--model", metavar="NAME", required=model_required, default="")
