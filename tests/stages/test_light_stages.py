"""merge, gate and publish run without TensorFlow, kfp and matplotlib."""

import json
import os
import subprocess
import sys

import pytest
from evaluation_cases import (
    digest,
    label_map,
    manifest,
    metrics,
    random_data,
    split_manifest,
    statistics,
    write_export,
    write_shard,
)

from kfdet.core.gating import decide
from kfdet.schema.gate_policy import GatePolicy, GateRule
from kfdet.storage.documents import write_document

HEAVY = ("tensorflow", "tf_keras", "official", "orbit", "kfp", "matplotlib", "scipy", "pandas")
POLICY = GatePolicy(rules=(GateRule(metric="ap", at_least=0.0),))
RUN = {
    "merge": """
        merge.run(shards=[here / "shard"], manifest=here / "manifest.json", split="test",
                  engine=engine, config=MeasurementConfig(), diagnosis=DiagnosisConfig(), metrics=here / "out.json", evidence=here / "e", report=here / "r.html",
                  progress=progress)""",
    "gate": """
        gate.run(metrics=here / "metrics.json", evidence=None, policy=policy, registry=str(here / "registry"),
                 model="m", decision=here / "d.json", report=here / "r.html", progress=progress)""",
    "publish": """
        publish.run(export_uri=str(here / "export"), decision=here / "decision.json",
                    metrics=here / "metrics.json", evidence=None, registry=str(here / "registry"), model="m",
                    run_name="r", version=here / "v.json", progress=progress)""",
}
PROGRAM = """
import json, sys
from pathlib import Path
from kfdet.progress import Progress
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.stages import {stage}
here, engine = Path(sys.argv[1]), sys.argv[2]
policy = GatePolicy.model_validate_json((here / "policy.json").read_text())
progress = Progress("{stage}", quiet=True)
if True:{call}
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("stage", "engine"),
    [("merge", "hotcoco"), ("merge", "pycocotools"), ("gate", ""), ("publish", "")],
)
def test_a_light_stage_imports_nothing_heavy(tmp_path, stage, engine):
    data = random_data(0, images=7)
    write_shard(tmp_path / "shard", data)
    split = split_manifest([7], boxes=len(data.ground_truth))
    labels = label_map("circle", "square", "triangle")
    write_document(tmp_path / "manifest.json", manifest(split, labels))
    measured = metrics(statistics(0.5), checkpoint=digest("a"))
    write_document(tmp_path / "metrics.json", measured)
    write_document(tmp_path / "decision.json", decide(measured, policy=POLICY, champion=None))
    (tmp_path / "policy.json").write_text(POLICY.model_dump_json())
    write_export(tmp_path / "export", checkpoint=digest("a"))
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(stage=stage, call=RUN[stage]), tmp_path, engine],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "KFDET_EVENTS"},
    )
    assert process.returncode == 0, process.stderr
    # Standard output holds this program's own line alone: the engines' chatter stays away.
    loaded = {name.partition(".")[0] for name in json.loads(process.stdout)}
    assert not loaded & set(HEAVY)
