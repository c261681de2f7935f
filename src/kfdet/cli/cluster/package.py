"""What is sent to the cluster for a run: the compiled pipeline, its parameters, names and labels."""

from __future__ import annotations

import json
import posixpath
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from kfdet import __version__
from kfdet.cli.pipeline_source import compile_pipeline, pipeline_arguments
from kfdet.errors import ConfigError, DataError, UsageError
from kfdet.schema.cluster_config import ClusterConfig
from kfdet.schema.dataset import SPLITS
from kfdet.schema.kubernetes import amount, plain_path
from kfdet.schema.run_config import DatasetConfig, RunConfig
from kfdet.storage.dataset import data_digest, dataset_digests
from kfdet.storage.locations import is_remote

# The API server's limit on all of a run's parameters together, as JSON.
MAX_PARAMETER_BYTES = 10_000
IN_CLUSTER = "cluster"
_DIGEST_DIGITS = 64
_LABEL_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Package:
    """Attributes:
    text: The compiled pipeline, YAML.
    spec: The same as the API takes it.
    data_digest: Digest of the data's bytes; null when a task of the pipeline takes it.
    """

    name: str
    description: str
    text: str
    spec: dict[str, Any]
    parameters: dict[str, Any]
    config_digest: str
    data_digest: str | None
    cluster: ClusterConfig


def build_package(
    config: RunConfig,
    *,
    name: str,
    data_digest: str | None,
    labels: Literal["of the run", "none"] = "of the run",
) -> Package:
    """Compiles a run for the cluster and checks it against the cluster's limits.

    Args:
        config: The run, as on this machine.
        name: Shown in the user interface and kept in the published version's record.
        data_digest: Digest of the data's bytes; null to have a task of the pipeline take it.
        labels: Of the run: its pods tell run, configuration and data. None: the compiled pipeline
            is the same for every run, as an uploaded one must be.

    Raises:
        ConfigError: A path lies on no volume, or the parameters are too large.
    """
    there = on_cluster(config)
    config_digest = config.fingerprint()
    cluster = config.cluster
    if labels == "of the run":
        cluster = _labelled(cluster, run=config.name, config=config_digest, data=data_digest)
    text = _compiled(there, cluster, data_digest)
    first, *platforms = yaml.safe_load_all(text)
    parameters = pipeline_arguments(
        there, data_digest=data_digest or "", model_root=there.cluster.model_root
    )
    parameters["run_name"] = name
    _check_size(parameters)
    return Package(
        name=name,
        description=_description(config_digest, data_digest),
        text=text,
        spec={"pipeline_spec": first, "platform_spec": platforms[0]} if platforms else first,
        parameters=parameters,
        config_digest=config_digest,
        data_digest=data_digest,
        cluster=config.cluster,
    )


def on_cluster(config: RunConfig) -> RunConfig:
    """Returns a run with the paths that it has on the cluster.

    Raises:
        ConfigError: A path lies on no volume there; all of them are named. Or a task asks for more
            shared memory than memory, or training for a GPU that its pod does not get.
    """
    _check_requests(config)
    cluster = config.cluster
    dataset = config.dataset
    moved = DatasetConfig(
        label_map=_there(dataset.label_map, cluster),
        severities=dataset.severities,
        quarantine=_there(dataset.quarantine, cluster) if dataset.quarantine else None,
        **{s: tuple(_there(p, cluster) for p in getattr(dataset, s)) for s in SPLITS},
    )
    registry = config.registry.model_copy(update={"uri": _there(config.registry.uri, cluster)})
    training = config.training
    if training.init_checkpoint:
        start = _there(training.init_checkpoint, cluster)
        training = training.model_copy(update={"init_checkpoint": start})
    model_root = _there(cluster.model_root, cluster)
    paths = {
        "dataset.label_map": (moved.label_map,),
        "dataset.quarantine": (moved.quarantine,) if moved.quarantine else (),
        **{f"dataset.{split}": getattr(moved, split) for split in SPLITS},
        "training.init_checkpoint": (training.init_checkpoint,) if training.init_checkpoint else (),
        "registry.uri": (registry.uri,),
        "cluster.model_root": (model_root,),
    }
    adrift = [
        f"{key} {path}"
        for key, values in paths.items()
        for path in values
        if not _mounted(path, cluster)
    ]
    if adrift:
        mounted = ", ".join(volume.path for volume in cluster.volumes) or "none is configured"
        raise ConfigError(
            f"on no volume of the pods: {', '.join(adrift[:5])}"
            + (f" and {len(adrift) - 5} more" if len(adrift) > 5 else ""),
            where="cluster.volumes",
            expected=f"paths below a volume ({mounted}) or gs://",
            remedy=f"Name the claim: cluster: {{volumes: [{{claim: kfdet, path: {cluster.root}}}]}}.",
        )
    return config.model_copy(
        update={
            "dataset": moved,
            "training": training,
            "registry": registry,
            "cluster": cluster.model_copy(update={"model_root": model_root}),
        }
    )


def find_data_digest(dataset: DatasetConfig, given: str | None) -> str | None:
    """Returns the digest of a run's data, or None when a task of the pipeline must take it.

    Args:
        dataset: As on this machine.
        given: 64 hexadecimal digits, `cluster`, or null to look whether the files are here.

    Raises:
        UsageError: What is given is neither.
    """
    if given == IN_CLUSTER:
        return None
    if given is not None:
        if len(given) != _DIGEST_DIGITS or set(given) - set("0123456789abcdef"):
            raise UsageError(
                f'"{given}" is no digest',
                where="--data-digest",
                expected=f"64 hexadecimal digits, as kfdet fingerprint prints, or {IN_CLUSTER}",
            )
        return given
    named = (dataset.label_map, *(p for split in SPLITS for p in getattr(dataset, split)))
    if any(is_remote(location) for location in named):
        # It lies nearer to the cluster than to this machine.
        return None
    try:
        return data_digest(dataset_digests(dataset))
    except DataError:
        return None


def _there(path: str, cluster: ClusterConfig) -> str:
    """Returns a path in the pods, without the `..` that would lead out of a volume unseen."""
    if is_remote(path):
        return path
    return plain_path(posixpath.join(cluster.root, path))


def _mounted(path: str, cluster: ClusterConfig) -> bool:
    if is_remote(path):
        return True
    return any(path.startswith(f"{plain_path(volume.path)}/") for volume in cluster.volumes)


def _check_requests(config: RunConfig) -> None:
    for name in ("light", "train", "inference"):
        shared, memory = (
            getattr(config.cluster, name).shared_memory,
            getattr(config.resources, name).memory,
        )
        if shared and amount(shared) > amount(memory):
            raise ConfigError(
                f"shared memory of {shared} is more than the {memory} of memory that it counts "
                "against",
                where=f"cluster.{name}.shared_memory",
                expected=f"at most resources.{name}.memory, {memory}",
            )
    if config.training.device == "gpu" and not config.resources.train.gpus:
        raise ConfigError(
            "training.device is gpu, and training's pod asks for none",
            where="resources.train.gpus",
            expected="1 or more",
            remedy="Set resources: {train: {gpus: 1}}, or training.device to auto.",
        )


def _labelled(cluster: ClusterConfig, *, run: str, config: str, data: str | None) -> ClusterConfig:
    labels = {"kfdet.dev/run": run, "kfdet.dev/config": config[:_LABEL_DIGITS]}
    annotations = {"kfdet.dev/config-sha256": config}
    if data:
        labels["kfdet.dev/data"] = data[:_LABEL_DIGITS]
        annotations["kfdet.dev/data-sha256"] = data
    return cluster.model_copy(
        update={
            "labels": {**labels, **cluster.labels},
            "annotations": {**annotations, **cluster.annotations},
        }
    )


def _description(config: str, data: str | None) -> str:
    known = f"data sha256:{data}" if data else "data named by the run itself"
    return f"kfdet {__version__}; config sha256:{config}; {known}"


def _compiled(config: RunConfig, cluster: ClusterConfig, digest: str | None) -> str:
    with tempfile.TemporaryDirectory(prefix="kfdet-") as folder:
        target = Path(folder, "pipeline.yaml")
        compile_pipeline(
            target,
            resources=config.resources,
            cluster=cluster,
            images=config.images,
            digest_taken="before" if digest else "in the pipeline",
        )
        return target.read_text(encoding="utf-8")


def _check_size(parameters: dict[str, Any]) -> None:
    sizes = {name: len(json.dumps(value).encode()) for name, value in parameters.items()}
    whole = len(json.dumps(parameters).encode())
    if whole < MAX_PARAMETER_BYTES:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    remedy = (
        "Name the shards by a pattern, not one by one."
        if largest == "dataset"
        else "Shorten that section."
    )
    raise ConfigError(
        f"the parameters have {whole:,} bytes, {sizes[largest]:,} of them in {largest}",
        where="run configuration",
        expected=f"less than {MAX_PARAMETER_BYTES:,}, the limit of Kubeflow Pipelines",
        remedy=remedy,
    )
