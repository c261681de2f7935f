"""`kfdet run`: the compiled pipeline on this machine, watched while it runs."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from kfdet import __version__
from kfdet.cli.containers import container_request, stop_containers
from kfdet.cli.live import LiveView, final_table, verdict_panel
from kfdet.cli.local_pipeline import PipelineRequest
from kfdet.cli.output import VERDICT_EXIT_CODES
from kfdet.cli.pipeline_source import compile_pipeline, pipeline_arguments
from kfdet.cli.plain import plain
from kfdet.cli.run_folder import RunFolder
from kfdet.cli.run_outcome import RunProgress
from kfdet.core import measures
from kfdet.core.slices import slices_of_every_set
from kfdet.errors import KfdetError
from kfdet.progress import EVENTS_VARIABLE
from kfdet.report import index
from kfdet.schema.run_config import RunConfig
from kfdet.schema.run_record import STAGES, RunRecord, loop_tasks
from kfdet.storage.atomic import explain_os_errors, write_text
from kfdet.storage.dataset import data_digest, dataset_digests
from kfdet.storage.documents import write_document
from kfdet.storage.label_maps import read_label_map
from kfdet.storage.registry import ModelRegistry
from kfdet.storage.run_config import dump_yaml, read_run_config

_SECONDS_TO_STOP = 120.0


def run(arguments: argparse.Namespace) -> int:
    """Runs a configuration; prints the stages live, a table, the verdict and the report's path."""
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    check_policy(config)
    check_registry(config)
    folder = RunFolder(Path(arguments.out or f"runs/{config.name}"))
    console = Console(stderr=arguments.json)
    with folder.locked():
        record, failure = _run(
            config, folder, console, fresh=arguments.fresh, runner=arguments.runner
        )
    if arguments.json:
        print(record.pretty_json(), end="")
    else:
        console.print(final_table(record))
        console.print(verdict_panel(record))
        console.print(plain(f"report  {folder.index}"), soft_wrap=True)
    if failure:
        raise failure
    assert record.verdict
    return VERDICT_EXIT_CODES[record.verdict] if arguments.exit_code else 0


def check_policy(config: RunConfig) -> None:
    """Refuses a policy about what there will not be, before anything is spent on the run."""
    labels = read_label_map(config.dataset.label_map)
    measures.check_policy(
        config.gate,
        classes=[label.name for label in labels.classes],
        slices=slices_of_every_set(),
        features=None if config.evaluation.slices == "auto" else config.evaluation.slices,
        settings=config.evaluation.settings(),
        where="gate",
    )


def check_registry(config: RunConfig) -> None:
    """Refuses a registry that can't be read, before anything is spent on the run."""
    ModelRegistry(config.registry.uri, model=config.registry.model or config.name).champion()


def _run(
    config: RunConfig, folder: RunFolder, console: Console, *, fresh: bool, runner: str
) -> tuple[RunRecord, KfdetError | None]:
    started = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    console.print(
        Text.assemble((config.name, "bold"), " in ", plain(str(folder.root))), soft_wrap=True
    )
    console.print("naming the data by its digest, compiling the pipeline …", style="dim")
    digests = dataset_digests(config.dataset)
    with explain_os_errors(folder.root):
        for path in (folder.events, folder.tasks):
            path.write_text("")
        write_text(folder.config, dump_yaml(config))
    compile_pipeline(folder.pipeline, images=config.images)
    containers = (
        container_request(config, root=folder.root, pipeline=folder.pipeline)
        if runner == "docker"
        else None
    )
    # Images may hold other code than this process: what they made is kept apart.
    cache = folder.cache / containers.images_digest[:12] if containers else folder.cache
    request = PipelineRequest(
        pipeline=str(folder.pipeline),
        arguments=pipeline_arguments(
            config, data_digest=data_digest(digests), model_root=str(folder.models)
        ),
        pipeline_root=str(folder.artifacts),
        cache_root=None if fresh else str(cache),
        tasks=str(folder.tasks),
        containers=containers,
    )
    write_text(folder.request, request.canonical_json())

    progress = RunProgress(tasks=loop_tasks(config))
    with LiveView(STAGES, console=console) as view:
        interrupted = _watch(folder, progress, view)
    if containers:
        stop_containers(containers)

    failure: KfdetError | None = progress.failure(folder)
    decision = progress.decision()
    if failure is None and decision is None:
        failure = KfdetError("the pipeline ended before the gate", where=str(folder.log))
    if failure is None and decision is not None:
        try:
            progress.check(decision)
        except KfdetError as mismatch:
            failure = mismatch
    record = RunRecord(
        name=config.name,
        kfdet_version=__version__,
        started=started.isoformat(timespec="seconds"),
        time_s=time.monotonic() - clock,
        config=config,
        data_digests=digests,
        stages=progress.records(folder),
        verdict=decision.decision if decision else None,
        reasons=decision.reasons if decision else (),
        published_version=progress.stages["publish"].outputs.get("version"),
        error="interrupted" if interrupted else (str(failure) if failure else None),
    )
    write_document(folder.record, record)
    files = [("configuration", "config.yaml"), ("log", "logs/pipeline.log")]
    write_text(folder.index, index.build(record, metrics=progress.metrics(), files=files))
    if interrupted:
        raise KeyboardInterrupt(
            f"interrupted; run the same command again to go on, {folder.index} says how far it came"
        )
    return record, failure


def _watch(folder: RunFolder, progress: RunProgress, view: LiveView) -> bool:
    """Runs the pipeline's process to its end; returns whether it was told to stop."""
    stop = _StopRequest()
    environment = {**os.environ, EVENTS_VARIABLE: str(folder.events), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "kfdet.cli.local_pipeline", str(folder.request)]
    with (
        open(folder.log, "wb") as log,
        _signals_to(stop.ask),
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        ) as process,
        open(folder.tasks, encoding="utf-8") as tasks,
        open(folder.events, encoding="utf-8") as events,
    ):
        ended = False
        while not ended:
            ended = process.poll() is not None
            stop.pass_on(process)
            changed = [progress.task(line) for line in _whole_lines(tasks)]
            for stage in dict.fromkeys(changed):
                if stage:
                    shown = stage.status or "running"
                    view.stage(stage.stage, shown, stage.key_figure, stage.time_s)
            for line in _whole_lines(events):
                event = progress.event(line)
                if event:
                    view.event(event)
            view.tick()
            time.sleep(0.1)
    return stop.asked


class _StopRequest:
    """Ctrl-C or SIGTERM, passed on once as SIGINT and, after a patient wait, as SIGKILL."""

    def __init__(self) -> None:
        self.asked = False
        self._times = 0
        self._passed_on: float | None = None

    def ask(self, _signum: int, _frame: FrameType | None) -> None:
        self.asked = True
        self._times += 1

    def pass_on(self, process: subprocess.Popen[bytes]) -> None:
        if not self.asked or process.poll() is not None:
            return
        if self._passed_on is None:
            self._passed_on = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
        elif self._times > 1 or time.monotonic() - self._passed_on > _SECONDS_TO_STOP:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _signals_to(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, previous in zip(numbers, before, strict=True):
            signal.signal(number, previous)


def _whole_lines(stream: object) -> Iterator[str]:
    """Yields the complete new lines of a growing file; half a line is left for the next time."""
    while True:
        place = stream.tell()  # type: ignore[attr-defined]
        line = stream.readline()  # type: ignore[attr-defined]
        if not line.endswith("\n"):
            stream.seek(place)  # type: ignore[attr-defined]
            return
        yield line
