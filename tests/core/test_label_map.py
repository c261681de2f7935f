from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.label_map import contiguous, dump_pbtxt, parse_label_map
from kfdet.errors import DataError
from kfdet.schema.dataset import LabelMap

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True)


def pbtxt(text: str) -> dict[int, str]:
    found = parse_label_map(text, format="pbtxt", where="map.pbtxt").label_map
    return {label.id: label.name for label in found.classes}


@given(NAMES, st.data())
def test_a_written_map_is_read_back(names: list[str], data: st.DataObject):
    count = len(names)
    ids = data.draw(st.lists(st.integers(1, 99), min_size=count, max_size=count, unique=True))
    classes = [{"id": i, "name": n} for i, n in zip(sorted(ids), names, strict=True)]
    label_map = LabelMap.model_validate({"classes": classes})
    again = parse_label_map(dump_pbtxt(label_map), format="pbtxt", where="").label_map
    assert again == label_map


@pytest.mark.parametrize(
    "text",
    [
        'item { id: 1 name: "cat" } item { id: 2 name: "dog" }',
        "item {\n  name: 'cat'\n  id: 1\n}\n\n# comment { }\nitem: < id: 2, name: 'do' 'g'; >",
        'item{id:1,name:"cat"}item{id:2 name:"dog" keypoints { id: 0 label: "nose" } ancestor_ids: ["/m/a"]}',
        'item { id: 2 name: "dog" } item { id: 1 name: "c\\x61t" } item { id: 0 name: "background" }',
    ],
)
def test_every_way_of_writing_pbtxt_is_read(text: str):
    assert pbtxt(text) == {1: "cat", 2: "dog"}


def test_the_display_name_is_the_name_and_records_may_use_either():
    text = 'item { name: "/m/01g317" id: 1 display_name: "person" }'
    found = parse_label_map(text, format="pbtxt", where="")
    assert found.label_map.name_of(1) == "person"
    assert found.aliases == {1: ("person", "/m/01g317")}


@pytest.mark.parametrize(
    "data",
    [
        {"cat": 1, "dog": 2},
        {"1": "cat", "2": "dog"},
        [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}],
        {"categories": [{"id": 1, "name": "cat", "supercategory": "x"}, {"id": 2, "name": "dog"}]},
        {"classes": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]},
    ],
)
def test_json_and_yaml_may_be_mappings_or_lists(data: object):
    for kind in ("json", "yaml"):
        found = parse_label_map(json.dumps(data), format=kind, where="")
        assert found.label_map == contiguous(["cat", "dog"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no class"),
        ('item { id: 1 name: "cat"', "ends inside an item"),
        ('item { id: 1 name: cat" }', "is not expected"),
        ('item { id: "1" name: "cat" }', "id is '1'"),
        ('item { id: 1 name: "a" } item { id: 1 name: "b" }', "id 1 given more than once"),
        ('item { id: 1 name: "a" } item { id: 2 name: "a" }', "name a given more than once"),
        ('item { id: 1 id: 2 name: "a" }', "id is given twice"),
        ('item { id: 0 name: "cat" }', "ids begin at 1"),
        ('item { id: -3 name: "cat" }', "ids begin at 1"),
        ("item { id: 1 }", "has no name"),
        ('item { id: 1 nmae: "cat" }', 'Did you mean "name"'),
        ('label { id: 1 name: "cat" }', "'label' is not expected"),
    ],
)
def test_a_faulty_pbtxt_is_explained(text: str, message: str):
    with pytest.raises(DataError, match=message):
        pbtxt(text)


def test_a_fault_names_its_line():
    with pytest.raises(DataError, match=r"map\.pbtxt line 3"):
        pbtxt('item {\n  id: 1\n  nmae: "cat"\n}')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no: 1\nyes: 2", "has no name, or one that is no text"),
        ("cat: one", "expected an integer"),
        ("cat: true", "expected an integer"),
        ("- cat\n- dog", "is no label map"),
        ("cat: [", "is no YAML"),
    ],
)
def test_a_faulty_yaml_is_explained(text: str, message: str):
    with pytest.raises(DataError, match=message):
        parse_label_map(text, format="yaml", where="map.yaml")


def test_all_faults_are_listed_at_once():
    with pytest.raises(DataError) as raised:
        parse_label_map('[{"id": 0, "name": "a"}, {"name": "b"}]', format="json", where="")
    assert "ids begin at 1" in str(raised.value)
    assert "class 1: id is None" in str(raised.value)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(10))}]\n" for a, b in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"half \\ud800": 1}', "json"),
        ("[" * 100_000, "json"),
        ('{"cat": ' + "9" * 5000 + "}", "json"),
        ('{"cat": 2147483648}', "json"),
        ('"half \\ud800": 1', "yaml"),
        ("[" * 5_000, "yaml"),
        ("{a: " * 5_000, "yaml"),
        ("cat: " + "9" * 5000, "yaml"),
        ("2001-99-99: 1", "yaml"),
        ("&a {x: *a}", "yaml"),
        ('!!python/object/apply:os.system ["id"]', "yaml"),
        (LAUGHS, "yaml"),
        ("item { keypoints " + "{ keypoints " * 50_000, "pbtxt"),
        ("item { id: " + "9" * 5000 + " name: 'cat' }", "pbtxt"),
        ("item { id: 1 name: '" + "\\" * 50_000, "pbtxt"),
    ],
    ids=lambda text: text[:12],
)
def test_a_file_made_to_break_its_reader_is_no_label_map(text: str, kind: str):
    with pytest.raises(DataError, match="m: |m line 1: ") as refused:
        parse_label_map(text, format=kind, where="m")
    assert len(str(refused.value)) < 10_000
