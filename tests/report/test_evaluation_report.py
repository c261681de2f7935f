import re

import pytest
from evaluation_cases import label_map, random_data, shard_result
from PIL import Image

from kfdet.core.advice import advise
from kfdet.core.coco import canonical, metrics_document
from kfdet.core.measurement import measure
from kfdet.errors import DataError
from kfdet.report.evaluation import evaluation_page
from kfdet.report.galleries import Example, Galleries, example_boxes, read_galleries
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DiagnosisConfig

NOTHING = Galleries(misses=(), false_alarms=(), typical=())


def evaluated(data, labels):
    data = canonical(data)
    found = measure(data, label_map=labels, engine="hotcoco", config=MeasurementConfig())
    document = metrics_document(
        found.evaluation,
        data,
        shard_result(data, num_shards=2),
        label_map=labels,
        evidence_digest="e" * 64,
        details=found.details,
    )
    return document, found.diagnosis


@pytest.fixture(scope="module")
def page():
    labels = label_map("circle", "square", "triangle")
    document, diagnosis = evaluated(random_data(1, images=30), labels)
    example = Example.of(3, Image.new("RGB", (300, 300), "green"))
    galleries = Galleries(misses=(example,), false_alarms=(example,), typical=())
    advice = advise(document, config=DiagnosisConfig(low_recall=1.0, low_precision=1.0))
    return document, diagnosis, evaluation_page(document, diagnosis, galleries, advice=advice)


def test_the_page_shows_the_twelve_numbers_in_words(page):
    document, _, html = page
    for label in ("Average precision", "AP50", "Recall, 100 boxes", "Recall, large"):
        assert label in html
    assert f"{document.overall.ap:.3f}" in html


def test_the_page_has_its_sections_and_only_galleries_with_pictures(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page[2])
    assert titles == [
        "What stands out", "Classes", "Precision and recall", "Score threshold", "Errors",
        "Confusion", "Parts of the set", "Misses", "False alarms", "Evidence",
    ]  # fmt: skip


def test_advice_names_keys_and_thresholds_and_links_what_the_page_has(page):
    html = page[2]
    assert "Many objects are not found." in html
    assert "diagnosis.low_recall: 1" in html
    anchors = set(re.findall(r'<section id="([^"]+)"', html))
    linked = re.findall(r'<a href="#([^"]+)"', html)
    assert {"misses", "false-alarms"} <= set(linked) <= anchors


def test_the_page_loads_nothing_from_elsewhere(page):
    assert not re.search(r'(src|href)="(?!data:|#)', page[2])


def test_a_picture_shows_every_hit_and_miss_of_its_image(page):
    _, diagnosis, _ = page
    found, image_id = diagnosis.outcomes, diagnosis.data.images.image_id[3]
    boxes = [box.kind for box in example_boxes(diagnosis, 3)]
    mine = diagnosis.data.detections.image_id == image_id
    assert boxes.count("hit") == (found.hit & mine).sum()
    assert boxes.count("false_alarm") == min(12, (found.false_alarm & mine).sum())
    truth = diagnosis.data.ground_truth.image_id == image_id
    assert boxes.count("miss") == (found.miss & truth).sum()


def test_names_are_text(page):
    labels = label_map("<script>alert(1)</script>", "a&b")
    document, diagnosis = evaluated(random_data(1, classes=2, unlisted_class=False), labels)
    html = evaluation_page(document, diagnosis, NOTHING)
    assert "<script>alert" not in html
    assert "a&amp;b" in html


def test_many_classes_are_listed_and_only_the_weakest_drawn():
    labels = label_map(*(f"class-{i:02d}" for i in range(60)))
    document, diagnosis = evaluated(random_data(1, images=60, classes=60), labels)
    html = evaluation_page(document, diagnosis, NOTHING)
    assert all(f"class-{i:02d}" in html for i in range(60))
    assert "Shown are the weakest classes" in html
    assert len(html) < 400_000


def test_pictures_that_cannot_be_read_are_noted_and_stop_nothing(page):
    def read(file, record):
        if record % 2:
            raise DataError("is gone", where=f"{file} record {record}")
        return Image.new("RGB", (300, 300))

    found = read_galleries(page[1], read)
    assert found.misses
    assert "can't be shown. test-00000-of-00001.tfrecord record" in found.unreadable
    assert all(example.row % 2 == 0 for example in (*found.misses, *found.typical))


def test_galleries_keep_no_more_of_an_image_than_is_shown(page):
    found = read_galleries(page[1], lambda file, record: Image.new("RGB", (3000, 1500)))
    examples = (*found.misses, *found.false_alarms, *found.typical)
    assert {example.image.size for example in examples} == {(320, 160)}
    assert {example.size_px for example in examples} == {(3000, 1500)}
