"""The page on the cluster's UI says of every stage what its component declares, and shows its report."""

import importlib
import re
from pathlib import Path

import pytest
from PIL import Image

from kfdet.schema.run_record import STAGES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster-ui.md").read_text()
PICTURES = sorted((ROOT / "docs" / "ui").glob("*.png"))
COMPONENTS = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))
MAX_DOCS_BYTES = 2_000_000


def outputs(stage):
    component = getattr(importlib.import_module(f"components.{stage}.component"), stage)
    return {name: value.type for name, value in (component.component_spec.outputs or {}).items()}


def section(stage):
    found = re.search(rf"^### {stage}\n(.*?)(?=^### |^<!-- end)", PAGE, re.M | re.S)
    assert found, f"docs/cluster-ui.md says nothing of {stage}: make generate"
    return found[1]


@pytest.mark.parametrize("stage", COMPONENTS)
class TestStage:
    def test_what_is_listed_is_what_the_component_declares(self, stage):
        listed = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", section(stage), re.M)
        assert [name for name, _ in listed] == list(outputs(stage))
        for name, place in listed:
            shown = outputs(stage)[name]
            assert ("the page below" in place) == shown.startswith("system.HTML"), name
            assert ("numbers" in place) == shown.startswith("system.Metrics"), name
            assert ("TensorBoard" in place) == (name == "mlpipeline_ui_metadata"), name

    def test_a_task_has_one_page_at_most_which_is_all_that_the_ui_shows(self, stage):
        pages = [n for n, kind in outputs(stage).items() if kind.startswith("system.HTML")]
        assert pages in ([], ["report"])

    def test_a_report_has_its_picture(self, stage):
        pictured = f"(ui/{stage}.png)" in section(stage)
        assert pictured == ("report" in outputs(stage)), "scripts/pictures.py RUN, make generate"


def test_every_stage_of_a_run_shows_numbers():
    assert all("metrics" in outputs(stage) for stage in STAGES)


def test_pictures_are_of_something_and_the_documentation_stays_small():
    assert PICTURES
    for path in PICTURES:
        assert f"(ui/{path.name})" in PAGE
        with Image.open(path) as image:
            assert image.size[0] > 1000
            assert len(image.convert("RGB").getcolors(1 << 16)) >= 16, path
    whole = sum(path.stat().st_size for path in (ROOT / "docs").rglob("*") if path.is_file())
    assert whole < MAX_DOCS_BYTES
