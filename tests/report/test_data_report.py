from __future__ import annotations

import contextlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dataset_cases import CLASSES, QUIET, config_of, payload, sound_splits, write_dataset

from kfdet.errors import DataError
from kfdet.stages import validate


class Text(HTMLParser):
    """Collects the words of a page and the images in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.images = 0
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        self.images += tag == "img"
        self.loads += [values[k] for k in ("src", "href") if values.get(k)]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def report(tmp_path: Path, splits: dict | None = None, **severities: str) -> Text:
    write_dataset(tmp_path / "cells", splits)
    names = ("manifest", "statistics", "findings", "report")
    with contextlib.suppress(DataError):
        validate.run(
            dataset=config_of(tmp_path / "cells", **severities),
            progress=QUIET,
            **{name: tmp_path / name for name in names},
        )
    return Text((tmp_path / "report").read_text())


def test_a_sound_set_is_called_sound_and_shown(tmp_path: Path):
    page = report(tmp_path, sound_splits(8))
    assert "Data of cells sound" in page.text
    assert "Every check passed on every record." in page.text
    assert page.images == 18
    for word in (*CLASSES, "8 images in train", "64 x 48", "train-00000-of-00002.tfrecord"):
        assert word in page.text


def test_findings_are_grouped_worst_first_with_their_places(tmp_path: Path):
    splits = sound_splits(4)
    splits["val"] += [payload(seed=90 + n, format=[b"png"]) for n in range(3)]
    splits["test"].append(payload(seed=99, boxes=[(0.1, 0.1, 0.1, 0.5)]))
    page = report(tmp_path, splits)
    assert "Data of cells 1 error" in page.text
    assert page.text.index("box-no-area") < page.text.index("image-format-mismatch: 3")
    assert "box 0 (cat): ymin 0.1, xmin 0.1, ymax 0.1, xmax 0.5" in page.text
    assert "test-00001-of-00002.tfrecord" in page.text
    assert "Images with findings" in page.text


def test_more_findings_than_are_shown_are_counted(tmp_path: Path):
    splits = sound_splits(2)
    splits["train"] += [payload(seed=100 + n, format=[b"png"]) for n in range(31)]
    page = report(tmp_path, splits)
    assert "31 warnings" in page.text
    assert "The first 20 of 31" in page.text


def test_texts_of_the_data_are_escaped(tmp_path: Path):
    splits = sound_splits(2)
    splits["train"].append(
        payload(
            seed=50, source_id=[b"<script>alert(1)</script>"], object__class__text=[b"<b>x</b>"]
        )
    )
    report(tmp_path, splits)
    page = (tmp_path / "report").read_text()
    assert "<script>alert" not in page
    assert "<b>x</b>" not in page
    assert "&lt;script&gt;alert" in page


def test_the_page_loads_nothing(tmp_path: Path):
    page = report(tmp_path)
    assert all(target.startswith(("data:", "#")) for target in page.loads)


@pytest.mark.parametrize("content", [b"", b"rubbish that is no record"])
def test_a_set_without_a_single_image_has_a_page_all_the_same(tmp_path: Path, content: bytes):
    write_dataset(tmp_path / "cells")
    for path in (tmp_path / "cells").glob("*.tfrecord"):
        path.write_bytes(content)
    names = ("manifest", "statistics", "findings", "report")
    with pytest.raises(DataError):
        validate.run(
            dataset=config_of(tmp_path / "cells"),
            progress=QUIET,
            **{name: tmp_path / name for name in names},
        )
    assert "split-empty" in Text((tmp_path / "report").read_text()).text
