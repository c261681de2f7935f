"""Reading and writing label map files."""

from __future__ import annotations

from pathlib import Path

from kfdet.core.label_map import LabelMapFormat, NamedClasses, dump_pbtxt, parse_label_map
from kfdet.errors import DataError
from kfdet.schema.dataset import LabelMap
from kfdet.storage.atomic import write_text
from kfdet.storage.copies import local_file
from kfdet.storage.regular import read_regular

LABEL_MAP_FILE = "label_map.pbtxt"

_FORMATS: dict[str, LabelMapFormat] = {
    ".pbtxt": "pbtxt",
    ".prototxt": "pbtxt",
    ".txt": "pbtxt",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def read_named_classes(path: Path | str) -> NamedClasses:
    """Reads a label map with every name that its classes go by.

    Raises:
        DataError: The file is missing, of an unknown kind, or no label map.
    """
    file = Path(path)
    known = _FORMATS.get(file.suffix.lower())
    if known is None:
        raise DataError(
            f'a label map that ends in "{file.suffix}" is not known',
            where=str(path),
            expected=f"one of {', '.join(_FORMATS)}",
        )
    try:
        text = read_regular(local_file(path)).decode("utf-8-sig")
    except OSError as failure:
        raise DataError(
            f"can't read the label map: {failure.strerror}",
            where=str(path),
            remedy="Check dataset.label_map.",
        ) from failure
    except UnicodeDecodeError as failure:
        raise DataError("the label map is not UTF-8 text", where=str(path)) from failure
    return parse_label_map(text, format=known, where=str(path))


def read_label_map(path: Path | str) -> LabelMap:
    """Reads a label map: .pbtxt as the OD API writes it, .json, .yaml.

    Raises:
        DataError: The file is missing, of an unknown kind, or no label map.
    """
    return read_named_classes(path).label_map


def write_label_map(path: Path | str, label_map: LabelMap) -> None:
    """Writes a label map as .pbtxt, atomically."""
    write_text(path, dump_pbtxt(label_map))
