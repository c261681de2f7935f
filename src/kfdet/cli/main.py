"""The command line: its verbs, and how they end."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from kfdet import __version__
from kfdet.cli.cluster_verbs import add_cluster_verbs
from kfdet.cli.stage_verbs import add_stage_verbs
from kfdet.cli.verbs import Parser, add_data_verbs, add_model_verbs, add_run_verbs
from kfdet.errors import KfdetError
from kfdet.progress import INTERRUPTED

_DESCRIPTION = "Train TensorFlow object detectors and let only the good ones out."
_EPILOG = """\
exit codes: 0 done, 1 unexpected, 2 wrong usage, 10 bad data, 11 bad configuration,
20 gate says fail, 21 insufficient evidence, 22 gate out of reach (with --exit-code),
130 interrupted
"""


def build_parser() -> Parser:
    """Returns the whole command line; handlers are named, not imported."""
    parser = Parser(
        prog="kfdet",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kfdet {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_run_verbs(verbs)
    add_data_verbs(verbs)
    add_stage_verbs(verbs)
    add_model_verbs(verbs)
    add_cluster_verbs(verbs)
    return parser


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
