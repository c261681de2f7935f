from __future__ import annotations

from pathlib import Path

import pytest

from kfdet.core.label_map import contiguous
from kfdet.errors import DataError
from kfdet.storage.label_maps import read_label_map, write_label_map

CATS = contiguous(["cat", "Käse"])


def test_a_written_map_is_read_back(tmp_path: Path):
    write_label_map(tmp_path / "m.pbtxt", CATS)
    assert read_label_map(tmp_path / "m.pbtxt") == CATS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"cat": 1, "Käse": 2}'),
        ("m.yaml", "cat: 1\nKäse: 2\n"),
        ("m.YML", "- {id: 1, name: cat}\n- {id: 2, name: Käse}\n"),
        ("m.pbtxt", '\ufeffitem { id: 1 name: "cat" } item { id: 2 name: "Käse" }'),
    ],
)
def test_the_suffix_says_what_a_map_is_written_in(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_label_map(tmp_path / name) == CATS


def test_an_unknown_suffix_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"one of \.pbtxt"):
        read_label_map(tmp_path / "m.csv")


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        read_label_map(tmp_path / "m.json")


def test_a_file_that_is_no_text_is_explained(tmp_path: Path):
    (tmp_path / "m.pbtxt").write_bytes(b"\xff\x00\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_label_map(tmp_path / "m.pbtxt")
