"""Size, build time and cold start of the images, built from nothing.

    python benchmarks/images.py [--repeat 3]

Takes the Docker engine that runs; where none does, root on Debian gets one for the while, and a base
image made of Debian packages. `build` has a cold cache on an engine of its own, `rebuild` a change of
the code alone. A cold start is a whole container from create to exit, held as a cluster holds it, with
the image's files dropped from the page cache before each where root may do that. Beside it stand the
same image with `true`, the price of any container, and the same imports without the image's bytecode.
The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import containers

HELD = (
    "--rm", "--user", "12345:0", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--read-only", "--tmpfs", "/tmp:mode=1777", "--network", "none",
)  # fmt: skip

CONTEXT = {
    ".dockerignore", "LICENSE", "README.md", "components", "containers", "pipelines",
    "pyproject.toml", "src", "uv.lock",
}  # fmt: skip

IMPORTS = {
    "light": "import kfdet.stages.validate, kfdet.stages.merge, kfdet.stages.gate, kfdet.stages.publish",
    "tensorflow": "import kfdet.models.training, kfdet.models.inference, kfdet.models.export",
}


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return round(time.monotonic() - started, 2)


def forget_files() -> bool:
    """Drops clean pages; returns whether that was allowed."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def starts(engine: containers.Engine, image: str, *command: str, repeat: int, cold: bool) -> float:
    """Returns the median of a container's time from create to exit, in seconds."""
    times = []
    for _ in range(repeat):
        if cold:
            forget_files()
        times.append(timed(lambda: engine.docker("run", *HELD, image, *command)))
    return round(statistics.median(times), 2)


def rebuild(engine: containers.Engine, target: str, base: str | None) -> float:
    """Returns the time of a build in which one file of kfdet changed, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(
            containers.ROOT,
            copy,
            ignore=lambda at, names: set(names) - CONTEXT if Path(at) == containers.ROOT else (),
        )
        with open(copy / "src/kfdet/__init__.py", "a") as module:
            module.write(f'\nCHANGED_FOR = "{target}"\n')
        return timed(lambda: containers.build(engine, target, base=base, context=copy))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    reason = containers.why_not()
    if reason:
        print(f"skipped: {reason}")
        print(json.dumps({"skipped": reason}))
        return
    summary: dict[str, object] = {"cpus": os.cpu_count()}
    with containers.engine() as engine:
        summary["engine"] = engine.docker("version", "--format", "{{.Server.Version}}")
        base = None
        if engine.own:
            summary["base_s"] = timed(lambda: containers.make_base(engine))
            base = containers.LOCAL_BASE
            summary["base_mb"] = round(containers.size_mb(engine, base))
        for target, program in IMPORTS.items():
            name = containers.image_name(target)
            figures: dict[str, float | bool] = {
                "build_s": timed(lambda t=target: containers.build(engine, t, base=base))
            }
            figures["size_mb"] = round(containers.size_mb(engine, name))
            figures["rebuild_s"] = rebuild(engine, target, base)
            figures["files_dropped"] = forget_files()
            python = ("python3", "-c", program)
            for words, command in {
                "container": ("true",),
                "imports": python,
                "imports_without_bytecode": ("env", "PYTHONPYCACHEPREFIX=/nowhere", *python),
            }.items():
                for kind, cold in (("cold", True), ("warm", False)):
                    figures[f"{words}_{kind}_s"] = starts(
                        engine, name, *command, repeat=arguments.repeat, cold=cold
                    )
            print(target, json.dumps(figures), flush=True)
            summary[target] = figures
    summary["load"] = round(os.getloadavg()[0], 1)
    summary["revision"] = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=containers.ROOT, capture_output=True, text=True
    ).stdout.strip()
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
