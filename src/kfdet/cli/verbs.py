"""What verbs of the command line take: the building blocks, and the verbs of runs, data and models."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn, TypeAlias

from kfdet.errors import did_you_mean


class Parser(argparse.ArgumentParser):
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


Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


def _all_options(parser: argparse.ArgumentParser) -> set[str]:
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                options |= _all_options(verb)
    return options


def add_verb(
    verbs: Verbs,
    name: str,
    summary: str,
    *,
    handler: str,
    config: bool = False,
    out: str | None = None,
) -> argparse.ArgumentParser:
    """Adds a verb.

    Args:
        verbs: Where it is added.
        name: What is typed.
        summary: What it does, for `--help`.
        handler: "module:function", imported when the verb is called.
        config: It takes a run configuration, and overrides of its keys.
        out: Folder that it writes to unless another is named; none: it has no such option.
    """
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


def add_run_verbs(verbs: Verbs) -> None:
    """Adds the verbs for runs on this machine."""
    run = add_verb(
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

    compile_ = add_verb(
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

    compare = add_verb(
        verbs, "compare", "show runs side by side", handler="kfdet.cli.compare:compare_verb"
    )
    compare.add_argument("runs", metavar="RUN", nargs="+", help="folders of runs")
    compare.add_argument("--html", metavar="FILE", help="also write the comparison as a page")


def add_data_verbs(verbs: Verbs) -> None:
    """Adds the verbs for data sets."""
    data = verbs.add_parser("data", help="make or convert data sets")
    kinds = data.add_subparsers(title="verbs", metavar="VERB", required=True)
    synth = add_verb(
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

    exclude = add_verb(
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

    _add_conversions(kinds)


def _add_conversions(kinds: Verbs) -> None:
    convert = kinds.add_parser("convert", help="convert a data set to TFRecords")
    formats = convert.add_subparsers(title="formats", metavar="FORMAT", required=True)
    voc = add_verb(
        formats,
        "voc",
        "convert a Pascal VOC folder; splits from ImageSets/Main",
        handler="kfdet.cli.data:convert_voc",
    )
    voc.add_argument("root", metavar="DIR", help="folder with Annotations, JPEGImages, ImageSets")
    coco = add_verb(
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


def add_model_verbs(verbs: Verbs) -> None:
    """Adds the verbs for exported models."""
    predict = add_verb(
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
