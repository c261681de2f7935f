import json
from pathlib import Path

import pytest
from run_cases import HOSTILE, run_config, write_run

from kfdet.cli.compare import compare
from kfdet.errors import ArtifactError


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "a", run_config("base"), ap=0.7, classes=("circle", HOSTILE)),
        write_run(tmp_path / "b", run_config("hot", peak=0.01), ap=0.8, classes=("circle",)),
    ]


def test_settings_and_metrics_are_printed_beside_each_other(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    compare(folders, html=None, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "training.learning_rate.peak 0.003 0.01" in lines
    assert "ap50 0.700 0.800 +0.100 best" in lines
    assert f"{HOSTILE} 0.700 –" in lines


def test_json_is_one_object_and_nothing_else(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    compare(folders, html=None, as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["settings"] == {"training.learning_rate.peak": [0.003, 0.01]}
    assert answer["metrics"]["ap"]["values"] == [0.7, 0.8]
    assert answer["metrics"]["ap"]["best"] == [1]
    assert [run["label"] for run in answer["runs"]] == ["base", "hot"]


def test_the_page_is_written_beside_the_table(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(folders, html=tmp_path / "out" / "page.html", as_json=False)
    assert (tmp_path / "out" / "page.html").read_text().startswith("<!doctype html>")
    assert "page.html" in capsys.readouterr().out


def test_a_folder_without_a_run_is_an_error_before_anything_is_printed(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ArtifactError):
        compare([*folders, tmp_path / "nowhere"], html=None, as_json=False)
    assert capsys.readouterr().out == ""


def test_names_that_a_terminal_would_obey_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        write_run(tmp_path / name, run_config(name), classes=("\x1b[2J[/red]\u202ecat",))
        for name in ("a", "b")
    ]
    compare(folders, html=tmp_path / "[/bold].html", as_json=False)
    said = capsys.readouterr().out
    assert "\\x1b[2J[/red]\\u202ecat" in said
    assert "[/bold].html" in said
    assert "\x1b" not in said
