"""Model Garden's side of an experiment: building its configuration and checking what is laid over it."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from official.core import exp_factory
from official.core.config_definitions import ExperimentConfig
from official.modeling.hyperparams import base_config, oneof
from official.vision.configs import retinanet as _registers_experiments  # noqa: F401
from official.vision.tasks.retinanet import RetinaNetTask

from kfdet.errors import ConfigError, did_you_mean
from kfdet.schema.training import ResolvedExperiment

# Annotated as int in Model Garden, and multiplied with a float.
_REAL_NUMBERS = frozenset({"task.losses.box_loss_weight"})


def build_config(experiment: ResolvedExperiment) -> ExperimentConfig:
    """Returns the full Model Garden configuration, locked.

    Raises:
        ConfigError: A key does not exist, has the wrong type, or breaks a restriction of the
            experiment; all of them are named and nothing is applied.
    """
    try:
        config = exp_factory.get_exp_config(experiment.experiment)
    except KeyError as failure:
        raise ConfigError(
            f'Model Garden has no experiment "{experiment.experiment}"', where="detector.experiment"
        ) from failure
    faults = list(_faults(config, experiment.params, ""))
    if len(faults) == 1:
        raise ConfigError(faults[0], where="training.overrides")
    if faults:
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise ConfigError(f"{len(faults)} faults:{listing}", where="training.overrides")
    config.override(experiment.params, is_strict=True)
    try:
        config.validate()
    except (KeyError, ValueError) as failure:
        raise ConfigError(
            f"the experiment {experiment.experiment} does not allow it: {failure}",
            where="training.overrides",
        ) from failure
    config.lock()
    return config


def count_parameters(config: ExperimentConfig) -> int:
    """Builds the model once and returns the number of its weights.

    Raises:
        ConfigError: The model can't be built of these parts.
    """
    try:
        model = RetinaNetTask(config.task).build_model()
    except (KeyError, TypeError, ValueError) as failure:
        reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
        raise ConfigError(f"the model can't be built: {reason}", where="detector") from failure
    return weights_of(model)


def weights_of(model: Any) -> int:
    """Returns the number of a model's weights; Keras counts only models that have been called."""
    return sum(math.prod(weight.shape) for weight in model.variables)


def to_yaml(config: ExperimentConfig) -> str:
    """Returns the whole configuration as the YAML that Model Garden's own tools read."""
    return yaml.safe_dump(_plain(config.as_dict()), sort_keys=True, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _faults(config: base_config.Config, settings: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yields one sentence for every setting that the configuration can't take."""
    annotations = typing.get_type_hints(type(config))
    known = {name for name in vars(config) if name not in config.RESERVED_ATTR}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if key not in known:
            hint = did_you_mean(str(key), known)
            yield " ".join(part for part in (f'unknown key "{path}".', hint) if part)
            continue
        below = getattr(config, key)
        if isinstance(value, Mapping) and isinstance(below, base_config.Config):
            yield from _faults(below, value, f"{path}.")
            continue
        annotation = annotations.get(key, Any)
        if path in _REAL_NUMBERS:
            annotation = float
        if isinstance(config, oneof.OneOfConfig) and key == "type" and value is not None:
            choices = known - {"type"}
            if value not in choices:
                hint = did_you_mean(str(value), choices)
                yield f'"{path}" is {value!r}, expected one of {", ".join(sorted(choices))}. {hint}'.strip()
        elif not _fits(value, annotation):
            yield f'"{path}" is {value!r}, expected {_described(annotation)}'


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value from YAML suits an annotation of Model Garden's configuration."""
    if annotation is Any:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        entry = arguments[0] if arguments else Any
        return isinstance(value, list | tuple) and all(_fits(item, entry) for item in value)
    if annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(annotation, type) and issubclass(annotation, base_config.Config):
        return isinstance(value, Mapping) and not list(_faults(annotation(), value, ""))
    return isinstance(value, annotation) if isinstance(annotation, type) else True


def _described(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_described(argument) for argument in arguments)
    if origin is not None and arguments:
        return f"a list of {_described(arguments[0])}"
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, base_config.Config):
        return "a group of keys"
    return names.get(annotation, str(getattr(annotation, "__name__", annotation)))
