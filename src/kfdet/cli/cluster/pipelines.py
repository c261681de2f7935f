"""Pipelines that the server keeps under a name."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import yaml

from kfdet.cli.cluster.connection import TIMEOUT_S, Connection, every, filter_by_name
from kfdet.cli.cluster.package import Package
from kfdet.cli.cluster.runs import of_namespace
from kfdet.errors import ClusterError

_VERSION_DIGITS = 12


def keep_pipeline(
    connection: Connection, package: Package, *, name: str, differing: Literal["refuse", "add"]
) -> tuple[str, str]:
    """Has the server keep a compiled pipeline under a name.

    A version is called by the digest of what it holds, so that the same one is not kept twice.

    Args:
        connection: The server.
        package: What is kept.
        name: Of the pipeline.
        differing: What to do where the name holds other pipelines only: add this as a version.

    Returns:
        Identity of the pipeline and of the version.

    Raises:
        ClusterError: A pipeline of that name differs.
    """
    version = f"kfdet-{_digest(package.spec)[:_VERSION_DIGITS]}"
    pipelines = connection.api.pipelines
    with connection.explained(f'pipeline "{name}"'):
        options: dict[str, Any] = {"filter": filter_by_name(name), **of_namespace(connection)}
        found = every(pipelines.pipeline_service_list_pipelines, "pipelines", **options)
        if not found:
            return _upload(connection, package, name=name, version=version)
        pipeline = found[0].pipeline_id
        versions = every(
            pipelines.pipeline_service_list_pipeline_versions,
            "pipeline_versions",
            pipeline_id=pipeline,
        )
        for kept in versions:
            if kept.display_name == version:
                _check_equal(kept, package, name=name)
                return pipeline, kept.pipeline_version_id
        if differing == "refuse":
            raise ClusterError(
                f'the pipeline "{name}" differs: it holds '
                + ", ".join(str(kept.display_name) for kept in versions[:5]),
                where=connection.access.shown,
                expected=version,
                remedy="Give --new-version to add this one, or choose another name.",
            )
        return pipeline, _upload_version(connection, package, pipeline=pipeline, version=version)


def _upload(
    connection: Connection, package: Package, *, name: str, version: str
) -> tuple[str, str]:
    uploads = connection.api.pipeline_uploads
    pipelines = connection.api.pipelines
    with tempfile.TemporaryDirectory(prefix="kfdet-") as folder:
        file = Path(folder, f"{version}.yaml")
        file.write_text(package.text, encoding="utf-8")
        pipeline = uploads.upload_pipeline(
            str(file),
            name=name,
            description=package.description,
            _request_timeout=TIMEOUT_S,
            **of_namespace(connection),
        )
    # The server calls the first version as the pipeline, whatever the file is called.
    first = every(
        pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline.pipeline_id,
    )[0]
    if first.display_name != version:
        return pipeline.pipeline_id, _upload_version(
            connection, package, pipeline=pipeline.pipeline_id, version=version
        )
    return pipeline.pipeline_id, first.pipeline_version_id


def _upload_version(
    connection: Connection, package: Package, *, pipeline: str, version: str
) -> str:
    with tempfile.TemporaryDirectory(prefix="kfdet-") as folder:
        file = Path(folder, f"{version}.yaml")
        file.write_text(package.text, encoding="utf-8")
        kept = connection.api.pipeline_uploads.upload_pipeline_version(
            str(file),
            name=version,
            pipelineid=pipeline,
            description=package.description,
            _request_timeout=TIMEOUT_S,
        )
    return str(kept.pipeline_version_id)


def _check_equal(kept: Any, package: Package, *, name: str) -> None:
    if _digest(kept.pipeline_spec) != _digest(package.spec):
        raise ClusterError(
            f'version {kept.display_name} of the pipeline "{name}" is not what its name says',
            expected=_digest(package.spec),
            remedy="Delete that version, or choose another name.",
        )


def _digest(spec: Any) -> str:
    if isinstance(spec, str):
        spec = list(yaml.safe_load_all(spec))
    if isinstance(spec, dict) and "pipeline_spec" in spec:
        spec = [spec["pipeline_spec"], spec["platform_spec"]]
    whole = spec if isinstance(spec, list) else [spec]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
