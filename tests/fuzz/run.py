"""Fuzzes one target for some seconds, from the small corpus beside this file.

    python tests/fuzz/run.py record --seconds 20

A crash, a broken promise, more than 1 GB or 10 seconds for one input ends it with an exit code other
than 0; the input lies in .fuzz, as do the inputs that
reached new code, to go on from. Put it into the corpus with the repair.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["kfdet"]):
    from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    work = Path(".fuzz") / arguments.target
    found = work / "found"
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-artifact_prefix={work}/",
        "-max_len=4096",
        "-rss_limit_mb=1024",
        "-timeout=10",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    print(f"== fuzzing {arguments.target} for {arguments.seconds} s; what it finds is in {work}")
    sys.stdout.flush()
    atheris.Setup(
        [sys.argv[0], *options, str(found), str(CORPUS / arguments.target)],
        TARGETS[arguments.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
