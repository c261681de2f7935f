"""The command line: what the verbs take, and how they end."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from kfdet import __version__
from kfdet.errors import KfdetError, did_you_mean
from kfdet.progress import INTERRUPTED

_DESCRIPTION = "Train TensorFlow object detectors and let only the good ones out."
_SCHEDULE = """\
Run on a cluster again and again. `kfdet schedule CONFIG --cron ...` is `kfdet schedule create`.
Each run names its data first: while they stay the same, everything up to the gate comes from the
cache, and nothing is published twice.
"""
_EPILOG = """\
exit codes: 0 done, 1 unexpected, 2 wrong usage, 10 bad data, 11 bad configuration,
20 gate says fail, 21 insufficient evidence, 22 gate out of reach (with --exit-code),
130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Answers a mistyped verb or option with the closest known one."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if "invalid choice: '" in message:
            word = message.split("invalid choice: '")[1].split("'")[0]
            choices = message.split("(choose from ")[-1].rstrip(")")
            hint = did_you_mean(word, [choice.strip(" '") for choice in choices.split(",")])
        elif "unrecognized arguments: " in message:
            word = message.split("unrecognized arguments: ")[1].split()[0].split("=")[0]
            hint = did_you_mean(word, _all_options(self) - {word})
        self.print_usage(sys.stderr)
        text = f"{self.prog}: {message}. {hint}".rstrip()
        print(f"{text}\nSee: {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


_Verbs: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _all_options(parser: argparse.ArgumentParser) -> set[str]:
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                options |= _all_options(verb)
    return options


def build_parser() -> _Parser:
    """Returns the whole command line; handlers are named, not imported."""
    parser = _Parser(
        prog="kfdet",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kfdet {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_run_verbs(verbs)
    _add_data_verbs(verbs)
    _add_stage_verbs(verbs)
    _add_model_verbs(verbs)
    _add_cluster_verbs(verbs)
    return parser


def _verb(
    verbs: _Verbs,
    name: str,
    summary: str,
    *,
    handler: str,
    config: bool = False,
    out: str | None = None,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:])
    parser.set_defaults(handler=handler)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON on stdout")
    if config:
        parser.add_argument("config", metavar="CONFIG", help="run configuration, YAML")
        _add_overrides(parser)
    if out:
        parser.add_argument("--out", metavar="DIR", default=out, help=f"folder (default: {out})")
    return parser


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override one key: training.steps=500 (repeatable)",
    )


def _add_run_verbs(verbs: _Verbs) -> None:
    run = _verb(
        verbs,
        "run",
        "run the whole pipeline on this machine",
        handler="kfdet.cli.run:run",
        config=True,
    )
    run.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/NAME)")
    run.add_argument(
        "--exit-code", action="store_true", help="end with 20 or 21 when the gate does not pass"
    )
    run.add_argument("--fresh", action="store_true", help="take no stage from the cache")
    run.add_argument(
        "--runner",
        choices=("process", "docker"),
        default="process",
        help="what a task runs as: a process, or a container of its image (default: process)",
    )

    compile_ = _verb(
        verbs,
        "compile",
        "compile the pipeline for a cluster",
        handler="kfdet.cli.compile:compile_verb",
    )
    compile_.add_argument(
        "--output", metavar="FILE", default="pipeline.yaml", help="default: pipeline.yaml"
    )
    compile_.add_argument(
        "--config", metavar="CONFIG", help="compile this run's, and write its parameters beside it"
    )
    _add_overrides(compile_)

    compare = _verb(
        verbs, "compare", "show runs side by side", handler="kfdet.cli.compare:compare_verb"
    )
    compare.add_argument("runs", metavar="RUN", nargs="+", help="folders of runs")
    compare.add_argument("--html", metavar="FILE", help="also write the comparison as a page")


def _add_data_verbs(verbs: _Verbs) -> None:
    data = verbs.add_parser("data", help="make or convert data sets")
    kinds = data.add_subparsers(title="verbs", metavar="VERB", required=True)
    synth = _verb(
        kinds,
        "synth",
        "make a data set of coloured shapes",
        handler="kfdet.cli.data:synth",
        out="data/shapes",
    )
    for split, images in (("train", 400), ("val", 100), ("test", 100)):
        synth.add_argument(
            f"--{split}", type=int, metavar="N", default=images, help=f"images (default: {images})"
        )
    synth.add_argument("--size", type=int, metavar="PX", default=128, help="default: 128")
    synth.add_argument("--seed", type=int, default=0, help="default: 0")

    exclude = _verb(
        kinds,
        "exclude",
        "write a data set without the records that validate put in quarantine",
        handler="kfdet.cli.data:exclude",
        config=True,
    )
    exclude.add_argument(
        "--quarantine", metavar="FILE", required=True, help="quarantine.json from validate"
    )
    exclude.add_argument("--out", metavar="DIR", required=True, help="folder to write")

    convert = kinds.add_parser("convert", help="convert a data set to TFRecords")
    formats = convert.add_subparsers(title="formats", metavar="FORMAT", required=True)
    voc = _verb(
        formats,
        "voc",
        "convert a Pascal VOC folder; splits from ImageSets/Main",
        handler="kfdet.cli.data:convert_voc",
    )
    voc.add_argument("root", metavar="DIR", help="folder with Annotations, JPEGImages, ImageSets")
    coco = _verb(
        formats,
        "coco",
        "convert COCO instances",
        handler="kfdet.cli.data:convert_coco",
    )
    coco.add_argument("instances", metavar="JSON", help="instances file")
    coco.add_argument("images", metavar="DIR", help="folder of the images")
    voc.add_argument(
        "--pixels",
        choices=("as_given", "one_based_inclusive"),
        default="as_given",
        help="what VOC's integers mean: edges as given, or pixels counted from 1, the last one inside (default: as_given)",
    )
    coco.add_argument("--val", metavar="JSON", help="instances of val; the first are then of train")
    coco.add_argument("--test", metavar="JSON", help="instances of test")
    coco.add_argument("--val-images", metavar="DIR", help="images of val, when elsewhere")
    coco.add_argument("--test-images", metavar="DIR", help="images of test, when elsewhere")
    coco.add_argument(
        "--fractions",
        metavar="A,B,C",
        default="0.8,0.1,0.1",
        help="shares of train, val and test where one file is divided (default: 0.8,0.1,0.1)",
    )
    coco.add_argument("--seed", type=int, default=0, help="of that division (default: 0)")
    for parser in (voc, coco):
        parser.add_argument("--out", metavar="DIR", required=True, help="folder to write")
        parser.add_argument("--label-map", metavar="FILE", help="classes and ids to use")
        parser.add_argument(
            "--faulty",
            choices=("drop", "keep"),
            default="drop",
            help="boxes without area: drop and name them, or keep them as they are (default: drop)",
        )


def _add_stage_verbs(verbs: _Verbs) -> None:
    def stage(name: str, summary: str, *, config: bool = False) -> argparse.ArgumentParser:
        return _verb(
            verbs,
            name,
            summary,
            handler=f"kfdet.cli.stages:{name}",
            config=config,
            out=f"out/{name}",
        )

    def inputs(parser: argparse.ArgumentParser, **files: str) -> None:
        for name, summary in files.items():
            parser.add_argument(f"--{name}", metavar="FILE", required=True, help=summary)

    experiment = "experiment.json from render"
    manifest = "manifest.json from validate"

    _verb(
        verbs,
        "fingerprint",
        "name a data set by its bytes",
        handler="kfdet.cli.stages:fingerprint",
        config=True,
    )
    examine = stage("examine", "check the records of one group of shards", config=True)
    examine.add_argument("--group", type=int, default=0, metavar="K", help="default: 0")
    examine.add_argument("--num-groups", type=int, default=1, metavar="N", help="default: 1")
    validate = stage("validate", "check every record of a data set", config=True)
    validate.add_argument(
        "--groups",
        metavar="GROUP",
        nargs="+",
        default=[],
        help="folders of all the groups from examine; records are then not read again",
    )

    warmstart = _verb(
        verbs,
        "warmstart",
        "say what a training that starts from the champion begins with",
        handler="kfdet.cli.stages:warmstart",
        config=True,
    )
    inputs(warmstart, manifest=manifest)
    warmstart.add_argument(
        "--model-root", metavar="DIR", default="models", help="or gs:// (default: models)"
    )
    warmstart.add_argument("--registry", metavar="DIR", default="registry")

    render = stage("render", "render the configuration into an experiment", config=True)
    inputs(render, manifest=manifest, statistics="statistics.json from validate")

    check = _verb(
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

    train = stage("train", "train, or resume training")
    inputs(train, experiment=experiment, manifest=manifest)
    train.add_argument(
        "--model-root", metavar="DIR", default="models", help="or gs:// (default: models)"
    )

    select = stage("select", "evaluate every checkpoint on val and choose the best")
    inputs(select, experiment=experiment, manifest=manifest)
    select.add_argument("--summary", metavar="FILE", help="summary.json from train")
    select.add_argument(
        "--follow",
        metavar="MODEL_DIR",
        help="beside a running training: evaluate each checkpoint as it appears",
    )
    select.add_argument("--metric", default="ap", help="val metric that chooses (default: ap)")

    evaluate = stage("evaluate", "run a checkpoint over one shard of a split")
    inputs(evaluate, experiment=experiment, manifest=manifest)
    evaluate.add_argument("--checkpoint", metavar="PREFIX", required=True, help="without .index")
    evaluate.add_argument("--split", choices=("train", "val", "test"), default="test")
    evaluate.add_argument("--shard", type=int, default=0, metavar="K", help="default: 0")
    evaluate.add_argument("--num-shards", type=int, default=1, metavar="N", help="default: 1")
    for parser in (select, evaluate):
        parser.add_argument("--batch-size", type=int, default=8, help="default: 8")

    merge = stage("merge", "merge the shards' detections into exact metrics")
    merge.add_argument("shards", metavar="SHARD", nargs="+", help="folders from evaluate")
    inputs(merge, manifest=manifest)
    merge.add_argument("--split", choices=("train", "val", "test"), default="test")
    metrics = stage("metrics", "compute metrics of any detector from COCO files")
    inputs(
        metrics,
        **{
            "ground-truth": "COCO instances",
            "detections": "COCO results: image_id, category_id, bbox, score",
        },
    )
    metrics.add_argument(
        "--images", metavar="DIR", help="folder of the images, for pictures in the report"
    )
    metrics.add_argument(
        "--split",
        choices=("train", "val", "test"),
        default="test",
        help="what the metrics say of themselves (default: test)",
    )
    for parser in (select, merge, metrics):
        parser.add_argument("--engine", choices=("hotcoco", "pycocotools"), default="hotcoco")

    for parser in (merge, metrics):
        parser.add_argument(
            "--diagnosis",
            metavar="FILE",
            help="when the report gives advice: YAML, or a run configuration",
        )

    merge.add_argument(
        "--feasibility", metavar="FILE", help="feasibility.json from check, for advice on ceilings"
    )

    champion = stage("champion", "say whether the champion must be measured on these images")
    inputs(champion, manifest=manifest)
    champion.add_argument("--split", choices=("train", "val", "test"), default="test")

    for parser in (select, merge, metrics, champion):
        parser.add_argument(
            "--evaluation",
            metavar="FILE",
            help="IoU thresholds, areas, counts and slices: YAML, or a run configuration",
        )

    record = stage("record", "keep what the champion scored on other images, or by other settings")
    inputs(record, metrics="metrics.json of the champion's export, with its evidence beside it")

    gate = stage("gate", "hold metrics against a policy and the champion")
    gate.add_argument("metrics", metavar="METRICS", help="metrics.json from merge or metrics")
    for parser in (champion, gate):
        parser.add_argument(
            "--policy", metavar="FILE", required=True, help="gate policy, or a run configuration"
        )
    gate.add_argument(
        "--exit-code", action="store_true", help="end with 20 or 21 when it does not pass"
    )

    export = stage("export", "export a checkpoint and prove that it answers alike")
    inputs(export, experiment=experiment, manifest=manifest)
    export.add_argument("--checkpoint", metavar="PREFIX", required=True, help="without .index")
    export.add_argument("--images", type=int, default=32, help="test images compared (32)")
    export.add_argument(
        "--export-root", metavar="DIR", help="folder of exports, or gs:// (default: that of --out)"
    )

    publish = stage("publish", "publish an export as the new champion")
    publish.add_argument("export", metavar="EXPORT", help="folder of the export")
    inputs(publish, decision="decision.json from gate", metrics="metrics.json from merge")
    publish.add_argument("--run-name", default="by hand", help="noted in the version's record")
    named = ((champion, True), (record, True), (gate, False), (publish, True))
    for parser, required in named:
        parser.add_argument("--registry", metavar="DIR", default="registry", help="or gs://")
        parser.add_argument("--model", metavar="NAME", required=required, default="")


def _add_model_verbs(verbs: _Verbs) -> None:
    predict = _verb(
        verbs,
        "predict",
        "detect objects in images with an exported model",
        handler="kfdet.cli.predict:predict",
    )
    predict.add_argument("model", metavar="MODEL", help="folder of an export or of a version")
    predict.add_argument("images", metavar="IMAGE", nargs="+")
    predict.add_argument("--plot", metavar="PNG", help="write the image with labelled boxes")
    predict.add_argument("--raw", action="store_true", help="print boxes, classes, scores as JSON")
    predict.add_argument(
        "--min-score", type=float, default=None, help="default: 0.5 for --plot, 0 for --raw"
    )


def _add_cluster_verbs(verbs: _Verbs) -> None:
    def verb(
        where: _Verbs, name: str, summary: str, *, handler: str, config: bool = False
    ) -> argparse.ArgumentParser:
        parser = _verb(where, name, summary, handler=f"kfdet.cli.{handler}", config=config)
        parser.add_argument(
            "--host",
            metavar="URL",
            help="Kubeflow Pipelines (default: $KF_PIPELINES_ENDPOINT, else as kubectl)",
        )
        parser.add_argument("--namespace", metavar="NAME", help="yours, where there are many users")
        return parser

    def sending(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--name", help="default: as the configuration says")
        parser.add_argument(
            "--experiment", metavar="NAME", help="made when missing (default: cluster.experiment)"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be sent, and send nothing"
        )

    submit = verb(verbs, "submit", "run on a cluster", handler="submit:submit", config=True)
    submit.epilog = (
        "Tokens, cookies and certificates come from environment variables: "
        "pipelines/detection_training/README.md, Access."
    )
    sending(submit)
    submit.add_argument("--wait", action="store_true", help="watch it, and end with its verdict")
    submit.add_argument(
        "--exit-code", action="store_true", help="with --wait: 20 or 21 when the gate does not pass"
    )
    submit.add_argument(
        "--data-digest",
        metavar="DIGEST",
        help="as kfdet fingerprint prints it, or `cluster` to have it taken there "
        "(default: taken here when the files are here, else there)",
    )
    submit.add_argument(
        "--pipeline", metavar="NAME", help="upload the pipeline under a name, and run that"
    )
    submit.add_argument(
        "--new-version", action="store_true", help="with --pipeline: add to what differs"
    )
    submit.add_argument("--poll-s", type=float, metavar="S", help=argparse.SUPPRESS)

    schedule = verbs.add_parser(
        "schedule", help="run on a cluster again and again", description=_SCHEDULE
    )
    kinds = schedule.add_subparsers(title="verbs", metavar="VERB", required=True)
    create = verb(kinds, "create", "create a schedule", handler="schedule:create", config=True)
    sending(create)
    create.add_argument(
        "--cron",
        required=True,
        metavar="FIELDS",
        help='5 or 6 fields: "0 3 * * 1" is Monday at 03:00, by the clock of the cluster',
    )
    create.add_argument(
        "--max-concurrency",
        type=int,
        default=1,
        metavar="N",
        help="runs at the same time; one more waits (default: 1)",
    )
    create.add_argument(
        "--catch-up",
        choices=("latest", "all"),
        default="latest",
        help="runs missed during a pause that are made up for (default: latest)",
    )
    verb(kinds, "list", "list schedules", handler="schedule:list_schedules")
    for name, summary in (
        ("pause", "start no runs for now"),
        ("resume", "start runs again"),
        ("delete", "delete a schedule; its runs stay"),
    ):
        parser = verb(kinds, name, summary, handler=f"schedule:{name}")
        parser.add_argument("schedule", metavar="SCHEDULE", help="name or identity")

    runs = verb(verbs, "runs", "list runs on a cluster", handler="cluster_runs:runs")
    runs.add_argument("--experiment", metavar="NAME", help="of this experiment alone")
    runs.add_argument("--limit", type=int, default=20, metavar="N", help="default: 20")
    status = verb(verbs, "status", "show a run on a cluster", handler="cluster_runs:status")
    logs = verb(verbs, "logs", "print a stage's log", handler="cluster_runs:logs")
    terminate = verb(verbs, "terminate", "end a run on a cluster", handler="cluster_runs:terminate")
    for parser in (status, logs, terminate):
        parser.add_argument("run", metavar="RUN", help="identity, or name of the newest")
    logs.add_argument("stage", metavar="STAGE")


def _with_verb(argv: Sequence[str]) -> list[str]:
    """Returns a command line where `schedule CONFIG` is `schedule create CONFIG`."""
    if len(argv) > 1 and argv[0] == "schedule" and argv[1].endswith((".yaml", ".yml")):
        return ["schedule", "create", *argv[1:]]
    return list(argv)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with the right exit code."""
    # No matrix here is large enough for numpy's threads, and starting them takes a tenth of a second.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = build_parser().parse_args(_with_verb(sys.argv[1:] if argv is None else argv))
    try:
        code = _loaded(arguments.handler)(arguments)
        sys.stdout.flush()
    except KfdetError as failure:
        print(f"kfdet: {failure}", file=sys.stderr)
        code = failure.exit_code
    except KeyboardInterrupt as interruption:
        print(f"kfdet: {str(interruption) or 'interrupted'}", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does: nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    # Nothing is left to be freed by going through every object once more, which takes a while.
    gc.freeze()
    raise SystemExit(code or 0)


def _loaded(handler: str) -> Callable[[argparse.Namespace], int | None]:
    """Imports what a verb needs: "module:function"."""
    module, _, function = handler.partition(":")
    # What modules make stays: looking for garbage among it, time and again, finds none.
    gc.disable()
    try:
        return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
