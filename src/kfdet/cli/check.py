"""`kfdet check`: data and configuration against the gate, in a minute or two and without training."""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kfdet.cli.output import FEASIBILITY_EXIT_CODES, faults_answered
from kfdet.cli.plain import plain
from kfdet.core.experiment import resolve
from kfdet.core.feasibility.estimates import estimate
from kfdet.models.timing import measure_training
from kfdet.progress import Progress
from kfdet.report.wording import duration, size
from kfdet.schema.dataset import Manifest
from kfdet.schema.feasibility import Estimates, Feasibility, RuleFeasibility
from kfdet.schema.run_config import FeasibilityConfig, RunConfig
from kfdet.schema.training import ResolvedExperiment
from kfdet.stages import check as stage
from kfdet.stages import validate
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.registry import ModelRegistry
from kfdet.storage.run_config import read_run_config
from kfdet.storage.splits import on_this_machine, read_split
from kfdet.wording import plural

_IMAGES_TIMED = 16
_STYLES = {"can_pass": "green", "at_risk": "yellow", "cannot_pass": "red"}
_MARKS = {
    "reachable": "[green]in reach[/green]",
    "at_risk": "[yellow]at risk[/yellow]",
    "out_of_reach": "[red]out of reach[/red]",
}


def check(arguments: argparse.Namespace) -> int:
    """Validates the data, measures a few steps, and prints rules, reasons and the verdict."""
    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    out = Path(arguments.out)
    progress = Progress.from_environment("check")
    written = {
        "findings": out / "findings.json",
        "quarantine": out / "quarantine.json",
        "report": out / "data.html",
    }
    with faults_answered(as_json=arguments.json, written=written):
        validate.run(
            dataset=config.dataset,
            manifest=out / "manifest.json",
            statistics=out / "statistics.json",
            findings=written["findings"],
            quarantine=written["quarantine"],
            report=written["report"],
            progress=progress,
        )
    manifest, experiment = _resolved(config, out)
    estimates = None
    if not arguments.no_timing:
        estimates = _estimates(config, experiment, manifest, progress)
    feasibility, report = out / "feasibility.json", out / "report.html"
    result = stage.run(
        experiment=experiment,
        manifest=manifest,
        policy=config.gate,
        severities=config.dataset.severities,
        # A verdict is an answer here: --exit-code makes it more.
        settings=FeasibilityConfig(unreachable_gate="warn"),
        measurement=config.evaluation.measurement(),
        feasibility=feasibility,
        report=report,
        progress=Progress("check", quiet=True),
        estimates=estimates,
        champions=ModelRegistry(config.registry.uri, model=config.registry.model or config.name),
    )
    answer = read_document(Feasibility, feasibility)
    if arguments.json:
        print(answer.pretty_json(), end="")
    else:
        _print(answer, report=report)
    return FEASIBILITY_EXIT_CODES[result.verdict] if arguments.exit_code else 0


def _resolved(config: RunConfig, out: Path) -> tuple[Path, Path]:
    """Returns the manifest of the validated data, and the experiment that would be trained."""
    manifest, experiment = out / "manifest.json", out / "experiment.json"
    data = read_document(Manifest, manifest)
    write_document(experiment, resolve(config.detector, config.training, data))
    return manifest, experiment


def _estimates(
    config: RunConfig, experiment: Path, manifest: Path, progress: Progress
) -> Estimates:
    progress.note("timing a few training steps; --no-timing leaves that out")
    data = read_document(Manifest, manifest)
    images = [
        placed.record.encoded for placed in itertools.islice(read_split(data.val), _IMAGES_TIMED)
    ]
    return estimate(
        measure_training(
            read_document(ResolvedExperiment, experiment),
            data.model_copy(update={"train": on_this_machine(data.train)}),
            images=images,
        ),
        config.training,
        data,
        free_disk_bytes=shutil.disk_usage(Path.cwd()).free,
    )


def _print(answer: Feasibility, *, report: Path) -> None:
    console = Console()
    table = Table(title="The gate's rules before training", title_justify="left")
    for title in ("", "rule", "ceiling", "perfect", "known to within"):
        table.add_column(title, justify="left" if title in ("", "rule") else "right")
    for rule in answer.rules:
        table.add_row(*_row(rule))
    console.print(table)
    style = _STYLES[answer.verdict]
    console.print(f"[bold {style}]{answer.verdict.replace('_', ' ')}[/bold {style}]")
    for reason in answer.reasons:
        console.print(plain(f"  {reason}"), soft_wrap=True)
    for remedy in dict.fromkeys(_remedies(answer)):
        console.print(Text.assemble("  ", ("-> ", "dim"), plain(remedy)), soft_wrap=True)
    for words in _power(answer):
        console.print(plain(words), soft_wrap=True)
    if answer.estimates is not None:
        console.print(plain(_estimated(answer.estimates)), soft_wrap=True)
    console.print(plain(f"report  {report}"), soft_wrap=True)


def _row(rule: RuleFeasibility) -> list[str | Text]:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return [
        _MARKS[rule.outcome], plain(rule.rule), shown(rule.ceiling), shown(rule.perfect),
        shown(rule.half_width),
    ]  # fmt: skip


def _power(answer: Feasibility) -> Iterator[str]:
    """Yields how far the test set tells what the rules ask about."""
    told = [rule for rule in answer.rules if rule.half_width is not None]
    if told:
        yield f"what {plural(answer.ceilings.images, 'test image')} can tell:"
    for rule in told:
        words = (
            f"known to within {rule.half_width:.3f}; a true margin shows from {rule.detectable:.3f}"
        )
        if rule.needed is not None:
            words += f"; holds if measured at {rule.needed:.3f}"
        if rule.more_images is not None:
            words += f"; {plural(rule.more_images, 'more image')} would do"
        yield f"  {rule.rule}: {words}"


def _remedies(answer: Feasibility) -> list[str]:
    rules = [rule.remedy for rule in answer.rules if rule.outcome != "reachable" and rule.remedy]
    about_rules = "gate.rules"
    findings = [
        finding.remedy
        for finding in answer.findings
        if finding.severity != "info" and finding.file != about_rules
    ]
    return [*rules, *findings]


def _estimated(estimates: Estimates) -> str:
    return (
        f"on {estimates.device}: training {duration(estimates.training_time_s)}, the whole run about "
        f"{duration(estimates.total_time_s)}, {size(estimates.memory_bytes)} of memory, "
        f"{size(estimates.disk_bytes)} of checkpoints"
    )
