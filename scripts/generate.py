"""Writes every generated file of the repository, or checks that they are as the code says.

python scripts/generate.py           writes them
python scripts/generate.py --check   ends with 1 and names those that differ
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import sys
import tempfile
import types
import typing
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["COLUMNS"] = "100"

REMEDY = "make generate"
STAGES = (
    "fingerprint", "examine", "validate", "warmstart", "render", "check", "train", "select", "evaluate", "merge",
    "champion", "record", "gate", "export", "publish",
)  # fmt: skip


def compiled_pipeline() -> str:
    """Returns the compiled pipeline, as the checkout's code compiles it."""
    from kfdet.cli.pipeline_source import compile_pipeline

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "pipeline.yaml")
        compile_pipeline(target)
        return target.read_text()


def component_readme(stage: str) -> str:
    """Returns a component's README with its table of inputs and outputs made from the code."""
    component = getattr(importlib.import_module(f"components.{stage}.component"), stage)
    return _with_block(
        ROOT / "components" / stage / "README.md", "interface", _interface_table(component)
    )


def _interface_table(component: typing.Any) -> str:
    spec = component.component_spec
    words = _argument_docs(component.python_func.__doc__)
    lines = ["| input | type | what it is |", "|---|---|---|"]
    for name, value in (spec.inputs or {}).items():
        kind = f"list of {value.type}" if getattr(value, "is_artifact_list", False) else value.type
        lines.append(f"| `{name}` | {_short(kind)} | {words[name]} |")
    lines += ["", "| output | type | what it is |", "|---|---|---|"]
    for name, value in (spec.outputs or {}).items():
        lines.append(f"| `{name}` | {_short(value.type)} | {words[name]} |")
    return "\n".join(lines)


def _short(kind: str) -> str:
    return kind.split("@")[0].replace("system.", "")


def _argument_docs(docstring: str) -> dict[str, str]:
    return {
        name: " ".join(text.split())
        for name, text in re.findall(r"^ {8}(\w+): (.+(?:\n {12,}.+)*)", docstring, re.M)
    }


def cluster_ui() -> str:
    """Returns the page on the cluster's UI with its part on the stages made from the components."""
    parts = "\n\n".join(_in_cluster_ui(stage) for stage in STAGES)
    return _with_block(ROOT / "docs" / "cluster-ui.md", "stages", parts)


def _in_cluster_ui(stage: str) -> str:
    component = getattr(importlib.import_module(f"components.{stage}.component"), stage)
    spec, words = component.component_spec, _argument_docs(component.python_func.__doc__)
    title = importlib.import_module(f"components.{stage}.component").__doc__
    lines = [
        f"### {stage}",
        "",
        title,
        "",
        "| output | where it shows | what it is |",
        "|---|---|---|",
    ]
    for name, value in (spec.outputs or {}).items():
        lines.append(f"| `{name}` | {_place_in_ui(name, value.type)} | {words[name]} |")
    if (ROOT / "docs" / "ui" / f"{stage}.png").exists():
        lines += ["", f"![The report of {stage}](ui/{stage}.png)"]
    return "\n".join(lines)


def _place_in_ui(name: str, kind: str) -> str:
    if name == "mlpipeline_ui_metadata":
        return "Visualization: the button of TensorBoard"
    places = {"HTML": "Visualization: the page below", "Metrics": "Visualization, Compare runs: numbers",
              "ClassificationMetrics": "Visualization: a table",
              "Artifact": "Input/Output: a link to the file"}  # fmt: skip
    return places.get(_short(kind), "Input/Output: the value")


def configuration_reference() -> str:
    """Returns the reference of the run configuration, made from its schema."""
    from kfdet.schema.run_config import RunConfig

    head = (
        "# Configuration reference\n\n"
        "A run is one YAML file. Unknown keys are errors. Generated from "
        "`src/kfdet/schema` by `make generate`.\n\n"
        "| key | type | default | what it says |\n|---|---|---|---|\n"
    )
    return head + "\n".join(_configuration_rows(RunConfig, "")) + "\n"


def _configuration_rows(model: typing.Any, prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name == "schema_version":
            continue
        nested, many = _nested_model(field.annotation)
        path = f"{prefix}{name}"
        if nested:
            yield from _configuration_rows(nested, f"{path}[]." if many else f"{path}.")
            continue
        default = (
            "required"
            if field.is_required()
            else f"`{_yaml(field.get_default(call_default_factory=True))}`"
        )
        words = field.description or ""
        yield f"| `{path}` | {_type_words(field.annotation)} | {default} | {words} |"


def _nested_model(annotation: typing.Any) -> tuple[typing.Any, bool]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            nested, many = _nested_model(argument)
            if nested:
                return nested, many
    if typing.get_origin(annotation) is tuple:
        nested, _ = _nested_model(typing.get_args(annotation)[0])
        return nested, nested is not None
    return None, False


def _type_words(annotation: typing.Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_words(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        words = _type_words(arguments[0])
        return f"list of {words}"
    if origin is dict:
        return "mapping"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_words(a) for a in arguments if a is not type(None))
    names = {str: "text", int: "integer", float: "number", bool: "`true` or `false`"}
    return names.get(annotation, str(annotation))


def _yaml(value: typing.Any) -> str:
    import json

    return json.dumps(list(value) if isinstance(value, tuple) else value)


def metrics_reference() -> str:
    """Returns the reference of metrics.json, made from its schema and the docstrings there."""
    from kfdet.schema.metrics import Metrics

    head = (
        "# Metrics reference\n\n"
        "What `merge` and `kfdet metrics` write into `metrics.json`. All metrics are in [0, 1]; one "
        "that nothing defines is null, never -1. On the same COCO files the statistics are "
        "pycocotools' to the bit, but where an annotation has the id 0: it counts like any other, "
        "while pycocotools takes a hit on it for none. `[]` is a list, `{}` a mapping by name. Generated "
        "from `src/kfdet/schema/metrics.py` by `make generate`.\n\n"
        "| field | type | what it is |\n|---|---|---|\n"
    )
    return head + "\n".join(_metrics_rows(Metrics, "")) + "\n"


def _metrics_rows(model: typing.Any, prefix: str) -> Iterator[str]:
    words = _field_docs(model)
    for name, field in model.model_fields.items():
        if name == "schema_version":
            continue
        nested, many = _nested_model(field.annotation)
        path = f"{prefix}{name}{'[]' if many else ''}"
        said = words.get(name, field.description)
        if not said:
            raise SystemExit(f"{model.__name__}.{name} has no words in its schema's docstring")
        kind = nested.__name__ if nested else _metric_type(field.annotation)
        yield f"| `{path}` | {kind} | {said} |"
        if nested:
            yield from _metrics_rows(nested, f"{path}.")


def _metric_type(annotation: typing.Any) -> str:
    from kfdet.schema.base import UnitInterval

    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation == UnitInterval:
        return "number in [0, 1]"
    if origin is typing.Annotated:
        return _metric_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _metric_type(a) for a in arguments)
    if origin is tuple:
        return f"list of {_metric_type(arguments[0])}"
    if origin is dict:
        return f"mapping to {_metric_type(arguments[1])}"
    return _type_words(annotation)


def _field_docs(model: typing.Any) -> dict[str, str]:
    """Returns what the sections Attributes of a schema and its bases say of each field."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        found |= _own_field_docs(base, known=model.model_fields.keys())
    return found


def _own_field_docs(model: typing.Any, *, known: Collection[str]) -> dict[str, str]:
    text = inspect.cleandoc(model.__doc__ or "")
    _, _, section = text.partition("Attributes:\n")
    lines = section.partition("\n\n")[0].splitlines()
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        begun = re.match(r" {0,4}(\w+(?:, \w+)*): (.+)", line)
        if begun and set(begun[1].split(", ")) <= set(known):
            names = begun[1].split(", ")
            found |= dict.fromkeys(names, begun[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def findings_reference() -> str:
    """Returns the table of all the validator's findings, and the limits of some."""
    from kfdet.core.validation.catalogue import CATALOGUE

    rows = "\n".join(
        f"| `{check.code}` | {check.severity} | {check.what} | {check.why} | {check.remedy} |"
        for check in CATALOGUE
    )
    limits = "\n".join(f"- `{check.code}`: {check.limits}" for check in CATALOGUE if check.limits)
    return (
        "# Findings\n\nWhat `kfdet validate` looks for, and from `rule-out-of-reach` on `kfdet check`. "
        "An error stops the pipeline before `render`. `dataset.severities` in the run configuration changes a severity or turns a "
        "check `off`. Generated by `make generate`.\n\n"
        "| code | severity | what | why it matters | remedy |\n|---|---|---|---|---|\n"
        + rows
        + "\n\n## What is not found\n\n"
        + limits
        + "\n"
    )


def help_text(*verb: str) -> str:
    """Returns what `kfdet VERB --help` prints, at 100 columns."""
    from kfdet.cli.main import build_parser

    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        build_parser().parse_args([*verb, "--help"])
    return output.getvalue()


VERBS = (
    (), ("run",), ("compile",), ("compare",), ("predict",), ("data", "synth"), ("data", "exclude"),
    ("data", "convert", "voc"), ("data", "convert", "coco"), *((stage,) for stage in STAGES),
    ("submit",), ("schedule",), ("schedule", "create"), ("schedule", "list"),
    ("schedule", "pause"), ("schedule", "resume"), ("schedule", "delete"), ("runs",), ("status",),
    ("logs",), ("terminate",), ("metrics",),
)  # fmt: skip


def all_help() -> str:
    """Returns the help of every verb, one after the other."""
    return "\n".join(f"$ kfdet {' '.join([*verb, '--help'])}\n{help_text(*verb)}" for verb in VERBS)


def _with_block(path: Path, name: str, content: str) -> str:
    begin, end = f"<!-- {name}: made by {REMEDY} -->", f"<!-- end of {name} -->"
    text = path.read_text()
    if begin not in text or end not in text:
        raise SystemExit(f"{path} has no lines {begin} and {end}")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}"


def generated_files() -> dict[Path, str]:
    """Returns every generated file with the content that the code gives it."""
    from kfdet.report.dag import pipeline_dag

    files = {
        ROOT / "pipelines/detection_training/pipeline.yaml": compiled_pipeline(),
        ROOT / "docs/configuration.md": configuration_reference(),
        ROOT / "docs/findings.md": findings_reference(),
        ROOT / "docs/metrics.md": metrics_reference(),
        ROOT / "docs/cluster-ui.md": cluster_ui(),
        ROOT / "docs/dag.svg": pipeline_dag(),
        **{ROOT / "components" / s / "README.md": component_readme(s) for s in STAGES},
    }
    if sys.version_info[:2] == (3, 11):  # argparse words its help differently in other versions
        files[ROOT / "tests/golden/help.txt"] = all_help()
    return files


def main() -> None:
    check = sys.argv[1:] == ["--check"]
    stale = [p for p, text in generated_files().items() if not p.exists() or p.read_text() != text]
    for path in stale:
        print(f"{'differs' if check else 'writing'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated_files()[path])
    if check and stale:
        raise SystemExit(f"{len(stale)} generated files differ from the code. Remedy: {REMEDY}")


if __name__ == "__main__":
    main()
