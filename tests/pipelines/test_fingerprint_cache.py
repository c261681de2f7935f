"""A pipeline that names its data itself: while they stay the same, the work comes from the cache."""

import json
import os
import subprocess
import sys

import pytest

from kfdet.cli.local_pipeline import PipelineRequest
from kfdet.cli.pipeline_source import compile_pipeline, pipeline_arguments
from kfdet.schema.run_config import RunConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scheduled")
    command = [sys.executable, "-m", "kfdet.cli.main", "data", "synth", "--out", "data"]
    counts = ["--train", "8", "--val", "4", "--test", "4"]
    subprocess.run([*command, *counts], cwd=folder, check=True, capture_output=True)
    compile_pipeline(folder / "pipeline.yaml", digest_taken="in the pipeline")
    return folder


def statuses(folder):
    """Runs the pipeline up to render, which a detector that is none makes fail at once."""
    config = RunConfig.model_validate(
        {
            "name": "scheduled",
            "dataset": {
                "label_map": str(folder / "data" / "label_map.pbtxt"),
                **{s: str(folder / "data" / f"{s}-*") for s in ("train", "val", "test")},
            },
            "detector": {"input_size": [128, 128]},
            "training": {"steps": 100, "batch_size": 4, "checkpoint_every": 50},
            "gate": {"rules": [{"metric": "ap", "at_least": 0.5}]},
        }
    )
    arguments = pipeline_arguments(config, data_digest="", model_root=str(folder / "models"))
    tasks = folder / "tasks.jsonl"
    tasks.write_text("")
    request = PipelineRequest(
        pipeline=str(folder / "pipeline.yaml"),
        arguments=arguments | {"detector": "{}"},
        pipeline_root=str(folder / "artifacts"),
        cache_root=str(folder / "cache"),
        tasks=str(tasks),
    )
    (folder / "request.json").write_text(request.canonical_json())
    # It ends its process group when our end of its input closes: that group must not be ours.
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "kfdet.cli.local_pipeline", str(folder / "request.json")],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "KFDET_EVENTS": str(folder / "events.jsonl")},
            start_new_session=True,
        ) as process,
    ):
        process.wait(timeout=300)
    events = [json.loads(line) for line in tasks.read_text().splitlines()]
    return {e["task"]: e["status"] for e in events if e["status"] != "started"}


def test_unchanged_data_are_read_and_not_validated_again_until_they_change(folder):
    first, again = statuses(folder), statuses(folder)
    names = ("fingerprint", "examine", "validate")
    assert [first[name] for name in names] == ["done", "done", "done"]
    assert [again[name] for name in names] == ["done", "cached", "cached"]
    shards = sorted((folder / "data").glob("train-*.tfrecord"))
    shards[-1].write_bytes(shards[0].read_bytes())
    changed = statuses(folder)
    assert [changed[name] for name in names] == ["done", "done", "failed"]
