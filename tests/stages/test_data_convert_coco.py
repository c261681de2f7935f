from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from dataset_cases import QUIET, encoded, noise

from kfdet.core.detection_record import parse_record
from kfdet.errors import DataError, UsageError
from kfdet.schema.conversion import Conversion
from kfdet.stages import data_convert_coco
from kfdet.storage.label_maps import read_label_map
from kfdet.storage.records import read_records

SPLITS = ("train", "val", "test")


def coco(count: int, *, first: int = 1, **changes: object) -> dict:
    """Returns a file of images that each have one cat and one dog; category ids 17 and 90."""
    numbers = range(first, first + count)
    boxes = {90: [1, 2, 10, 20], 17: [5.5, 5, 20, 30]}
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in numbers],
        "annotations": [
            {
                "id": 10 * n + k,
                "image_id": n,
                "category_id": c,
                "bbox": box,
                "area": 50,
                "iscrowd": k,
            }
            for n in numbers
            for k, (c, box) in enumerate(boxes.items())
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}],
        **changes,
    }


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(1, 21):
        (folder / f"{number}.jpg").write_bytes(encoded(noise(seed=number)))
    return folder


def write(path: Path, data: dict) -> Path:
    path.write_text(json.dumps(data))
    return path


def convert(images: Path, annotations: object, **changes: object) -> Conversion:
    return data_convert_coco.run(
        annotations=annotations, images=images, out=images.parent / "out", progress=QUIET, **changes
    )


def records(images: Path, split: str) -> list:
    paths = sorted((images.parent / "out").glob(f"{split}-*"))
    return [parse_record(f.payload, where="") for path in paths for f in read_records(path)]


def test_one_file_is_divided_by_fractions_and_every_image_kept(images: Path):
    conversion = convert(images, write(images.parent / "i.json", coco(20)))
    assert {s: c.images for s, c in conversion.splits.items()} == {"train": 16, "val": 2, "test": 2}
    found = [r for split in SPLITS for r in records(images, split)]
    assert sorted(int(r.source_id) for r in found) == list(range(1, 21))
    for record in found:
        assert record.encoded == (images / f"{record.source_id}.jpg").read_bytes()
        assert record.boxes_xyxy_px().round(3).tolist() == [[1, 2, 11, 22], [5.5, 5, 25.5, 35]]
        assert record.is_crowd.tolist() == [False, True]
        assert record.area_px.tolist() == [50, 50]


def test_sparse_category_ids_become_contiguous_and_the_mapping_is_written(images: Path):
    conversion = convert(images, write(images.parent / "i.json", coco(20)))
    assert [(c.id, c.name, c.source_id, c.boxes) for c in conversion.classes] == [
        (1, "cat", 17, 20),
        (2, "dog", 90, 20),
    ]
    assert records(images, "val")[0].class_ids.tolist() == [2, 1]


def test_the_seed_decides_the_division(images: Path):
    path = write(images.parent / "i.json", coco(20))
    found = []
    for seed in (0, 0, 1):
        convert(images, path, seed=seed, fractions={"train": 0.5, "val": 0.25, "test": 0.25})
        found.append([r.source_id for r in records(images, "test")])
    assert found[0] == found[1] != found[2]


def test_copies_of_an_image_go_to_one_split(images: Path):
    for number in range(1, 11):
        (images / f"{number}.jpg").write_bytes((images / "20.jpg").read_bytes())
    convert(
        images,
        write(images.parent / "i.json", coco(20)),
        fractions={"train": 0.4, "val": 0.3, "test": 0.3},
    )
    copies = [{r.source_id for r in records(images, split)} for split in SPLITS]
    assert sum(bool(ids & {str(n) for n in range(1, 11)}) for ids in copies) == 1


def three(images: Path, **changes: dict) -> dict:
    counts = {"train": (5, 1), "val": (3, 6), "test": (2, 9)}
    return {
        split: write(images.parent / f"{split}.json", coco(n, first=f, **changes.get(split, {})))
        for split, (n, f) in counts.items()
    }


def test_a_file_for_each_split(images: Path):
    conversion = convert(images, three(images))
    assert {s: c.images for s, c in conversion.splits.items()} == {"train": 5, "val": 3, "test": 2}
    assert [r.source_id for r in records(images, "val")] == ["6", "7", "8"]


def test_ids_that_each_file_counts_from_one_are_made_unique(images: Path):
    files = {s: write(images.parent / f"{s}.json", coco(2)) for s in SPLITS}
    convert(images, files)
    assert [r.source_id for s in SPLITS for r in records(images, s)] == [
        "train-1", "train-2", "val-1", "val-2", "test-1", "test-2",
    ]  # fmt: skip


def test_files_that_contradict_one_another_are_refused(images: Path):
    files = three(
        images, val={"categories": [{"id": 17, "name": "cow"}, {"id": 90, "name": "dog"}]}
    )
    with pytest.raises(DataError, match='category 17 is "cow" here and "cat" in another file'):
        convert(images, files)


def test_all_faults_are_listed_and_nothing_is_written(images: Path):
    data = coco(20)
    data["annotations"][0]["category_id"] = 5
    data["annotations"][1]["bbox"] = [1, 2]
    data["images"][4]["width"] = 65
    data["images"][5]["file_name"] = "../images.json"
    (images / "4.jpg").unlink()
    with pytest.raises(DataError) as raised:
        convert(images, write(images.parent / "i.json", data))
    text = str(raised.value)
    assert text.count("\n  - ") == 5
    assert "annotation 10: category_id 5 is no category of the file" in text
    assert "annotation 11: bbox is [1, 2]" in text
    assert "the annotations say 65 x 48 pixels, the image has 64 x 48" in text
    assert "../images.json lies outside the folder of images" in text
    assert "4.jpg: can't read the image" in text
    assert not (images.parent / "out").exists()


def test_many_faults_are_cut_with_their_number(images: Path):
    data = coco(20, categories=[{"id": 1, "name": "x"}])
    data["annotations"] *= 3
    with pytest.raises(DataError, match=r"(?s)120 faults.*and 70 more"):
        convert(images, write(images.parent / "i.json", data))


def test_boxes_without_area_are_dropped_and_named(images: Path):
    data = coco(20)
    data["annotations"][0]["bbox"] = [3, 3, 0, 9]
    conversion = convert(images, write(images.parent / "i.json", data))
    (box,) = conversion.changed
    assert (box.annotation, box.reason, box.file) == ("annotation 10", "no_area", "1.jpg")


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.0), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_division_are_refused(images: Path, shares: tuple):
    path = write(images.parent / "i.json", coco(3))
    with pytest.raises(UsageError, match="three shares above 0"):
        convert(images, path, fractions=dict(zip(SPLITS, shares, strict=True)))


def test_a_split_that_comes_out_empty_is_a_fault(images: Path):
    with pytest.raises(DataError, match="split val would have no images"):
        convert(images, write(images.parent / "i.json", coco(2)))


def test_a_missing_split_is_refused(images: Path):
    files = three(images)
    del files["val"]
    with pytest.raises(UsageError, match="split val has no path"):
        convert(images, files)


def test_a_file_that_is_no_coco_is_explained(images: Path):
    with pytest.raises(DataError, match="has no list images"):
        convert(images, write(images.parent / "i.json", {"a": 1}))
    with pytest.raises(DataError, match="can't read"):
        convert(images, images.parent / "none.json")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../4.jpg", "../4.jpg lies outside the folder of images"),
        ("/etc/passwd", "/etc/passwd lies outside the folder of images"),
        ("zero.jpg", "zero.jpg lies outside the folder of images"),
        ("pipe.jpg", "pipe.jpg: can't read the image: it is a pipe"),
        ("circle.jpg", "circle.jpg: can't read the image: Too many levels of symbolic links"),
        ("x" * 5000, "can't read the image: File name too long"),
        ("half \ud800.jpg", r"image 4: file_name is 'half \ud800.jpg', expected text"),
        ("a\0b.jpg", r"image 4: file_name is 'a\x00b.jpg', expected text"),
        ("\x1b[2J.jpg", r"\x1b[2J.jpg: can't read the image: No such file"),
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_file_name_made_to_break_out_is_a_fault(images: Path, name: str, said: str):
    os.mkfifo(images / "pipe.jpg")
    (images / "zero.jpg").symlink_to("/dev/zero")
    (images / "circle.jpg").symlink_to("circle.jpg")
    data = coco(20)
    data["images"][3]["file_name"] = name
    signal.alarm(20)
    with pytest.raises(DataError) as raised:
        convert(images, write(images.parent / "i.json", data))
    signal.alarm(0)
    assert said in str(raised.value)
    assert not (images.parent / "out").exists()


@pytest.mark.parametrize(
    "name",
    ["<script>", "../../x", "\x1b[2J\u202e", "x" * 10_000, "a\nb"],
    ids=lambda n: ascii(n)[:9],
)
def test_a_class_of_any_name_that_is_text_keeps_it(images: Path, name: str):
    data = coco(20, categories=[{"id": 90, "name": name}, {"id": 17, "name": "cat"}])
    conversion = convert(images, write(images.parent / "i.json", data))
    assert [entry.name for entry in conversion.classes] == ["cat", name]
    assert records(images, "val")[0].class_texts == (name, "cat")
    assert read_label_map(images.parent / "out" / "label_map.pbtxt").name_of(2) == name


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"images": [{"id": ' + "9" * 5000 + "}]}"], ids=["deep", "digits"]
)
def test_json_made_to_break_its_reader_is_no_json(images: Path, text: str):
    path = images.parent / "i.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is no JSON"):
        convert(images, path)
