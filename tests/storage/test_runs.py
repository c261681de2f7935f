from pathlib import Path

import pytest
from run_cases import run_config, run_record, write_run

from kfdet.errors import ArtifactError
from kfdet.schema.run_record import RUN_FILE
from kfdet.storage.documents import write_document
from kfdet.storage.runs import read_run, read_runs


def test_a_run_is_read_with_the_documents_of_its_stages(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", run_config("first"), ap=0.8))
    assert run.label == "first"
    assert run.summary is not None
    assert run.ledger is not None
    assert run.metrics is not None
    assert run.metrics.overall.ap == 0.8
    assert run.notes == ()


def test_the_record_itself_names_the_run_as_well(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", run_config())
    assert read_run(folder / RUN_FILE) == read_run(folder)


def test_a_moved_run_keeps_its_documents(tmp_path: Path) -> None:
    write_run(tmp_path / "a", run_config()).rename(tmp_path / "moved")
    run = read_run(tmp_path / "moved")
    assert run.metrics is not None
    assert run.notes == ()


def test_a_document_that_was_removed_is_noted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", run_config())
    (folder / "artifacts" / "select" / "ledger").unlink()
    run = read_run(folder)
    assert run.ledger is None
    assert run.summary is not None
    assert "ledger is gone" in run.notes[0]


def test_a_run_that_failed_early_has_only_its_record(tmp_path: Path) -> None:
    write_document(tmp_path / RUN_FILE, run_record(failed="validate"))
    run = read_run(tmp_path)
    assert (run.summary, run.ledger, run.metrics, run.notes) == (None, None, None, ())


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path if exists else tmp_path / "nowhere"
    with pytest.raises(ArtifactError, match=r"holds no run\.json") as failure:
        read_run(folder)
    assert str(folder) in str(failure.value)


def test_a_damaged_document_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", run_config())
    (folder / "artifacts" / "select" / "ledger").write_text('{"half": ')
    with pytest.raises(ArtifactError, match="ledger"):
        read_run(folder)


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / place, run_config("same")) for place in ("a/run", "b/run")]
    assert [run.label for run in read_runs(folders)] == ["a/run", "b/run"]
    assert [run.label for run in read_runs([folders[0], folders[0]])] == ["run (1)", "run (2)"]


def test_runs_of_different_names_go_by_their_names(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, run_config(name)) for name in ("one", "two")]
    assert [run.label for run in read_runs(folders)] == ["one", "two"]
