"""What all schemas share: immutability, strictness, canonical JSON and a content digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kfdet.errors import ConfigError, KfdetError, did_you_mean

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UnitInterval = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Schema(BaseModel):
    """A frozen value; unknown fields, NaN and infinities are refused."""

    # Validators are built when a schema is first used: a stage imports many that it never needs.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def canonical_json(self) -> str:
        """Returns JSON with sorted keys and no white space: equal values give equal bytes."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


class Document(Schema):
    """A schema that is a file of its own."""

    schema_version: Literal[1] = 1

    def pretty_json(self) -> str:
        """Returns the JSON that is written to disk: two spaces of indentation, newline at the end."""
        # Not json.dumps: with indentation that is Python code, and slow on large metrics.
        return self.model_dump_json(indent=2) + "\n"


S = TypeVar("S", bound=Schema)
Locate = Callable[[tuple[int | str, ...]], str]


def parse(
    model: type[S],
    data: Any,
    *,
    where: str,
    error: type[KfdetError] = ConfigError,
    locate: Locate | None = None,
) -> S:
    """Validates data against a schema and explains every fault at once.

    Args:
        model: The schema.
        data: Parsed YAML or JSON.
        where: The file or parameter that the data came from.
        error: The kind of error to raise.
        locate: Turns the path of a fault into words to print before it: "line 12, ".

    Returns:
        The validated value.

    Raises:
        error: With one line for each fault; unknown keys get the closest known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        lines = [
            (locate(fault["loc"]) if locate else "") + _explain(model, fault)
            for fault in _told(failure.errors())
        ]
        if len(lines) == 1:
            raise error(lines[0], where=where) from None
        listing = "\n".join(f"  - {line}" for line in lines)
        raise error(f"{len(lines)} faults:\n{listing}", where=where) from None


def parse_json(
    model: type[S], text: str, *, where: str, error: type[KfdetError] = ConfigError
) -> S:
    """Parses JSON text against a schema, as `parse` does for data."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as failure:
        place = f"line {failure.lineno} column {failure.colno}"
        raise error(f"is no JSON: {failure.msg} at {place}", where=where) from failure
    return parse(model, data, where=where, error=error)


def _told(faults: Sequence[Any]) -> list[Any]:
    """Leaves out that a list is too short where it is so for the faults of its items."""
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(
            len(other["loc"]) > len(fault["loc"])
            and other["loc"][: len(fault["loc"])] == fault["loc"]
            for other in faults
        )
    ]


def _explain(model: type[BaseModel], fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"]) or "the document"
    if fault["type"] == "extra_forbidden":
        key = str(fault["loc"][-1])
        known = sorted(_fields_at(model, fault["loc"][:-1]))
        hint = did_you_mean(key, known)
        allowed = f"Known keys: {', '.join(known)}." if known else ""
        return " ".join(part for part in (f'unknown key "{path}".', hint, allowed) if part)
    if fault["type"] == "missing":
        return f'"{path}" is missing and has no default'
    message = _message(fault)
    if fault["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        message = ". ".join(filter(None, (message, did_you_mean(str(fault["input"]), known))))
    shown = repr(fault["input"])
    return f'"{path}": {message}; got {shown if len(shown) <= 80 else shown[:77] + "..."}'


def _message(fault: Any) -> str:
    """Returns Pydantic's words without those that only who knows Python understands."""
    if fault["type"] in ("tuple_type", "list_type"):
        return "must be a list"
    if fault["type"] in ("dict_type", "model_type", "mapping_type"):
        return "must be `key: value` lines"
    if fault["type"] == "too_short":
        least = fault["ctx"]["min_length"]
        return f"needs at least {least} {'entry' if least == 1 else 'entries'}"
    message: str = fault["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "must be", 1)


def _fields_at(model: type[BaseModel], path: tuple[Any, ...]) -> set[str]:
    """Returns the field names allowed at a path of an error, following nested models."""
    candidates: list[type[BaseModel]] = [model]
    for part in path:
        following: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            stack: list[Any] = [field.annotation] if field else []
            while stack:
                annotation = stack.pop()
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    following.append(annotation)
                stack.extend(get_args(annotation))
        # A list index or a union's tag names no field: stay where we are.
        candidates = following or candidates
    return {name for candidate in candidates for name in candidate.model_fields}
