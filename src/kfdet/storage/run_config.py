"""Reading the run configuration: strict YAML, with the line of every fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from kfdet.errors import ConfigError, UsageError
from kfdet.schema.base import Schema, parse
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DiagnosisConfig, RunConfig

_Path = tuple[int | str, ...]


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 PyYAML's signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key}" stands twice', key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_run_config(path: Path, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run configuration and lays overrides over it.

    Args:
        path: The YAML file.
        overrides: `key=value` with a dotted key and a YAML value: `training.steps=500`.

    Raises:
        ConfigError: Names the file, the line and every fault.
        UsageError: An override is not of the form key=value.
    """
    data, lines = _read_yaml(path)
    for override in overrides:
        _lay_over(data, override)

    def locate(fault: _Path) -> str:
        for length in range(len(fault), 0, -1):
            if fault[:length] in lines:
                return f"line {lines[fault[:length]]}: "
        return ""

    return parse(RunConfig, data, where=str(path), locate=None if overrides else locate)


def read_policy(path: Path) -> GatePolicy:
    """Reads a gate policy: a file of its own, or the section `gate` of a run configuration."""
    data, _ = _read_yaml(path)
    if isinstance(data, dict) and "gate" in data:
        return parse(RunConfig, data, where=str(path)).gate
    return parse(GatePolicy, data, where=str(path))


def read_measurement(path: Path) -> MeasurementConfig:
    """Reads what to measure: a file of its own, or the section `evaluation` of a run configuration."""
    data, _ = _read_yaml(path)
    if isinstance(data, dict) and "evaluation" in data:
        return parse(RunConfig, data, where=str(path)).evaluation.measurement()
    return parse(MeasurementConfig, data, where=str(path))


def read_diagnosis(path: Path) -> DiagnosisConfig:
    """Reads when advice is given: a file of its own, or the section of a run configuration."""
    data, _ = _read_yaml(path)
    if isinstance(data, dict) and "dataset" in data:
        return parse(RunConfig, data, where=str(path)).diagnosis
    return parse(DiagnosisConfig, data, where=str(path))


def dump_yaml(value: Schema) -> str:
    """Returns a schema's value as YAML in the order of its fields."""
    return yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> tuple[Any, dict[_Path, int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        reason = getattr(failure, "strerror", None) or str(failure)
        raise ConfigError(
            f"can't read: {reason}", where=str(path), expected="a run configuration in YAML"
        ) from failure
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 a SafeLoader underneath
        lines = dict(_lines_of(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        place = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
        problem = getattr(failure, "problem", None) or str(failure)
        raise ConfigError(f"is no YAML: {problem}", where=f"{path}{place}") from failure
    if not isinstance(data, dict):
        raise ConfigError("holds no mapping of keys", where=str(path), expected="key: value lines")
    return data, lines


def _lines_of(node: Any, path: _Path) -> list[tuple[_Path, int]]:
    entries: list[tuple[_Path, int]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            entries.append(((*path, key.value), key.start_mark.line + 1))
            entries.extend(_lines_of(value, (*path, key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            entries.append(((*path, index), value.start_mark.line + 1))
            entries.extend(_lines_of(value, (*path, index)))
    return entries


def _lay_over(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UsageError(
            f'"{override}" is no override', where="--set", expected="key=value: training.steps=500"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as failure:
        raise UsageError(f'the value of "{key}" is no YAML: {text}', where="--set") from failure
    place: Any = data
    parts = key.split(".")
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise UsageError(
                    f'"{part}" in "{key}" is no entry of a list of {len(place)}', where="--set"
                )
            if last:
                place[int(part)] = value
            else:
                place = place[int(part)]
        elif isinstance(place, dict):
            if last:
                place[part] = value
            else:
                place = place.setdefault(part, {})
        else:
            raise UsageError(f'"{key}" leads through a plain value', where="--set")
