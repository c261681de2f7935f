"""Reading the folder of a run: its record and the documents that its stages left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from kfdet.core.run_comparison import RunResults
from kfdet.errors import ArtifactError
from kfdet.schema.base import Document
from kfdet.schema.metrics import Metrics
from kfdet.schema.run_record import RUN_FILE, RunRecord
from kfdet.schema.training import Ledger, TrainingSummary
from kfdet.storage.documents import read_document

D = TypeVar("D", bound=Document)


def read_runs(folders: Sequence[Path]) -> tuple[RunResults, ...]:
    """Reads runs and gives each a label: its name, or its folder where names repeat.

    Raises:
        ArtifactError: A folder holds no run, or a document in it is damaged.
    """
    runs = [read_run(folder) for folder in folders]
    names = [run.record.name for run in runs]
    if len(set(names)) == len(names):
        return tuple(runs)
    labels = _shortest_paths(folders)
    return tuple(
        RunResults(
            label=label,
            record=run.record,
            summary=run.summary,
            ledger=run.ledger,
            metrics=run.metrics,
            notes=run.notes,
        )
        for label, run in zip(labels, runs, strict=True)
    )


def read_run(folder: Path) -> RunResults:
    """Reads a run; what a run that broke off never wrote is None.

    Args:
        folder: The run's folder, or its `run.json`.

    Raises:
        ArtifactError: There is no run, or a document of it is damaged.
    """
    folder = folder.parent if folder.name == RUN_FILE else folder
    if not (folder / RUN_FILE).is_file():
        raise ArtifactError(
            f"holds no {RUN_FILE}",
            where=str(folder),
            expected="the folder of a finished or failed run, as kfdet run makes it",
            remedy="A run writes it when it ends; is this one still running?"
            if folder.is_dir()
            else "Check the path.",
        )
    record = read_document(RunRecord, folder / RUN_FILE)
    outputs = {name: value for stage in record.stages for name, value in stage.outputs.items()}
    notes: list[str] = []

    def document(model: type[D], name: str) -> D | None:
        if name not in outputs:
            return None
        path = _find(folder, Path(str(outputs[name])))
        if path is None:
            notes.append(f"{name} is gone: {outputs[name]}")
            return None
        return read_document(model, path)

    return RunResults(
        label=record.name,
        record=record,
        summary=document(TrainingSummary, "summary"),
        ledger=document(Ledger, "ledger"),
        metrics=document(Metrics, "metrics_json"),
        notes=tuple(notes),
    )


def _find(folder: Path, path: Path) -> Path | None:
    """Returns where a file lies now, also when the run's folder was moved since."""
    if path.is_file():
        return path
    tails = (folder.joinpath(*path.parts[start:]) for start in range(1, len(path.parts)))
    return next((tail for tail in tails if tail.is_file()), None)


def _shortest_paths(folders: Sequence[Path]) -> list[str]:
    """Returns the shortest ends of the paths that tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(one[-length:]) for one in parts]
        if len(set(ends)) == len(ends):
            return ends
    return [f"{'/'.join(one[-1:])} ({position})" for position, one in enumerate(parts, start=1)]
