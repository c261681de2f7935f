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
