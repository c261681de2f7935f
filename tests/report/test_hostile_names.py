"""Class names, file names, source ids and labels stay text, and in bounds, in every page and picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checks import check_page, parsed, text_of
from evaluation_cases import label_map, metrics, statistics, write_export
from markdown_it import MarkdownIt
from page_cases import PAGES, data_page, measured
from PIL import Image, ImageFont
from run_cases import HOSTILE

from kfdet.core.gating import decide
from kfdet.core.model_card import model_card
from kfdet.report.pictures import PictureBox, draw_boxes, picture
from kfdet.schema.gate_policy import GatePolicy, GateRule
from kfdet.storage.documents import write_document
from kfdet.storage.ui import write_confusion
from kfdet.visible import visible

LONG = "wide " * 400 + "x" * 8000
NAMES = {
    "markup": f"{HOSTILE}</svg><img src=x onerror=alert(1)></td></title></style></script>"
    '<kfdet-x onload=alert(1)><a href="javascript:alert(1)">here</a><!-- --><![CDATA[x]]><?x?>'
    "&lt;script&gt;&#60;b&#62;",
    "attributes": "\" onerror=\"alert(1)\" ' onload='alert(1)' `",
    "other syntax": "../../../etc/passwd [/bold][red] {0} {name} %s %(x)s $(id) a|b *b* _c_ #",
    "hidden": "a\0b\x1b[31m\x7f\x85c one\ntwo\tthree \u202egnp.exe\u2066",
    "long": LONG,
}
each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@each_name
@pytest.mark.parametrize("page", PAGES)
def test_a_name_is_text_on_every_page(page: str, name: str, tmp_path: Path):
    html = PAGES[page](name, tmp_path)
    check_page(html)
    assert " ".join(visible(name).split()) in text_of(html)
    assert len(html.encode()) < 500_000


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"render"}))
def test_a_long_name_stands_in_a_box_that_scrolls(page: str, tmp_path: Path):
    assert max(map(len, parsed(PAGES[page](LONG, tmp_path)).flowing)) < 2_000


def test_no_name_decides_where_anything_is_written(tmp_path: Path):
    data_page(f"../../{HOSTILE}", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}


@each_name
def test_a_name_is_text_in_the_model_card(name: str, tmp_path: Path):
    measurements = metrics(classes={"circle": statistics(), name: statistics()})
    policy = GatePolicy(rules=(GateRule(metric="ap", class_name=name, at_least=0.1),))
    export = write_export(tmp_path).model_copy(update={"label_map": label_map("circle", name)})
    card = model_card(
        model="shapes",
        version=3,
        run=name,
        created="2026-01-01T00:00:00+00:00",
        export=export,
        metrics=measurements,
        decision=decide(measurements, policy=policy, champion=None),
    )
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card)
    usual = [
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "pre",
        "code",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
    ]
    assert {tag for tag, _ in parsed(html).tags} == set(usual)
    assert text_of(html).count(" ".join(visible(name).split())) == 4
    assert visible(card) == card


@each_name
def test_a_name_is_text_in_the_confusion_that_the_cluster_shows(name: str, tmp_path: Path):
    class Artifact:
        path = str(tmp_path / "confusion")

        def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
            self.categories, self.matrix = categories, matrix

    write_document(tmp_path / "metrics.json", measured(name)[2])
    artifact = Artifact()
    write_confusion(artifact, metrics_json=tmp_path / "metrics.json")
    written = json.loads(Path(artifact.path).read_text())
    assert written == {"categories": artifact.categories, "matrix": artifact.matrix}
    assert any(shown.startswith(name[:10]) for shown in artifact.categories)


@pytest.mark.parametrize(
    "kind",
    [*NAMES, "", "half\udcff", "\u0628\u0629", "\u65e5\u672c", "\U0001f408", "accents"],
    ids=lambda kind: ascii(kind)[1:-1] or "none",
)
def test_a_name_is_drawn_into_a_picture(kind: str, monkeypatch: pytest.MonkeyPatch):
    name = "e" + "\u0301" * 5000 if kind == "accents" else NAMES.get(kind, kind)
    image = Image.new("RGB", (300, 200))
    boxes = [
        PictureBox(xmin=i, ymin=i, xmax=i + 50, ymax=i + 40, label=name, kind="detection")
        for i in range(0, 150, 6)
    ]
    # Laying text out takes longer than in proportion to its length: only so much of a name is.
    measured: list[str] = []
    font = type(ImageFont.load_default(12))
    getlength = font.getlength

    def noting(self: ImageFont.FreeTypeFont, text: str, *more: object, **options: object) -> float:
        assert len(text) <= 200
        measured.append(text)
        return getlength(self, text, *more, **options)

    monkeypatch.setattr(font, "getlength", noting)
    drawn = draw_boxes(image, boxes)
    html = picture(image, boxes, caption=name)
    assert len(measured) <= 2 * 200 * len(boxes)
    assert drawn.size == image.size
    assert np.asarray(drawn).any()
    assert visible(html) == html
    assert len(html) < 100_000


@pytest.mark.parametrize("size", [(40, 200_000), (200_000, 40), (1, 1), (1, 70_000)])
def test_an_image_of_any_shape_has_a_picture(size: tuple[int, int]):
    box = PictureBox(xmin=0, ymin=0, xmax=size[0], ymax=size[1], label="a", kind="hit")
    html = picture(Image.new("L", size), [box])
    (shown,) = (attributes for tag, attributes in parsed(html).tags if tag == "img")
    assert int(shown["width"] or 0) <= 320
    assert int(shown["height"] or 0) <= 1280
