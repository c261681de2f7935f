import re
from pathlib import Path

from checks import parse_xml
from run_cases import run_record

from kfdet.report.dag import pipeline_dag, run_dag
from kfdet.schema.run_record import STAGES

PICTURE = Path(__file__).parents[2] / "docs" / "dag.svg"


def test_the_picture_in_the_documentation_is_the_one_drawn() -> None:
    assert PICTURE.read_text(encoding="utf-8") == pipeline_dag(), (
        "regenerate it with: make generate"
    )


def test_the_picture_of_the_pipeline_stands_alone() -> None:
    svg = pipeline_dag()
    assert parse_xml(svg).tag == "{http://www.w3.org/2000/svg}svg"
    # Colours of stages that ran are the page's; nothing has run here.
    used = set(re.findall(r"var\((--[a-z-]+)\)", svg)) - {"--good", "--bad", "--bad-wash"}
    assert used <= set(re.findall(r"(--[a-z-]+):", svg))
    assert all(name in svg for name in STAGES)


def test_every_stage_has_its_state_and_a_link_where_it_has_a_report() -> None:
    record = run_record(failed="select")
    root = parse_xml(run_dag(record.stages, tasks={"evaluate": 2}, registry="unchanged"))
    groups = [e for e in root.iter() if e.get("class") in ("done", "failed", "skipped")]
    states = [group.get("class") for group in groups]
    assert states == ["done"] * 5 + ["failed"] + ["skipped"] * 5
    hrefs = [e.get("href") for e in root.iter() if e.get("href")]
    assert hrefs == [f"reports/{stage}.html" for stage in STAGES[:5]]


def test_a_long_key_figure_is_cut_in_the_box_and_whole_in_its_title() -> None:
    words = " ".join(f"word{k}" for k in range(40))
    stage = run_record().stages[0].model_copy(update={"key_figure": words})
    root = parse_xml(run_dag([stage], tasks={}, registry="x"))
    lines = [e.text or "" for e in root.iter() if e.get("class") == "line"]
    assert max(map(len, lines)) <= 27
    titles = [e.text or "" for e in root.iter() if e.tag.endswith("title")]
    assert any(words in title for title in titles)
