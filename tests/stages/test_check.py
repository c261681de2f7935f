"""check: the verdict and its report, and a gate out of reach that stops."""

import dataclasses
import json
from pathlib import Path

import pytest
from dataset_cases import QUIET, payload, write_dataset

from kfdet.core.experiment import resolve
from kfdet.errors import ArtifactError, ConfigError
from kfdet.schema.dataset import Manifest
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.feasibility import Feasibility
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import FeasibilityConfig
from kfdet.schema.training_config import TrainingConfig
from kfdet.stages import check, validate
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.registry import ModelRegistry

DETECTOR = {"input_size": [128, 128], "max_level": 5, "anchors": {"size": 3.0}}
TRAINING = {"steps": 100, "batch_size": 4, "checkpoint_every": 50}
BOXES = ((0.1, 0.1, 0.6, 0.5), (0.5, 0.5, 0.95, 0.95))


@dataclasses.dataclass(frozen=True)
class Case:
    folder: Path
    manifest: Path
    experiment: Path

    def run(
        self,
        *rules: dict,
        settings: str = "stop",
        severities=(),
        champions=None,
        slices="auto",
        **policy,
    ):
        rules = rules or ({"metric": "ap", "at_least": 0.5},)
        return check.run(
            experiment=self.experiment,
            manifest=self.manifest,
            policy=GatePolicy.model_validate({"rules": rules, **policy}),
            severities=dict(severities),
            settings=FeasibilityConfig.model_validate({"unreachable_gate": settings}),
            feasibility=self.folder / "feasibility.json",
            report=self.folder / "report.html",
            progress=QUIET,
            champions=champions,
            measurement=MeasurementConfig(slices=slices),
        )

    @property
    def answer(self) -> Feasibility:
        return read_document(Feasibility, self.folder / "feasibility.json")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    splits = {
        split: [
            payload(seed=100 * number + k, boxes=BOXES, site=[(b"north", b"south")[k % 2]])
            for k in range(6)
        ]
        for number, split in enumerate(("train", "val", "test"))
    }
    dataset = write_dataset(tmp_path / "data", splits)
    manifest, experiment = tmp_path / "manifest.json", tmp_path / "experiment.json"
    validate.run(
        dataset=dataset, manifest=manifest, statistics=tmp_path / "statistics.json",
        findings=tmp_path / "findings.json", report=tmp_path / "data.html", progress=QUIET,
    )  # fmt: skip
    resolved = resolve(
        DetectorConfig.model_validate(DETECTOR),
        TrainingConfig.model_validate(TRAINING),
        read_document(Manifest, manifest),
    )
    write_document(experiment, resolved)
    return Case(tmp_path, manifest, experiment)


def test_the_verdict_its_document_and_its_report_agree(case: Case):
    result = case.run()
    assert result.verdict == case.answer.verdict == "can_pass"
    assert result.ap_ceiling == result.ap_perfect == 1.0
    assert (result.rules_out_of_reach, result.rules_at_risk, result.warnings) == (0, 0, 0)
    assert (case.folder / "report.html").read_text().startswith("<!doctype html>")


def test_a_gate_out_of_reach_stops_with_the_rule_its_ceiling_and_the_report(case: Case):
    rules = {"metric": "ap", "at_least": 0.5}, {"metric": "ap_large", "at_least": 0.5}
    with pytest.raises(ConfigError) as failure:
        case.run(*rules)
    words = str(failure.value)
    assert "ap_large at least 0.5: ap_large is undefined" in words
    assert "ap at least 0.5" not in words
    assert "feasibility.unreachable_gate: warn" in words
    assert case.answer.verdict == "cannot_pass"
    assert (case.folder / "report.html").is_file()
    result = case.run(*rules, settings="warn")
    assert (result.verdict, result.rules_out_of_reach) == ("cannot_pass", 1)


def test_too_few_boxes_for_the_policy_can_not_pass(case: Case):
    result = case.run(settings="warn", min_boxes=1000)
    assert result.verdict == "cannot_pass"
    assert "gate.min_boxes counts a value from 1,000 on" in result.reasons[0]


def test_a_rule_about_a_class_that_is_not_there_is_refused(case: Case):
    with pytest.raises(ConfigError, match='Did you mean "cat"'):
        case.run({"metric": "ap", "class_name": "cats", "at_least": 0.5})


def test_a_rule_about_a_slice_that_there_will_not_be_is_refused(case: Case):
    at = {"metric": "ap", "at_least": 0.5}
    assert case.run(at | {"slice": {"by": "image/site", "name": "north"}}).verdict != "cannot_pass"
    with pytest.raises(ConfigError, match='Did you mean "image/site"'):
        case.run(at | {"slice": {"by": "image/sight", "name": "north"}})
    with pytest.raises(ConfigError, match='Did you mean "north"'):
        case.run(at | {"slice": {"by": "image/site", "name": "nroth"}})
    with pytest.raises(ConfigError, match='no image has the feature "image/sight"'):
        case.run(at, slices=("image/sight",))


def test_a_rule_about_a_slice_that_the_test_set_has_nothing_of_can_not_pass(case: Case):
    rule = {"metric": "recall", "at_least": 0.5}
    empty = rule | {"slice": {"by": "box_size", "name": "below 16 px"}}
    result = case.run(rule, empty, settings="warn")
    assert (result.verdict, result.rules_out_of_reach) == ("cannot_pass", 1)
    assert 'recall where box_size is "below 16 px" is undefined' in result.reasons[0]
    for by, name in (("box_size", "16 to 32 px"), ("objects_in_image", "2 to 4")):
        found = case.run(rule | {"slice": {"by": by, "name": name}})
        assert found.verdict == "can_pass"


def test_an_experiment_of_other_data_is_refused(case: Case):
    changed = json.loads(case.experiment.read_text()) | {"train_digest": "0" * 64}
    case.experiment.write_text(json.dumps(changed))
    with pytest.raises(ArtifactError, match="of other training data"):
        case.run()


def test_records_that_changed_since_they_were_validated_are_refused(case: Case):
    shard = next((case.folder / "data").glob("test-00000-*"))
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="as when it was validated"):
        case.run()


def test_the_champion_of_a_registry_is_taken_into_account(case: Case):
    rule = {"metric": "ap", "champion": {"max_drop": 0.5}}
    registry = ModelRegistry(str(case.folder / "registry"), model="tiny")
    assert case.run(rule, no_champion="fail").verdict == "at_risk"
    none = case.run(rule, no_champion="fail", settings="warn", champions=registry)
    assert none.verdict == "cannot_pass"
    assert "There is no champion" in none.reasons[0]


def test_severities_of_the_configuration_hold(case: Case):
    low = {"steps": 2, "batch_size": 1, "checkpoint_every": 1, "learning_rate": {"warmup_steps": 0}}
    resolved = json.loads(case.experiment.read_text())
    resolved["training"] = TrainingConfig.model_validate(low).model_dump(mode="json")
    case.experiment.write_text(json.dumps(resolved))
    assert case.run().verdict == "at_risk"
    assert "less-than-an-epoch" in case.answer.counts
    assert case.run(severities={"less-than-an-epoch": "off"}).verdict == "can_pass"
    with pytest.raises(ConfigError, match="no finding has the code"):
        case.run(severities={"less-than-an-epok": "off"})
