"""The data verbs write a data set, and never over anything else."""

import json
import os

import pytest

from kfdet.cli.main import main


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


@pytest.fixture
def synth(tmp_path):
    def make(*arguments):
        return run(
            "data",
            "synth",
            "--out",
            tmp_path / "set",
            "--train",
            3,
            "--val",
            2,
            "--test",
            1,
            *arguments,
        )

    return make


def test_synth_answers_in_json(synth, tmp_path, capsys):
    assert synth("--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["train"], answer["val"], answer["test"]) == (3, 2, 1)
    assert answer["folder"] == str(tmp_path / "set")
    names = sorted(os.listdir(tmp_path / "set"))
    assert "label_map.pbtxt" in names
    assert "test-00000-of-00001.tfrecord" in names


def test_synth_replaces_an_older_set_and_nothing_else(synth, tmp_path, capsys):
    assert synth() == 0
    assert synth("--seed", 1) == 0
    (tmp_path / "set" / "thesis.txt").write_text("ten years of work")
    assert synth() == 2
    assert "holds thesis.txt and would be replaced" in capsys.readouterr().err
    assert (tmp_path / "set" / "thesis.txt").read_text() == "ten years of work"


@pytest.mark.parametrize("fractions", ["0.5,0.5", "1,1,1", "a,b,c", "-1,1,1"])
def test_shares_that_make_no_division_are_refused(fractions, tmp_path, capsys):
    code = run(
        "data",
        "convert",
        "coco",
        "i.json",
        tmp_path,
        "--out",
        tmp_path / "o",
        f"--fractions={fractions}",
    )
    assert code == 2
    assert "three shares" in capsys.readouterr().err


def test_one_split_of_two_is_refused(tmp_path, capsys):
    assert (
        run(
            "data",
            "convert",
            "coco",
            "i.json",
            tmp_path,
            "--out",
            tmp_path / "o",
            "--val",
            "v.json",
        )
        == 2
    )
    assert "only one of --val and --test" in capsys.readouterr().err


def test_records_in_quarantine_are_left_out_of_a_new_set(synth, tmp_path, monkeypatch, capsys):
    from kfdet.core.detection_record import parse_record, serialise_record
    from kfdet.storage.records import read_record_at, write_shards

    assert synth() == 0
    monkeypatch.chdir(tmp_path)
    shard = tmp_path / "set" / "train-00000-of-00003.tfrecord"
    record = parse_record(read_record_at(shard, 0), where="shard")
    record.boxes_yxyx_norm[0] = 0.5  # no area
    payload = serialise_record(record)
    shard.unlink()
    write_shards(tmp_path / "set", stem="bad", payloads=iter([payload]), count=1, shards=1)
    (tmp_path / "set" / "bad-00000-of-00001.tfrecord").rename(shard)
    (tmp_path / "run.yaml").write_text(
        """
name: quarantined
dataset: {label_map: set/label_map.pbtxt, train: set/train-*, val: set/val-*, test: set/test-*}
detector: {input_size: [128, 128]}
training: {steps: 100, batch_size: 1, checkpoint_every: 100}
gate: {rules: [{metric: ap, at_least: 0.5}]}
"""
    )
    assert run("validate", "run.yaml", "--out", "out") == 10
    assert "box-no-area" in capsys.readouterr().err
    code = run(
        "data",
        "exclude",
        "run.yaml",
        "--quarantine",
        "out/quarantine.json",
        "--out",
        "clean",
        "--json",
    )
    assert code == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["excluded"] == {"train": 1, "val": 0, "test": 0}
    clean = [f"dataset.{split}=clean/{split}-*" for split in ("train", "val", "test")]
    sets = [word for override in clean for word in ("--set", override)]
    assert run("validate", "run.yaml", "--out", "out", *sets) == 0
