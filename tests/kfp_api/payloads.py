"""What the API server refuses: payloads held against the published models and the pipeline protos."""

import datetime
import json
import re

import kfp_server_api
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

MAX_PARAMETER_BYTES = 10_000
MAX_WORKFLOW_BYTES = 1_000_000
_TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": (int, float), "BOOLEAN": bool}
_TYPES |= {"LIST": list, "STRUCT": dict}
_CRON_LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class Refusal(Exception):
    """Status and gRPC code of an answer that is an error."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.code = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13}[status]


def checked(data, model):
    """Holds parsed JSON against a model, as the gateway does: unknown fields and types are errors."""
    if not isinstance(data, dict):
        raise Refusal(400, f"proto: syntax error: unexpected token for {model}")
    kind = getattr(kfp_server_api.models, model)
    known = {name: attribute for attribute, name in kind.attribute_map.items()}
    for name, value in data.items():
        if name not in known:
            raise Refusal(400, f'proto: unknown field "{name}"')
        if value is not None:
            _check(value, kind.openapi_types[known[name]], name)
    return data


def _check(value, kind, name):
    wrong = Refusal(400, f"proto: invalid value for {kind} field {name}: {value!r}")
    if kind.startswith("list["):
        if not isinstance(value, list):
            raise wrong
        for entry in value:
            _check(entry, kind[5:-1], name)
    elif kind.startswith("dict("):
        if not isinstance(value, dict):
            raise wrong
        for entry in value.values():
            _check(entry, kind[5:-1].split(", ", 1)[1], name)
    elif kind == "str":
        # 64-bit integers are strings in the models, and may be numbers on the wire.
        if not isinstance(value, str) and not (name == "max_concurrency" and type(value) is int):
            raise wrong
    elif kind == "datetime":
        try:
            datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except (AttributeError, ValueError):
            raise wrong from None
    elif kind in ("int", "bool"):
        if type(value).__name__ != kind:
            raise wrong
    elif kind != "object":
        model = getattr(kfp_server_api.models, kind)
        if getattr(model, "allowable_values", None):
            if value not in model.allowable_values:
                raise wrong
        else:
            checked(value, kind)


def checked_pipeline(spec):
    """Holds a compiled pipeline against its protos; returns the `PipelineSpec`."""
    if not isinstance(spec, dict) or not spec:
        raise Refusal(400, "Invalid input error: the pipeline spec is empty")
    pipeline, platform = spec.get("pipeline_spec", spec), spec.get("platform_spec")
    try:
        parsed = json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(
            pipeline["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
        )
        executors = {}
        if platform:
            platforms = json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
            executors = json_format.MessageToDict(
                platforms.platforms["kubernetes"].deployment_spec
            ).get("executors", {})
        for executor in executors.values():
            json_format.ParseDict(
                executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig()
            )
    except (KeyError, json_format.ParseError) as failure:
        raise Refusal(400, f"Invalid input error: invalid pipeline spec: {failure}") from None
    if set(executors) - set(pipeline["deploymentSpec"]["executors"]):
        raise Refusal(400, "Invalid input error: the platform spec names an unknown executor")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", parsed.pipeline_info.name):
        raise Refusal(400, "Invalid input error: the pipeline's name is invalid")
    if len(json.dumps(spec)) > MAX_WORKFLOW_BYTES:
        raise Refusal(400, "Invalid input error: the workflow is too large for etcd")
    return parsed


def check_parameters(parameters, spec):
    """Holds a run's parameters against the pipeline's inputs, and against the size limit."""
    if len(json.dumps(parameters).encode()) > MAX_PARAMETER_BYTES:
        raise Refusal(
            400, f"The input parameter length exceed maximum size of {MAX_PARAMETER_BYTES}"
        )
    inputs = spec.root.input_definitions.parameters
    for name in parameters:
        if name not in inputs:
            raise Refusal(400, f"Invalid input error: parameter {name} is not in the pipeline")
    for name, definition in inputs.items():
        if name not in parameters:
            if not definition.HasField("default_value") and not definition.is_optional:
                raise Refusal(400, f"Invalid input error: parameter {name} is missing")
            continue
        kind = pipeline_spec_pb2.ParameterType.ParameterTypeEnum.Name(definition.parameter_type)
        value = parameters[name]
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
            raise Refusal(400, f"Invalid input error: parameter {name} requires {kind}")


def check_cron(cron):
    """Refuses what the scheduler's parser refuses: six fields (five are taken as the first five)."""
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise Refusal(400, f"Schedule cron is not a supported format: {cron}")
    for field, (low, high) in zip(fields, _CRON_LIMITS, strict=False):
        for item in field.split(","):
            match = re.fullmatch(r"(?:[*?]|(\d+)(?:-(\d+))?)(?:/(\d+))?", item)
            if not match:
                raise Refusal(400, f"Schedule cron is not a supported format: {item}")
            first, last, step = match.groups()
            for number in (first, last):
                if number is not None and not low <= int(number) <= high:
                    raise Refusal(400, f"Schedule cron is not a supported format: {item}")
            if step == "0" or (last is not None and int(first) > int(last)):
                raise Refusal(400, f"Schedule cron is not a supported format: {item}")
