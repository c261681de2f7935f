"""The process that runs the compiled pipeline through kfp.local, started by `kfdet run`.

It writes one JSON line for every task that starts or ends, to the file its request names.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import Field

from kfdet.cli.containers import (
    ContainerRequest,
    docker_runner,
    interrupt_containers,
    stop_containers,
)
from kfdet.progress import EVENTS_VARIABLE
from kfdet.schema.base import Schema


class PipelineRequest(Schema):
    """Attributes:
    pipeline: The compiled pipeline.
    cache_root: Where finished tasks are remembered; null runs every task.
    tasks: File that TaskEvent lines are appended to.
    containers: The containers that tasks run in; null runs them as processes.
    """

    pipeline: str
    arguments: dict[str, Any]
    pipeline_root: str
    cache_root: str | None
    tasks: str
    containers: ContainerRequest | None = None


class TaskEvent(Schema):
    """Attributes:
    status: started, done, cached or failed.
    outputs: Output name to parameter value, or to an artifact's path.
    scalars: Scalars that the task logged.
    """

    task: str
    status: str
    time: float
    outputs: dict[str, Any] = Field(default_factory=dict)
    scalars: dict[str, float] = Field(default_factory=dict)


def _observe(tasks: Path, *, stopping: threading.Event) -> None:
    """Has kfp.local tell of every task: it has no callback, so its task executor is wrapped.

    Args:
        tasks: File that TaskEvent lines are appended to.
        stopping: Once set, no further task is started.
    """
    from kfp import dsl
    from kfp.local import cache, status
    from kfp.local.orchestrator import task_executor, task_spec_utils

    execute = task_executor.execute_single_task
    iterate = task_spec_utils.create_parameter_loop_iteration_task_spec
    look_up = cache.LocalCache.get
    hits = threading.local()

    def tell(event: TaskEvent) -> None:
        with open(tasks, "a", encoding="utf-8") as stream:
            stream.write(event.canonical_json() + "\n")

    def remember_hit(self: Any, key: str) -> Any:
        hits.last = look_up(self, key)
        return hits.last

    def keep_outputs(loop: Any, item: Any, name: str) -> Any:
        # kfp 2.17 puts the item in the place of every output that is passed into the loop.
        iteration = iterate(loop, item, name)
        for key, value in loop.inputs.parameters.items():
            if value.HasField("task_output_parameter"):
                iteration.inputs.parameters[key].CopyFrom(value)
        return iteration

    def execute_and_tell(**task: Any) -> Any:
        # Where one component serves twice, the display names tell the tasks apart.
        name = task["task_spec"].task_info.name or task["task_name"]
        # Retries are for a cluster's lost nodes. Here a person watches, and starts the run again.
        task["task_spec"].ClearField("retry_policy")
        hits.last = None
        if stopping.is_set():
            return {}, status.Status.FAILURE
        tell(TaskEvent(task=name, status="started", time=time.time()))
        outputs, outcome = execute(**task)
        scalars: dict[str, float] = {}
        values: dict[str, Any] = {}
        for key, value in outputs.items():
            if isinstance(value, dsl.Artifact):
                values[key] = value.path
                if isinstance(value, dsl.Metrics):
                    scalars |= value.metadata
            else:
                values[key] = value
        finished = "done" if outcome == status.Status.SUCCESS else "failed"
        tell(
            TaskEvent(
                task=name,
                status="cached" if hits.last is not None else finished,
                time=time.time(),
                outputs=values,
                scalars=scalars,
            )
        )
        return outputs, outcome

    task_spec_utils.create_parameter_loop_iteration_task_spec = keep_outputs
    cache.LocalCache.get = remember_hit
    task_executor.execute_single_task = execute_and_tell


def _leave_interruption_to_the_stages(pass_on: Callable[[], None]) -> threading.Event:
    """Keeps this process alive through SIGINT, so that a stage can save what it has.

    kfp would wait a quarter of a second for its task and leave it behind. The handler does nothing
    but take note: it must not be SIG_IGN, which the tasks would inherit.

    Args:
        pass_on: Tells tasks that are not of this process group.

    Returns:
        Set by the first SIGINT.
    """
    stopping = threading.Event()

    def handler(_signum: int, _frame: FrameType | None) -> None:
        stopping.set()
        threading.Thread(target=pass_on, daemon=True).start()

    signal.signal(signal.SIGINT, handler)
    return stopping


def _end_with_parent(stop: Callable[[], None]) -> None:
    """Ends this process group when `kfdet run` dies: its end of our standard input closes."""

    def wait() -> None:
        # Not sys.stdin: a thread that holds its lock breaks the interpreter's end.
        os.read(0, 1)
        try:
            stop()
        finally:
            os.killpg(0, signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main(request_path: str) -> None:
    """Runs the requested pipeline; exits with 1 when a task failed."""
    request = PipelineRequest.model_validate(json.loads(Path(request_path).read_text()))
    containers = request.containers
    stop, interrupt = (
        (partial(stop_containers, containers), partial(interrupt_containers, containers))
        if containers
        else (lambda: None, lambda: None)
    )
    _end_with_parent(stop)
    from kfp import components, local

    _observe(Path(request.tasks), stopping=_leave_interruption_to_the_stages(interrupt))
    # Docker would make a missing folder for root.
    Path(request.pipeline_root).mkdir(parents=True, exist_ok=True)
    local.init(
        runner=docker_runner(containers, events=os.environ[EVENTS_VARIABLE])
        if containers
        else local.SubprocessRunner(use_venv=False),
        pipeline_root=request.pipeline_root,
        # kfp deletes this folder after the run.
        workspace_root=tempfile.mkdtemp(prefix="kfdet-workspace-"),
        enable_caching=request.cache_root is not None,
        cache_root=request.cache_root,
    )
    components.load_component_from_file(request.pipeline)(**request.arguments)


if __name__ == "__main__":
    main(sys.argv[1])
