"""Label maps: the OD API's `.pbtxt`, JSON and YAML, and writing `.pbtxt`.

Source: object_detection/protos/string_int_label_map.proto.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import yaml

from kfdet.errors import DataError, did_you_mean
from kfdet.schema.base import parse
from kfdet.schema.dataset import LabelMap

LabelMapFormat = Literal["pbtxt", "json", "yaml"]

_FIELDS = (
    "id",
    "name",
    "display_name",
    "keypoints",
    "ancestor_ids",
    "descendant_ids",
    "frequency",
    "lvis_frequency",
    "instance_count",
)
_READ_FIELDS = ("id", "name", "display_name")
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])|(?P<word>[A-Za-z_][\w.]*)|(?P<mark>[{}<>:;,\[\]])"""
)
_LARGEST_ID = 2**31 - 1
_DEEPEST = 50
_LONGEST_SHOWN = 100
_EXPECTED_PBTXT = "items such as: item { id: 1  name: 'cat' }"


@dataclass(frozen=True, kw_only=True)
class NamedClasses:
    """A label map with every name that records may use for a class.

    Attributes:
        label_map: One name for each class: its display_name where there is one.
        aliases: Class id to all its names, that of the label map first.
    """

    label_map: LabelMap
    aliases: Mapping[int, tuple[str, ...]]


def parse_label_map(text: str, *, format: LabelMapFormat, where: str) -> NamedClasses:  # noqa: A002
    """Parses a label map.

    JSON and YAML hold either a mapping of name to id, a mapping of id to name, a list of
    {id, name} objects, or such a list under `classes` or `categories`.

    Args:
        text: The whole file.
        format: What it is written in.
        where: The file, for the error.

    Raises:
        DataError: It is not well-formed, or ids or names are missing, doubled or out of range.
    """
    if format == "pbtxt":
        entries = list(_pbtxt_items(text, where=where))
    else:
        entries = _entries(_load(text, format=format, where=where), where=where)
    return _named(entries, where=where)


def dump_pbtxt(label_map: LabelMap) -> str:
    """Returns the label map as the OD API writes it."""
    return "\n".join(
        f"item {{\n  id: {label.id}\n  name: {_quote(label.name)}\n}}\n"
        for label in label_map.classes
    )


def contiguous(names: Sequence[str]) -> LabelMap:
    """Returns the label map that numbers names 1, 2, 3 ... in the order given."""
    return LabelMap.model_validate(
        {"classes": [{"id": number, "name": name} for number, name in enumerate(names, 1)]}
    )


def _load(text: str, *, format: LabelMapFormat, where: str) -> Any:  # noqa: A002
    try:
        return json.loads(text) if format == "json" else yaml.safe_load(text)
    except json.JSONDecodeError as failure:
        raise DataError(
            f"is no JSON: {failure.msg} at line {failure.lineno} column {failure.colno}",
            where=where,
        ) from failure
    except (yaml.YAMLError, ValueError, RecursionError) as failure:
        kind = "JSON" if format == "json" else "YAML"
        raise DataError(f"is no {kind}: {failure}", where=where) from failure


def _entries(data: Any, *, where: str) -> list[dict[str, Any]]:
    if isinstance(data, dict) and ("classes" in data or "categories" in data):
        data = data["classes"] if "classes" in data else data["categories"]
    if isinstance(data, dict):
        if all(_as_id(key) is not None and isinstance(data[key], str) for key in data):
            return [{"id": _as_id(key), "name": name} for key, name in data.items()]
        return [{"id": number, "name": name} for name, number in data.items()]
    if isinstance(data, list) and all(isinstance(entry, dict) for entry in data):
        return list(data)
    raise DataError(
        "is no label map",
        where=where,
        expected='{"cat": 1, "dog": 2} or [{"id": 1, "name": "cat"}]',
    )


def _as_id(key: Any) -> int | None:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else None


def _named(entries: Sequence[Mapping[str, Any]], *, where: str) -> NamedClasses:
    classes: list[tuple[int, tuple[str, ...]]] = []
    faults: list[str] = []
    for position, entry in enumerate(entries):
        number, name, shown = entry.get("id"), entry.get("name"), entry.get("display_name")
        names = tuple(dict.fromkeys(n for n in (shown, name) if isinstance(n, str) and n))
        if isinstance(number, bool) or not isinstance(number, int):
            faults.append(f"class {position}: id is {_brief(number)}, expected an integer from 1")
        elif not names:
            faults.append(f"class {position}, id {number}: has no name, or one that is no text")
        elif number == 0 and names[0].lower() in ("background", "__background__"):
            continue
        elif number < 1:
            faults.append(
                f'class {position}, "{names[0]}": id is {number}; ids begin at 1, 0 is background'
            )
        elif number > _LARGEST_ID:
            faults.append(
                f'class {position}, "{names[0]}": id is {number}, expected at most {_LARGEST_ID:,}'
            )
        else:
            classes.append((number, names))
    for what, values in (
        ("id", [str(number) for number, _ in classes]),
        ("name", [names[0] for _, names in classes]),
    ):
        doubled = sorted(value for value, times in Counter(values).items() if times > 1)
        if doubled:
            faults.append(f"{what} {', '.join(doubled)} given more than once")
    if not classes and not faults:
        faults.append("it holds no class")
    if faults:
        listing = faults[0] if len(faults) == 1 else "\n".join(["", *(f"  - {f}" for f in faults)])
        raise DataError(f"the label map is faulty: {listing}", where=where)
    classes.sort()
    label_map = parse(
        LabelMap,
        {"classes": [{"id": number, "name": names[0]} for number, names in classes]},
        where=where,
        error=DataError,
    )
    return NamedClasses(label_map=label_map, aliases=dict(classes))


def _brief(value: Any) -> str:
    """Returns a value in short: a list of lists in YAML may stand for gigabytes of text."""
    is_plain = value is None or isinstance(value, str | int | float)
    return repr(value) if is_plain else f"a {type(value).__name__}"


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str, *, where: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise DataError(
                f"{text[position]!r} is not expected",
                where=f"{where} line {line}",
                expected=_EXPECTED_PBTXT,
            )
        if match.lastgroup:
            yield _Token(kind=match.lastgroup, text=match.group(), line=line)
        line += match.group().count("\n")
        position = match.end()


def _pbtxt_items(text: str, *, where: str) -> Iterator[dict[str, Any]]:
    tokens = list(_tokens(text, where=where))
    position = 0
    while position < len(tokens):
        if tokens[position].text in (",", ";"):
            position += 1
            continue
        if tokens[position].text != "item":
            _refuse(tokens[position], where=where)
        fields, position = _message(tokens, position + 1, where=where)
        yield {name: value for name, value in fields if name in _READ_FIELDS}


def _message(
    tokens: Sequence[_Token], position: int, *, where: str, depth: int = 0
) -> tuple[list[tuple[str, Any]], int]:
    """Parses `{ name: value ... }` from `position`; returns its fields and the position behind."""

    def token() -> _Token:
        if position >= len(tokens):
            line = tokens[-1].line
            raise DataError(
                "ends inside an item", where=f"{where} line {line}", expected=_EXPECTED_PBTXT
            )
        return tokens[position]

    if token().text == ":":
        position += 1
    if token().text not in "{<" or depth > _DEEPEST:
        _refuse(token(), where=where)
    close = {"{": "}", "<": ">"}[token().text]
    position += 1
    fields: list[tuple[str, Any]] = []
    while token().text != close:
        if token().text in (",", ";"):
            position += 1
            continue
        name = token()
        if name.kind != "word":
            _refuse(name, where=where)
        position += 1
        if token().text == ":":
            position += 1
        if token().text in "{<":
            value, position = _message(tokens, position, where=where, depth=depth + 1)
        else:
            value, position = _scalar(tokens, position, where=where)
        if not depth:
            _check_field(name, value, seen=fields, where=where)
        fields.append((name.text, value))
    return fields, position + 1


def _check_field(name: _Token, value: Any, *, seen: Sequence[tuple[str, Any]], where: str) -> None:
    place = f"{where} line {name.line}"
    if name.text not in _FIELDS:
        raise DataError(
            f'unknown field "{name.text}"',
            where=place,
            expected=f"one of {', '.join(_FIELDS)}",
            remedy=did_you_mean(name.text, _FIELDS) or None,
        )
    if name.text in _READ_FIELDS and any(known == name.text for known, _ in seen):
        raise DataError(f"{name.text} is given twice in one item", where=place)
    if name.text == "id" and not isinstance(value, int):
        raise DataError(f"id is {value!r}", where=place, expected="an integer")
    if name.text in ("name", "display_name") and not isinstance(value, str):
        raise DataError(
            f"{name.text} is {value!r}", where=place, expected="text in quotation marks"
        )


def _scalar(tokens: Sequence[_Token], position: int, *, where: str) -> tuple[Any, int]:
    token = tokens[position]
    if token.kind == "number":
        try:
            return float(token.text) if "." in token.text else int(token.text), position + 1
        except ValueError:  # more digits than Python reads
            _refuse(token, where=where)
    if token.kind == "word":
        return token.text, position + 1
    if token.text == "[":
        end = position
        while end < len(tokens) and tokens[end].text != "]":
            end += 1
        return [item.text for item in tokens[position + 1 : end]], end + 1
    if token.kind != "string":
        _refuse(token, where=where)
    parts: list[str] = []
    while position < len(tokens) and tokens[position].kind == "string":
        parts.append(_unquote(tokens[position], where=where))
        position += 1
    return "".join(parts), position


def _quote(text: str) -> str:
    """Returns text as protobuf writes it: control characters in octal, the rest as it is."""
    letters = (
        f"\\{letter}"
        if letter in '"\\'
        else f"\\{ord(letter):03o}"
        if ord(letter) < 0x20 or ord(letter) == 0x7F
        else letter
        for letter in text
    )
    return f'"{"".join(letters)}"'


def _unquote(token: _Token, *, where: str) -> str:
    """Returns the text of a quoted string; octal and hexadecimal escapes are bytes of UTF-8."""
    try:
        if "\\" not in token.text:
            return token.text[1:-1]
        ascii_text = "".join(
            letter if letter.isascii() else "".join(f"\\x{byte:02x}" for byte in letter.encode())
            for letter in token.text
        )
        raw: bytes = ast.literal_eval("b" + ascii_text)
        return raw.decode("utf-8")
    except (SyntaxError, ValueError, UnicodeDecodeError) as failure:
        raise DataError(
            f"{token.text} is no readable text", where=f"{where} line {token.line}"
        ) from failure


def _refuse(token: _Token, *, where: str) -> NoReturn:
    raise DataError(
        f"{token.text[:_LONGEST_SHOWN]!r} is not expected",
        where=f"{where} line {token.line}",
        expected=_EXPECTED_PBTXT,
    )
