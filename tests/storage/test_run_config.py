"""The run configuration is strict, and its errors lead to the line."""

import re

import pytest
import yaml

from kfdet.errors import ConfigError, UsageError
from kfdet.schema.metrics import COCO
from kfdet.storage.run_config import dump_yaml, read_measurement, read_policy, read_run_config

MINIMAL = """\
name: demo
dataset:
  label_map: labels.pbtxt
  train: train-*.tfrecord
  val: [val-0.tfrecord, val-1.tfrecord]
  test: test-*.tfrecord
detector:
  input_size: [128, 128]
  max_level: 5
training:
  steps: 100
  batch_size: 8
  checkpoint_every: 50
gate:
  rules:
    - metric: ap
      at_least: 0.5
"""


@pytest.fixture
def config_file(tmp_path):
    def write(text=MINIMAL):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


def test_a_minimal_configuration_gets_the_defaults(config_file):
    config = read_run_config(config_file())
    assert config.dataset.train == ("train-*.tfrecord",)
    assert config.dataset.val == ("val-0.tfrecord", "val-1.tfrecord")
    assert config.evaluation.shards == 2
    assert config.gate.rules[0].at_least == 0.5


def test_what_is_dumped_reads_back_equal(config_file):
    config = read_run_config(config_file())
    assert read_run_config(config_file(dump_yaml(config))) == config


def test_a_typo_is_named_with_its_line_and_the_closest_key(config_file):
    path = config_file(MINIMAL.replace("  batch_size: 8", "  batchsize: 8"))
    with pytest.raises(ConfigError) as error:
        read_run_config(path)
    assert 'line 12: unknown key "training.batchsize". Did you mean "batch_size"?' in str(
        error.value
    )
    assert '"training.batch_size" is missing' in str(error.value)


def test_a_typo_in_a_rule_is_named(config_file):
    path = config_file(MINIMAL.replace("at_least", "atleast"))
    with pytest.raises(ConfigError, match='line 17: .*Did you mean "at_least"'):
        read_run_config(path)


def test_a_metric_that_does_not_exist_is_refused(config_file):
    with pytest.raises(ConfigError, match="gate.rules.0.metric"):
        read_run_config(config_file(MINIMAL.replace("metric: ap", "metric: map")))


@pytest.mark.parametrize("rules", ["[]", "null"])
def test_a_gate_without_rules_is_refused(config_file, rules):
    text = MINIMAL.split("  rules:")[0] + f"  rules: {rules}\n"
    with pytest.raises(ConfigError, match="gate.rules"):
        read_run_config(config_file(text))


def test_a_rule_that_says_nothing_is_refused(config_file):
    with pytest.raises(ConfigError, match="needs at_least, champion, or both"):
        read_run_config(config_file(MINIMAL.replace("      at_least: 0.5\n", "")))


def test_a_key_that_stands_twice_is_refused(config_file):
    with pytest.raises(ConfigError, match='line 13 column 3: is no YAML: the key "steps" stands'):
        read_run_config(
            config_file(MINIMAL.replace("  batch_size: 8", "  batch_size: 8\n  steps: 9"))
        )


def test_broken_yaml_is_told_with_its_place(config_file):
    with pytest.raises(ConfigError, match="line 2 column"):
        read_run_config(config_file("name: demo\n  dataset: [\n"))


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.steps=500", ("training", "steps"), 500),
        ("gate.rules.0.at_least=0.75", ("gate", "rules", 0, "at_least"), 0.75),
        ("detector.nms.version=batched", ("detector", "nms", "version"), "batched"),
        ("detector.input_size=[64, 96]", ("detector", "input_size"), [64, 96]),
    ],
)
def test_an_override_sets_one_key(config_file, override, path, value):
    before = read_run_config(config_file()).model_dump(mode="json")
    after = read_run_config(config_file(), overrides=[override]).model_dump(mode="json")
    place = before
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert after == before


def test_an_override_of_an_unknown_key_is_refused(config_file):
    with pytest.raises(ConfigError, match='Did you mean "steps"'):
        read_run_config(config_file(), overrides=["training.step=5"])


@pytest.mark.parametrize(
    "override", ["training.steps", "=5", "gate.rules.7.at_least=1", "name.x=1", "name=[", "a.b=: :"]
)
def test_an_override_that_makes_no_sense_is_refused(config_file, override):
    with pytest.raises((UsageError, ConfigError)):
        read_run_config(config_file(), overrides=[override])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detector": {"input_size": [100, 128]}}, "multiple of 128"),
        ({"detector": {"min_level": 6, "max_level": 4}}, "min_level is above max_level"),
        ({"training": {"checkpoint_every": 101}}, "checkpoint_every is above steps"),
        ({"training": {"learning_rate": {"warmup_steps": 100}}}, "warmup_steps 100 is not below"),
        ({"training": {"augmentation": {"scale_min": 2}}}, "scale_min is above scale_max"),
        ({"name": "Not A Name"}, '"name"'),
    ],
)
def test_values_that_do_not_fit_together_are_refused(config_file, change, message):
    data = yaml.safe_load(MINIMAL)
    data["detector"].pop("max_level")
    for key, value in change.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=message):
        read_run_config(config_file(yaml.safe_dump(data)))


def test_a_policy_is_read_from_its_own_file_or_from_a_run_configuration(config_file, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules: [{metric: ap, at_least: 0.5}]\n")
    assert read_policy(policy) == read_policy(config_file())


def test_what_to_measure_is_a_file_of_its_own_or_a_section(tmp_path):
    own = tmp_path / "evaluation.yaml"
    own.write_text("iou_thresholds: [0.3, 0.65]\nslices: [image/camera]\n")
    found = read_measurement(own)
    # 0.65 is the number that COCO counts with, not the nearest to the decimal.
    assert found.iou_thresholds == (0.3, COCO.iou_thresholds[3])
    assert found.slices == ("image/camera",)
    assert found.max_detections == COCO.max_detections
    whole = tmp_path / "run.yaml"
    whole.write_text(MINIMAL + "evaluation: {max_detections: [5], shards: 3}\n")
    assert read_measurement(whole).max_detections == (5,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iou_thresholds: [0.7, 0.5]", "must ascend"),
        ("iou_thresholds: [0]", "greater than 0"),
        ("max_detections: []", "at least 1"),
        ("areas: {all: [0, 5]}", '"all" is always there'),
        ("areas: {small: [9, 5]}", "ends at 5 px.2"),
        ("areas: {a: [0, 5], b: [0, 5]}", "two areas are the same"),
        ("max_detection: [1]", "did you mean"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, text, words):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.compile(words, re.IGNORECASE)):
        read_measurement(tmp_path / "e.yaml")
