from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from dataset_cases import QUIET, encoded, noise

from kfdet.core.detection_record import parse_record
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.conversion import Conversion
from kfdet.schema.dataset import Findings
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import data_convert_voc, validate
from kfdet.storage.documents import read_document
from kfdet.storage.records import read_records

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd"
SETS = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}


def xml(*objects: tuple[str, str]) -> str:
    def one(name: str, box: str) -> str:
        sides = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
        inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        return f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"

    size = "<size><width>64</width><height>48</height></size>"
    body = "".join(one(name, box) for name, box in objects)
    return f"<annotation><filename>wrong.jpg</filename>{size}{body}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "voc"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, names in SETS.items():
        (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))
    for seed, name in enumerate("abcd"):
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(encoded(noise(seed=seed)))
        (root / "Annotations" / f"{name}.xml").write_text(
            xml(("dog", "1 2 30 40"), ("cat", "5 5 64 48"))
        )
    return root


def convert(voc: Path, **changes: object) -> Conversion:
    return data_convert_voc.run(source=voc, out=voc.parent / "out", progress=QUIET, **changes)


def records(folder: Path, split: str) -> list:
    paths = sorted(folder.glob(f"{split}-*"))
    return [parse_record(f.payload, where="") for path in paths for f in read_records(path)]


def test_images_boxes_and_names_are_those_of_the_folder(voc: Path):
    conversion = convert(voc)
    found = {split: records(voc.parent / "out", split) for split in SETS}
    assert {split: tuple(r.source_id for r in rs) for split, rs in found.items()} == SETS
    record = found["train"][1]
    assert record.encoded == (voc / "JPEGImages/b.jpg").read_bytes()
    assert record.boxes_xyxy_px().round(3).tolist() == [[1, 2, 30, 40], [5, 5, 64, 48]]
    assert record.class_texts == ("dog", "cat")
    assert record.class_ids.tolist() == [2, 1]
    assert [(c.id, c.name, c.boxes) for c in conversion.classes] == [(1, "cat", 4), (2, "dog", 4)]
    assert conversion.splits["train"].boxes == 4
    assert conversion == read_document(Conversion, voc.parent / "out/conversion.json")


def test_inclusive_pixels_are_an_option(voc: Path):
    convert(voc, pixels="one_based_inclusive")
    record = records(voc.parent / "out", "val")[0]
    assert record.boxes_xyxy_px().round(3).tolist() == [[0, 1, 30, 40], [4, 4, 64, 48]]


def test_a_label_map_may_be_given(voc: Path):
    (voc.parent / "m.json").write_text('{"dog": 5, "cat": 7, "cow": 9}')
    conversion = convert(voc, label_map=voc.parent / "m.json")
    assert records(voc.parent / "out", "val")[0].class_ids.tolist() == [5, 7]
    assert [(c.id, c.boxes) for c in conversion.classes] == [(5, 4), (7, 4), (9, 0)]


def test_dropped_and_clipped_boxes_are_named(voc: Path, capsys: pytest.CaptureFixture[str]):
    (voc / "Annotations/c.xml").write_text(
        xml(("cat", "5 5 5 9"), ("dog", "1 1 70 9"), ("cat", "1 1 9 9"))
    )
    conversion = data_convert_voc.run(
        source=voc, out=voc.parent / "out", progress=Progress("data convert")
    )
    dropped, clipped = conversion.changed
    assert (dropped.change, dropped.reason, dropped.split) == ("dropped", "no_area", "val")
    assert (dropped.source_id, dropped.file) == ("c", "c.jpg")
    assert (dropped.annotation, dropped.class_name, dropped.box_xyxy_px) == (
        "object 1",
        "cat",
        (5, 5, 5, 9),
    )
    assert (clipped.change, clipped.reason) == ("clipped", "beyond_border")
    said = capsys.readouterr().err
    assert "dropped val" in said
    assert "object 1 (cat): box [5, 5, 5, 9], no area" in said
    assert "clipped 1 boxes" in said


def test_all_faults_are_listed_and_nothing_is_written(voc: Path):
    (voc / "JPEGImages/a.jpg").unlink()
    (voc / "Annotations/b.xml").write_text(xml(("cat", "1 1 nan 9")))
    (voc / "Annotations/c.xml").unlink()
    (voc / "Annotations/d.xml").write_text("<!DOCTYPE x><annotation/>")
    with pytest.raises(DataError) as raised:
        convert(voc)
    text = str(raised.value)
    assert "there is no image a in JPEGImages" in text
    assert "object 1: box [1, 1, nan, 9] is not finite" in text
    assert "c.xml: can't read the annotations" in text
    assert "<!DOCTYPE>" in text
    assert not (voc.parent / "out").exists()
    assert sorted(p.name for p in voc.parent.iterdir()) == ["voc"]


def test_a_class_that_the_label_map_lacks_is_a_fault(voc: Path):
    (voc.parent / "m.json").write_text('{"dog": 1}')
    with pytest.raises(DataError, match='class "cat" is not in the label map'):
        convert(voc, label_map=voc.parent / "m.json")


def test_an_image_in_two_lists_is_a_fault(voc: Path):
    (voc / "ImageSets/Main/test.txt").write_text("d\na\n")
    with pytest.raises(DataError, match="a is listed 2 times: in train, test"):
        convert(voc)


def test_a_missing_list_is_explained(voc: Path):
    (voc / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt: can't read the list of images"):
        convert(voc)


def test_lists_may_have_other_names(voc: Path):
    (voc / "ImageSets/Main/val.txt").rename(voc / "ImageSets/Main/minival.txt")
    conversion = convert(voc, image_sets={"train": "train", "val": "minival", "test": "test"})
    assert conversion.splits["val"].images == 1


def test_an_empty_list_is_a_fault(voc: Path):
    (voc / "ImageSets/Main/val.txt").write_text("\n")
    with pytest.raises(DataError, match="split val would have no images"):
        convert(voc)


def test_annotations_in_no_list_are_named(voc: Path):
    (voc / "Annotations/e.xml").write_text(xml())
    assert convert(voc).unused == ("e",)


@pytest.mark.bccd
@pytest.mark.skipif(not BCCD.exists(), reason="the BCCD images are not beside the project")
def test_the_two_boxes_of_bccd_without_area_are_named(tmp_path: Path):
    conversion = data_convert_voc.run(source=BCCD, out=tmp_path / "out", progress=QUIET)
    assert [(c.source_id, c.reason, c.change) for c in conversion.changed] == [
        ("BloodImage_00343", "no_area", "dropped"),
        ("BloodImage_00338", "no_area", "dropped"),
    ]
    assert [(c.name, c.boxes) for c in conversion.classes] == [
        ("Platelets", 361),
        ("RBC", 4153),
        ("WBC", 372),
    ]
    assert {s: c.images for s, c in conversion.splits.items()} == {
        "train": 205,
        "val": 87,
        "test": 72,
    }


@pytest.mark.bccd
@pytest.mark.skipif(not BCCD.exists(), reason="the BCCD images are not beside the project")
def test_what_validate_finds_in_bccd(tmp_path: Path):
    data = tmp_path / "data"
    data_convert_voc.run(source=BCCD, out=data, faulty="keep", progress=QUIET)
    config = DatasetConfig.model_validate(
        {"label_map": f"{data}/label_map.pbtxt", **{s: f"{data}/{s}-*" for s in SETS}}
    )
    names = ("manifest", "statistics", "findings", "report")
    with pytest.raises(DataError, match="2 errors"):
        validate.run(dataset=config, progress=QUIET, **{n: tmp_path / n for n in names})
    found = read_document(Findings, tmp_path / "findings")
    assert found.counts == {"box-no-area": 2, "box-near-duplicate": 7, "image-near-copy": 1}
    no_area = [f for f in found.findings if f.code == "box-no-area"]
    assert [(Path(f.file).name, f.record) for f in no_area] == [
        ("train-00003-of-00004.tfrecord", 16),
        ("val-00003-of-00004.tfrecord", 2),
    ]
    by_code: dict[str, list] = {}
    for finding in found.findings:
        by_code.setdefault(finding.code, []).append(finding.source_id)
    assert by_code["box-no-area"] == ["BloodImage_00343", "BloodImage_00338"]
    # One field of view, photographed twice at another focus.
    assert by_code["image-near-copy"] == ["BloodImage_00037"]
    assert sorted(by_code["box-near-duplicate"]) == [
        f"BloodImage_00{n}" for n in ("020", "100", "104", "251", "284", "331", "403")
    ]


def test_names_that_lead_out_of_the_folder_and_pipes_are_faults(voc: Path):
    (voc.parent / "secret.xml").write_text(xml(("cat", "1 2 30 40")))
    lines = ("../../secret", str(voc.parent / "secret"), "b")
    (voc / "ImageSets/Main/train.txt").write_text("".join(f"{line}\n" for line in lines))
    (voc / "JPEGImages/b.jpg").unlink()
    os.mkfifo(voc / "JPEGImages/b.jpg")
    (voc / "Annotations/c.xml").unlink()
    os.mkfifo(voc / "Annotations/c.xml")
    signal.alarm(20)
    with pytest.raises(DataError) as raised:
        convert(voc)
    signal.alarm(0)
    text = str(raised.value)
    assert "../../secret lies outside the folder of annotations" in text
    assert f"{voc.parent}/secret lies outside the folder of annotations" in text
    assert "b.jpg: can't read the image: it is a pipe" in text
    assert "c.xml: can't read the annotations: it is a pipe" in text
