"""Every component folder is complete, and what it says is what the code does."""

import ast
import datetime
import importlib
from pathlib import Path

import pytest
import yaml

from kfdet.schema.run_record import STAGES as RUN_STAGES

# A run on one machine names its data before it begins, and begins as its configuration says.
STAGES = ("fingerprint", "warmstart", "champion", "record", *RUN_STAGES)
ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ROOT / "components"


def component(stage):
    return getattr(importlib.import_module(f"components.{stage}.component"), stage)


def test_there_is_one_folder_for_each_stage():
    folders = {path.parent.name for path in COMPONENTS.glob("*/component.py")}
    assert folders == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
class TestComponent:
    def test_metadata_has_the_community_s_keys_in_their_order(self, stage):
        metadata = yaml.safe_load((COMPONENTS / stage / "metadata.yaml").read_text())
        assert list(metadata) == ["name", "stability", "dependencies", "tags", "lastVerified"]
        assert metadata["name"] == stage
        assert metadata["dependencies"]["kubeflow"][0]["name"] == "Pipelines"
        verified = datetime.datetime.fromisoformat(metadata["lastVerified"])
        assert verified.tzinfo is not None

    def test_owners_name_somebody(self, stage):
        owners = yaml.safe_load((COMPONENTS / stage / "OWNERS").read_text())
        assert owners["approvers"]
        assert owners["reviewers"]

    def test_imports_at_the_top_are_the_standard_library_kfp_and_components(self, stage):
        tree = ast.parse((COMPONENTS / stage / "component.py").read_text())
        modules = {
            alias.name if isinstance(node, ast.Import) else node.module
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert {module.split(".")[0] for module in modules} <= {"typing", "kfp", "components"}

    def test_the_body_imports_its_own_stage_and_no_other(self, stage):
        tree = ast.parse((COMPONENTS / stage / "component.py").read_text())
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "kfdet.stages"
            for alias in node.names
        }
        assert imported == {stage}

    def test_every_argument_and_output_is_described(self, stage):
        from scripts.generate import _argument_docs

        spec = component(stage).component_spec
        described = _argument_docs(component(stage).python_func.__doc__)
        assert set(described) == {*(spec.inputs or {}), *(spec.outputs or {})}

    def test_the_example_in_the_readme_is_made_of_command_lines_that_parse(self, stage):
        from kfdet.cli.main import build_parser

        text = (COMPONENTS / stage / "README.md").read_text()
        for line in text.split("```\n")[1].splitlines():
            program, *arguments = line.split()
            assert program == "kfdet"
            parsed = build_parser().parse_args(arguments)
        assert parsed.handler.endswith(f":{stage}")


def test_the_stage_takes_what_its_component_passes():
    """A keyword that the stage does not know would only show in a running pipeline."""
    import inspect

    for stage in STAGES:
        source = (COMPONENTS / stage / "component.py").read_text()
        call = next(
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "stage.run"
        )
        run = importlib.import_module(f"kfdet.stages.{stage}").run
        parameters = inspect.signature(run).parameters
        passed = {keyword.arg for keyword in call.keywords}
        required = {n for n, p in parameters.items() if p.default is inspect.Parameter.empty}
        assert passed <= set(parameters), stage
        assert required <= passed, stage
