"""Where the pipeline's source lies, and compiling it.

In a checkout that is the repository; in an installed wheel, a folder beside this package. The
folders are called `components` and `pipelines`, so they are never installed as packages.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Literal

import kfdet
from kfdet.errors import StorageError
from kfdet.schema.cluster_config import ClusterConfig, ImagesConfig, ResourcesConfig
from kfdet.schema.run_config import RunConfig
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.dataset import with_absolute_paths
from kfdet.storage.locations import absolute

PIPELINE_FOLDER = Path("pipelines") / "detection_training"


def source_root() -> Path:
    """Returns the folder that holds `components` and `pipelines`."""
    package = Path(kfdet.__file__).parent
    for root in (package.parents[1], package / "pipeline_source"):
        if (root / PIPELINE_FOLDER / "pipeline.py").is_file():
            return root
    raise StorageError(
        "the pipeline's source is missing from the installation",
        where=str(package),
        remedy="Install kfdet again.",
    )


def compile_pipeline(
    target: Path,
    *,
    resources: ResourcesConfig | None = None,
    cluster: ClusterConfig | None = None,
    images: ImagesConfig | None = None,
    digest_taken: Literal["before", "in the pipeline"] = "before",
) -> None:
    """Compiles the pipeline to YAML.

    Args:
        target: The file to write.
        resources: Requests of the tasks on a cluster; the defaults when absent.
        cluster: Volumes, secrets, placement and patience there; the defaults when absent.
        images: Registry, tag and digests of the images; those of the environment or the release
            when absent.
        digest_taken: In the pipeline: a task of its own names the data's bytes, for data that
            only the cluster can read and for schedules.

    Raises:
        StorageError: The file can't be written.
    """
    root = str(source_root())
    if root not in sys.path:
        sys.path.insert(0, root)
    from kfp import compiler

    # By name: the folder is no package of this program, here or in an installed wheel.
    pipeline = importlib.import_module("pipelines.detection_training.pipeline")
    with explain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        compiled = pipeline.detection_training(
            resources or ResourcesConfig(),
            cluster=cluster or ClusterConfig(),
            images=images or ImagesConfig(),
            digest_taken=digest_taken,
        )
        compiler.Compiler().compile(compiled, str(target))


def pipeline_arguments(config: RunConfig, *, data_digest: str, model_root: str) -> dict[str, Any]:
    """Returns the pipeline's parameters for a run.

    Args:
        config: The run.
        data_digest: Digest of the data's bytes; equal digests may come from the cache.
        model_root: Folder of model directories and exports.
    """
    registry = config.registry
    return {
        "run_name": config.name,
        "dataset": with_absolute_paths(config.dataset).canonical_json(),
        "data_digest": data_digest,
        "detector": config.detector.canonical_json(),
        "training": config.training.canonical_json(),
        "policy": config.gate.canonical_json(),
        "feasibility": config.feasibility.canonical_json(),
        "parity": config.export.parity.canonical_json(),
        "model_root": model_root,
        "registry": absolute(registry.uri),
        "model": registry.model or config.name,
        "groups": list(range(config.validation.groups)),
        "num_groups": config.validation.groups,
        "shards": list(range(config.evaluation.shards)),
        "num_shards": config.evaluation.shards,
        "evaluation_batch_size": config.evaluation.batch_size,
        "engine": config.evaluation.engine,
        "diagnosis": config.diagnosis.canonical_json(),
        "measurement": config.evaluation.measurement().canonical_json(),
        "select_metric": config.evaluation.select_metric,
    }
