"""The process that runs a compiled pipeline tells of every task, and dies with its parent."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import compiler, dsl

from kfdet.cli.local_pipeline import PipelineRequest, TaskEvent

component = functools.partial(
    dsl.component, base_image="python:3.11", install_kfp_package=False, packages_to_install=[]
)


@component
def count(
    item: int, content: str, numbers: dsl.Output[dsl.Artifact], metrics: dsl.Output[dsl.Metrics]
):
    from pathlib import Path

    Path(numbers.path).write_text(f"{item} {content}")
    Path(metrics.path).write_text("{}")
    metrics.log_metric("items", 1)


@component
def add(numbers: dsl.Input[list[dsl.Artifact]]) -> str:
    from pathlib import Path

    texts = sorted(Path(artifact.path).read_text() for artifact in numbers)
    return "pass" if len(texts) == 2 else "fail"


@component
def ship(verdict: str) -> str:
    return f"shipped after {verdict}"


@component
def linger(started: str):
    import time
    from pathlib import Path

    Path(started).write_text("running")
    time.sleep(60)


@dsl.pipeline(name="toy")
def toy(content: str, wanted: str):
    with dsl.ParallelFor(items=[0, 1]) as item:
        counted = count(item=item, content=content)
    added = add(numbers=dsl.Collected(counted.outputs["numbers"]))
    added.set_caching_options(enable_caching=False)
    with dsl.If(added.output == "pass"):
        ship(verdict=added.output)


@component
def fail(attempts: str):
    with open(attempts, "a") as stream:
        stream.write("x")
    raise SystemExit(10)


@component
def save_when_interrupted(folder: str):
    import signal
    import time
    from pathlib import Path

    def save(number, frame):
        time.sleep(2)
        Path(folder, "saved").write_text("all of it")
        raise SystemExit(130)

    signal.signal(signal.SIGINT, save)
    Path(folder, "started").write_text("running")
    time.sleep(60)


@dsl.pipeline(name="saving")
def saving(folder: str):
    with dsl.ParallelFor(items=[0, 1, 2, 3]):
        save_when_interrupted(folder=folder)


@dsl.pipeline(name="failing")
def failing(attempts: str):
    fail(attempts=attempts).set_retry(num_retries=2, backoff_duration="1s")


@dsl.pipeline(name="slow")
def slow(started: str):
    linger(started=started)


@pytest.fixture
def request_file(tmp_path):
    def write(pipeline, **arguments):
        target = tmp_path / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(target))
        (tmp_path / "tasks.jsonl").write_text("")
        request = PipelineRequest(
            pipeline=str(target),
            arguments=arguments,
            pipeline_root=str(tmp_path / "artifacts"),
            cache_root=str(tmp_path / "cache"),
            tasks=str(tmp_path / "tasks.jsonl"),
        )
        path = tmp_path / "request.json"
        path.write_text(request.canonical_json())
        return path

    return write


def start(path):
    return subprocess.Popen(
        [sys.executable, "-m", "kfdet.cli.local_pipeline", str(path)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()


def run(path):
    process = start(path)
    code = process.wait(timeout=120)
    lines = Path(path).with_name("tasks.jsonl").read_text().splitlines()
    return code, [TaskEvent.model_validate(json.loads(line)) for line in lines]


def ends(events):
    return sorted((event.task, event.status) for event in events if event.status != "started")


def test_every_task_is_told_with_its_outputs_and_an_equal_run_comes_from_the_cache(request_file):
    code, events = run(request_file(toy, content="a", wanted="x"))
    assert code == 0
    assert ends(events) == [("add", "done"), ("count", "done"), ("count", "done"), ("ship", "done")]
    counted = [event for event in events if event.task == "count" and event.status == "done"]
    texts = {Path(event.outputs["numbers"]).read_text() for event in counted}
    assert texts == {"0 a", "1 a"}
    assert [event.scalars for event in counted] == [{"items": 1}, {"items": 1}]
    (shipped,) = [event for event in events if event.task == "ship" and event.outputs]
    assert shipped.outputs == {"Output": "shipped after pass"}

    _, again = run(request_file(toy, content="a", wanted="x"))
    assert ends(again) == [
        ("add", "done"),
        ("count", "cached"),
        ("count", "cached"),
        ("ship", "cached"),
    ]
    cached = [event for event in again if event.status == "cached" and event.task == "count"]
    assert {event.outputs["numbers"] for event in cached} == {e.outputs["numbers"] for e in counted}

    _, other = run(request_file(toy, content="b", wanted="x"))
    assert ends(other)[1:3] == [("count", "done"), ("count", "done")]


def test_a_task_that_fails_is_not_retried_on_one_machine(request_file, tmp_path):
    code, events = run(request_file(failing, attempts=str(tmp_path / "attempts")))
    assert code == 1
    assert ends(events) == [("fail", "failed")]
    assert (tmp_path / "attempts").read_text() == "x"


def test_an_interruption_waits_for_what_the_stages_save_and_starts_nothing_more(
    request_file, tmp_path
):
    process = start(request_file(saving, folder=str(tmp_path)))
    wait_for(tmp_path / "started")
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=180) == 1
    assert (tmp_path / "saved").read_text() == "all of it"
    events = (tmp_path / "tasks.jsonl").read_text()
    assert events.count('"started"') == 2


def test_it_dies_with_the_process_that_started_it(request_file, tmp_path):
    started = tmp_path / "started"
    process = start(request_file(slow, started=str(started)))
    wait_for(started)
    process.stdin.close()  # what the kernel does when the parent is killed
    assert process.wait(timeout=180) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
