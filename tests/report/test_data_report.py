from __future__ import annotations

import base64
import contextlib
import io
import re
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from dataset_cases import (
    CLASSES,
    QUIET,
    config_of,
    payload,
    sound_splits,
    with_image,
    write_dataset,
)
from PIL import Image

from kfdet.core.detection_record import parse_record
from kfdet.core.validation.partial import Partial, statistics_of
from kfdet.core.validation.samples import Sample
from kfdet.errors import DataError
from kfdet.report.data import DataReport, build
from kfdet.schema.dataset import Findings
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


def test_every_kind_of_finding_has_its_picture_and_the_worst_image_comes_first(tmp_path: Path):
    splits = sound_splits(4)
    splits["train"] += [
        payload(seed=80, format=[b"png"]),
        payload(seed=81, boxes=[(0.1, 0.1, 0.1, 0.5), (0.1, 0.2, 0.6, 0.7), (0.1, 0.1, 0.1, 0.6)]),
        payload(seed=82, encoded=[b"rubbish"]),
    ]
    page = report(tmp_path, splits)
    worst = page.text[page.text.index("Worst images") : page.text.index("The first images")]
    assert "box-no-area (2) (train, 81, record 1)" in worst
    shown = page.text[page.text.index("The first images") :]
    for code in ("box-no-area", "image-format-mismatch", "image-undecodable"):
        assert f"{code}: " in shown
    assert "(train, 82, record 2): can't be shown" in shown


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_image_is_shown_small(tmp_path: Path, kind: str):
    splits = sound_splits(2)
    image = Image.new("RGB", (1301, 650), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 650, 650))
    splits["train"] = [with_image(image, kind)]
    page = report(tmp_path, splits)
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))
        for source in page.loads
        if source.startswith("data:image/jpeg")
    ]
    large = [picture for picture in pictures if picture.width == 320]
    assert {picture.size for picture in large} == {(320, 160)}
    red, blue = (np.asarray(large[0].convert("RGB"))[80, x].argmax() for x in (40, 280))
    assert (red, blue) == (0, 2)
    assert 'viewBox="0 0 320 160"' in (tmp_path / "report").read_text()


def test_small_boxes_that_are_meant_are_shown_enlarged(tmp_path: Path):
    splits = sound_splits(4)
    near = [(0.1, 0.2, 0.3, 0.35), (0.5, 0.5, 0.9, 0.9), (0.1, 0.2, 0.3, 0.352)]
    labels = {
        "object__class__label": np.array([1, 2, 1]),
        "object__class__text": [b"cat", b"dog", b"cat"],
    }
    splits["train"][1] = payload(seed=71, boxes=near, **labels)
    report(tmp_path, splits)
    html = (tmp_path / "report").read_text()
    whole, enlarged = (
        html[html.rindex("<figure", 0, at) : at]
        for at in (
            html.index("box-near-duplicate: box 2"),
            html.index("box-near-duplicate, enlarged"),
        )
    )
    assert 'aria-label="3 boxes"' in whole
    assert 'aria-label="2 boxes"' in enlarged
    size = re.search(r'width="(\d+)" height="(\d+)"', enlarged)
    assert size is not None
    # Twice the boxes' longer side, of 64 x 48 pixels.
    assert all(19 <= int(side) <= 20 for side in size.groups())


@pytest.mark.parametrize(
    "box", [(0.1, 0.2, 0.6, 0.2), (1.2, 1.3, 1.3, 1.4), (0.1, 0.2, float("nan"), 0.2)]
)
def test_boxes_that_are_large_or_outside_are_not_enlarged(tmp_path: Path, box: tuple):
    splits = sound_splits(4)
    splits["train"][1] = payload(seed=71, boxes=[box])
    assert "enlarged" not in report(tmp_path, splits).text


def test_images_that_are_alike_are_shown_side_by_side(tmp_path: Path):
    splits = sound_splits(4)
    splits["test"][1] = splits["train"][2]
    write_dataset(tmp_path / "cells", splits)
    text = report(tmp_path, splits).text
    pair = text[text.index("Side by side") :]
    first = pair.index("image-in-two-splits: the image of train")
    assert first < pair.index("image-in-two-splits: the one it is like (train, 2, record 0)")


def test_the_page_stays_small_however_many_findings_boxes_and_classes_there_are(tmp_path: Path):
    crowded = payload(
        boxes=[(0.1, 0.2, 0.6, 0.7)] * 5000,
        object__class__label=np.arange(10, 5010),
        object__class__text=[b"<script>" * 20] * 5000,
        object__is_crowd=np.ones(5000, np.int64),
    )
    splits = sound_splits(2)
    splits["train"] += [
        crowded,
        *(payload(seed=n, boxes=[(0.1, 0.1, 0.1, 0.5)]) for n in range(200)),
    ]
    page = report(tmp_path, splits)
    assert (tmp_path / "report").stat().st_size < 1_500_000
    assert "class-id-unknown: 5,000" in page.text
    assert "The first 20 of 5,000; quarantine.json lists every record with an error" in page.text
    assert "The first 500 of 5,002" in page.text
    assert len(page.words) < 20_000


def test_images_are_taken_one_after_another(tmp_path: Path):
    """Each may be as large as a shard: those that are drawn must be gone before the next comes."""
    content = parse_record(payload(boxes=[(0.1, 0.2, 0.6, 0.7)]), where="")
    alive: list[weakref.ref[Sample]] = []

    def samples() -> Iterator[Sample]:
        for number in range(4):
            assert sum(kept() is not None for kept in alive) <= 1
            sample = Sample(split="train", file="f", record=number, content=content)
            alive.append(weakref.ref(sample))
            yield sample

    nothing = Findings(counts={}, errors=0, warnings=0, infos=0, findings=())
    report = DataReport(
        name="cells",
        findings=nothing,
        statistics=statistics_of({"train": Partial()}, names={}),
        class_names={},
        files=(),
        samples=samples(),
        exhibits=((sample,) for sample in samples()),
        worst=samples(),
    )
    assert build(report).count("<figure") == 12
