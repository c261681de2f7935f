"""Tasks of a run as containers of this machine, held as a cluster holds them: any user, no
capability, a root file system that can't be written, and no network where all data is local.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from kfdet.errors import ConfigError, KfdetError, UsageError
from kfdet.progress import EVENTS_VARIABLE
from kfdet.schema.base import Schema
from kfdet.schema.cluster_config import CREDENTIALS_FOLDER, CREDENTIALS_VARIABLE
from kfdet.schema.dataset import SPLITS
from kfdet.schema.run_config import RunConfig
from kfdet.storage.atomic import explain_os_errors
from kfdet.storage.copies import CACHE_VARIABLE, cache_folder
from kfdet.storage.locations import is_remote
from kfdet.storage.stores import DEADLINE_VARIABLE, EMULATOR_VARIABLE

_LABEL = "kfdet.run"
_CREDENTIALS_FILE = f"{CREDENTIALS_FOLDER}/key.json"
_HANDED_ON = (EMULATOR_VARIABLE, DEADLINE_VARIABLE)
_KILLED = 137
_LOOKS = 2
_SECONDS_BETWEEN_LOOKS = 0.3


class ContainerRequest(Schema):
    """Attributes:
    run: Label of the run's containers, which finds them when it is interrupted.
    user: uid:gid that tasks run as and their files belong to.
    read: Folders mounted at their own paths, to be read.
    write: Folders mounted at their own paths, to be written.
    network: The engine's name of what tasks may reach; none where all data is local.
    images_digest: Digest of the images' ids; other images are other code.
    """

    run: str
    user: str
    read: tuple[str, ...]
    write: tuple[str, ...]
    network: Literal["none", "default", "host"]
    images_digest: str


def container_request(config: RunConfig, *, root: Path, pipeline: Path) -> ContainerRequest:
    """Returns what the run's containers need, after a look at whether they can run at all.

    Args:
        config: The run.
        root: Folder of the run.
        pipeline: The compiled pipeline; it names the images.

    Raises:
        UsageError: No Docker engine, or an image that is not there.
        ConfigError: Data that can't be mounted.
    """
    reads = [config.dataset.label_map, config.training.init_checkpoint or config.dataset.label_map]
    reads += [config.dataset.quarantine or config.dataset.label_map]
    reads += [pattern for split in SPLITS for pattern in getattr(config.dataset, split)]
    registry = config.registry.uri
    write = {root}
    if not is_remote(registry):
        write.add(_made(Path(registry)))
    read = {_folder(location) for location in reads if not is_remote(location)} - write
    remote = any(is_remote(location) for location in (*reads, registry))
    if remote:
        # The containers' own disk is memory, and each would copy the data anew.
        write.add(_made(cache_folder()))
    return ContainerRequest(
        run=uuid.uuid4().hex,
        user=f"{os.getuid()}:{os.getgid()}",
        read=tuple(sorted(map(str, read))),
        write=tuple(sorted(map(str, write))),
        network=_network() if remote else "none",
        images_digest=_images_digest(_images(pipeline)),
    )


def _made(folder: Path) -> Path:
    """Returns a folder's path after making it: Docker would make it for root."""
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def _network() -> Literal["default", "host"]:
    """Returns the network that the storage is reached from."""
    server = urlsplit(os.environ.get(EMULATOR_VARIABLE, "")).hostname
    # A server that only this machine can reach is only reached from this machine's own network.
    return "host" if server in ("localhost", "127.0.0.1", "::1") else "default"


def _folder(pattern: str) -> Path:
    """Returns the deepest folder that holds all the files of a pattern."""
    folder = Path(pattern).absolute().parent
    while any(character in str(folder) for character in "*?["):
        folder = folder.parent
    if str(folder) in ("/", "/tmp"):  # noqa: S108 a container has a /tmp of its own
        raise ConfigError(
            f"the folder {folder} can't be mounted into a container",
            where=pattern,
            remedy="Put the data into a folder of its own.",
        )
    return folder


def _images(pipeline: Path) -> list[str]:
    specification = next(yaml.safe_load_all(pipeline.read_text(encoding="utf-8")))
    executors = specification["deploymentSpec"]["executors"].values()
    return sorted({executor["container"]["image"] for executor in executors})


def _images_digest(names: Iterable[str]) -> str:
    client = _client()
    whole = hashlib.sha256()
    from docker import errors

    try:
        for name in names:
            whole.update(client.images.get(name).id.encode())
    except errors.ImageNotFound:
        raise UsageError(
            "there is no such image on this machine",
            where=name,
            remedy="Build it with make images, or say where it is: KFDET_IMAGE_REGISTRY and "
            "KFDET_IMAGE_TAG.",
        ) from None
    finally:
        client.close()
    return whole.hexdigest()


def _client() -> Any:
    try:
        import docker
    except ImportError:
        raise UsageError(
            "the Python package docker is missing", remedy='pip install "kfdet[kfp]".'
        ) from None
    try:
        return docker.from_env()
    except docker.errors.DockerException as failure:
        raise UsageError(
            f"no Docker engine answers: {failure}",
            where=os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"),
            remedy="Start one, or run without --runner docker.",
        ) from failure


def docker_runner(request: ContainerRequest, *, events: str) -> Any:
    """Returns kfp's runner for these containers.

    Args:
        request: The containers.
        events: File that the stages tell their progress to.
    """
    from docker.types import Mount
    from kfp import local
    from kfp.local import docker_task_handler

    docker_task_handler.run_docker_container = _run_container
    environment, mounts = ({}, []) if request.network == "none" else _storage_access()
    return local.DockerRunner(
        user=request.user,
        # For relative paths, which name an experiment and so can't be made absolute.
        working_dir=str(Path.cwd()),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},  # noqa: S108 the containers' own
        network_mode=request.network,
        labels={_LABEL: request.run},
        environment={EVENTS_VARIABLE: events, **environment},
        mounts=[
            *mounts,
            *(Mount(path, path, type="bind", read_only=True) for path in request.read),
            *(Mount(path, path, type="bind") for path in request.write),
        ],
    )


def _storage_access() -> tuple[dict[str, str], list[Any]]:
    """Returns variables and mounts by which containers reach buckets as this process does.

    Credentials are a file that is mounted to be read. This process's environment names it, not the
    request, which is kept with the run.
    """
    from docker.types import Mount

    handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    environment = {CACHE_VARIABLE: str(cache_folder()), **handed_on}
    file = _credentials_file()
    # Another server than Google's is given no credentials.
    if file is None or os.environ.get(EMULATOR_VARIABLE):
        return environment, []
    mount = Mount(_CREDENTIALS_FILE, str(file), type="bind", read_only=True)
    return {**environment, CREDENTIALS_VARIABLE: _CREDENTIALS_FILE}, [mount]


def _credentials_file() -> Path | None:
    """Returns the file that Google's libraries take their credentials from, if there is one.

    Where there is none, the machine itself may have an identity, which its containers share.
    """
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    logged_in = Path(folder, "application_default_credentials.json")
    file = Path(os.environ.get(CREDENTIALS_VARIABLE) or logged_in)
    return file.absolute() if file.is_file() else None


def _run_container(
    client: Any, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any
) -> int:
    """In place of kfp's own, which removes a container before it has asked how it ended."""
    from docker import errors

    container = client.containers.run(
        image=image, command=command, volumes=volumes, detach=True, **arguments
    )
    try:
        for chunk in container.logs(stream=True):
            print(chunk.decode(errors="replace"), end="")
        return int(container.wait()["StatusCode"])
    except errors.NotFound:
        return _KILLED
    finally:
        _remove(container)


def _remove(container: Any) -> None:
    from docker import errors

    with contextlib.suppress(errors.APIError):  # it is gone, or going
        container.remove(force=True)


def interrupt_containers(request: ContainerRequest) -> None:
    """Sends SIGINT to the stages in the run's containers, so that training saves what it has."""
    from docker import errors

    for container in _containers(request):
        # The first process of a container is kfp's shell, which keeps a signal to itself.
        with contextlib.suppress(errors.APIError):
            container.exec_run(["sh", "-c", "kill -INT -1"])


def stop_containers(request: ContainerRequest) -> None:
    """Removes the run's containers, whatever they do; one that is being made counts too."""
    looks_without = 0
    while looks_without < _LOOKS:
        found = _containers(request)
        looks_without = 0 if found else looks_without + 1
        for container in found:
            _remove(container)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _containers(request: ContainerRequest) -> list[Any]:
    try:
        client = _client()
    except KfdetError:
        return []
    with contextlib.closing(client):
        label = f"{_LABEL}={request.run}"
        return list(client.containers.list(all=True, ignore_removed=True, filters={"label": label}))
