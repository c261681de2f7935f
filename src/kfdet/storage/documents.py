"""Reading and writing the schemas' files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from kfdet.errors import ArtifactError, KfdetError
from kfdet.schema.base import Document, parse_json
from kfdet.storage.stores import store_of

D = TypeVar("D", bound=Document)


def read_document(
    model: type[D], path: Path | str, *, error: type[KfdetError] = ArtifactError
) -> D:
    """Reads a JSON document of a schema, from a file or a bucket.

    Raises:
        error: The file is missing, is no JSON, or does not fit the schema; names file and place.
    """
    try:
        text = store_of(path).read(str(path)).decode("utf-8")
    except OSError as failure:
        raise error(
            f"can't read: {failure.strerror}",
            where=str(path),
            expected=f"the {model.__name__} that an earlier stage wrote",
        ) from failure
    except UnicodeDecodeError as failure:
        raise error("is not UTF-8 text", where=str(path)) from failure
    return parse_json(model, text, where=str(path), error=error)


def write_document(path: Path | str, document: Document) -> None:
    """Writes a document atomically."""
    store_of(path).replace(str(path), document.pretty_json().encode())
