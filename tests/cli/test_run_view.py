"""What is read in logs and nodes of a cluster, held against what writes them."""

import contextlib
import io
from pathlib import Path

import pytest
import yaml
from kfp_api.workflow import fnv_1a

from kfdet.cli.cluster.run_view import (
    STAGES,
    _continued,
    failure_of,
    part_of,
    progress_of,
)
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.run_record import CHAMPION_TASKS

COMPILED = Path(__file__).parents[2] / "pipelines" / "detection_training" / "pipeline.yaml"


def written(progress, work):
    text = io.StringIO()
    with contextlib.redirect_stderr(text), contextlib.suppress(SystemExit), progress:
        work(progress)
    return text.getvalue()


def fail(_):
    raise DataError("boom")


@pytest.mark.parametrize("part", ["", "shard 3/4"])
def test_progress_is_read_as_it_is_written(part):
    log = written(
        Progress("evaluate", part=part),
        lambda progress: progress.update(2000, total=2000, unit="images", images_per_s=3.5),
    )
    event = progress_of(log)
    assert (event.stage, event.message, event.done, event.total, event.unit) == (
        "evaluate", part, 2000, 2000, "images",
    )  # fmt: skip
    assert event.figures == {"images_per_s": 3.5}
    assert part_of(log) == ((part, 3) if part else ("", 0))


@pytest.mark.parametrize("part", ["", "group 1/1"])
def test_a_failure_is_read_as_it_is_written(part):
    assert failure_of(written(Progress("examine", part=part), fail)) == ("boom.", 1)


def test_the_id_of_an_attempt_follows_from_that_of_its_executor():
    # The second number is that of a pod of a cluster with Kubeflow Pipelines 2.16.
    executor = "general-cpu-rnggt-807657059"
    assert _continued(executor, "(0)") == "general-cpu-rnggt-1467617326"
    assert fnv_1a("general-cpu-rnggt.root.workspace-name.executor(0)") == 1467617326


def test_the_keys_of_the_pipeline_s_tasks_tell_a_run_s_own_from_the_champion_s():
    pipeline = next(yaml.safe_load_all(COMPILED.read_text(encoding="utf-8")))
    dags = [pipeline["root"], *pipeline["components"].values()]
    keys = [key for one in dags for key in one.get("dag", {}).get("tasks", {})]
    for key in (*STAGES, *CHAMPION_TASKS):
        assert keys.count(key) == 1, key
