"""Builds the images of containers/Dockerfile.

python scripts/containers.py                    light and tensorflow
python scripts/containers.py tensorflow-gpu     another, or several
python scripts/containers.py --push             and push them, for a release

It takes a Docker engine that runs. The tests and benchmarks of the images start one of their own
where none does, make the base image from Debian packages, and leave nothing of it behind.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components._images import TARGETS, image_name

ROOT = Path(__file__).resolve().parents[1]
LOCAL_BASE = "localhost/kfdet-base:local"
_SECONDS_TO_START = 60


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Attributes:
    host: Address of the engine, as DOCKER_HOST takes it; None is the client's default.
    own: Whether it was started here: it has no networks, so a build uses the machine's.
    folder: All of an own engine's files.
    """

    host: str | None = None
    own: bool = False
    folder: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        host = {"DOCKER_HOST": self.host} if self.host else {}
        return {**os.environ, **host, "DOCKER_BUILDKIT": "1"}

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Runs the client; returns what it printed."""
        done = subprocess.run(
            [_client(), *arguments], env=self.environment, capture_output=True, text=True
        )
        if check and done.returncode:
            raise SystemExit(f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


@functools.cache
def _client() -> str:
    """Returns a client that builds with BuildKit: with the plugin buildx, or from before version 23."""
    for folder in os.environ["PATH"].split(os.pathsep):
        client = Path(folder, "docker")
        if not os.access(client, os.X_OK):
            continue
        version = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"version (\d+)\.", version)
        buildx = subprocess.run([client, "buildx", "version"], capture_output=True)
        if buildx.returncode == 0 or (found and int(found[1]) < 23):
            return str(client)
    raise SystemExit(
        "there is no docker client that can build. Install Docker with its plugin buildx; on "
        "Debian 12: apt-get install docker.io"
    )


def running_engine() -> Engine | None:
    """Returns the engine that answers at DOCKER_HOST or the default address, or None."""
    engine = Engine(host=os.environ.get("DOCKER_HOST"))
    try:
        return engine if engine.docker("version", check=False).count("Version:") > 1 else None
    except SystemExit:
        return None


def why_not() -> str | None:
    """Returns why there is no engine here and none can be started, or None."""
    if running_engine():
        return None
    release = Path("/etc/os-release")
    if os.geteuid() != 0:
        return "no Docker engine answers, and starting one takes root"
    if not release.is_file() or not re.search(r"^ID=debian$", release.read_text(), re.M):
        return "no Docker engine answers, and one is started on Debian only"
    return None


@contextlib.contextmanager
def own_engine() -> Iterator[Engine]:
    """Starts an engine that touches nothing of the machine outside one folder, and removes both.

    It makes no bridge and no packet filter rules: builds use the machine's network, and tasks none.
    """
    _install("dockerd", "docker.io")
    folder = Path(tempfile.mkdtemp(prefix="kfdet-docker-", dir="/var/tmp"))  # overlay2 needs a disk
    folder.chmod(0o755)
    engine = Engine(host=f"unix://{folder}/docker.sock", own=True, folder=folder)
    command = [
        # Ends with this process, however that ends.
        "setpriv", "--pdeathsig", "TERM", "dockerd", "--host", str(engine.host),
        "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
        "--pidfile", f"{folder}/docker.pid", "--bridge", "none", "--iptables=false",
        "--ip-forward=false", "--ip-masq=false",
    ]  # fmt: skip
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _await(engine, daemon, folder / "log")
        yield engine
    finally:
        _stop(engine, daemon)
        _remove(folder)


def _install(program: str, package: str) -> None:
    if shutil.which(program):
        return
    quiet = ["-qq", "-o", "Dpkg::Use-Pty=0"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
        subprocess.run(["apt-get", *quiet, *arguments], check=True, env=environment)


def _await(engine: Engine, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while engine.docker("version", check=False).count("Version:") < 2:
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the Docker engine did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def _stop(engine: Engine, daemon: subprocess.Popen[bytes]) -> None:
    if daemon.poll() is None:
        containers = engine.docker("ps", "--all", "--quiet", check=False).split()
        if containers:
            engine.docker("rm", "--force", *containers, check=False)
        daemon.terminate()
        try:
            daemon.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def _remove(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount])
    shutil.rmtree(folder)


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Gives the engine that runs, or one of its own."""
    running = running_engine()
    if running:
        yield running
        return
    with own_engine() as started:
        yield started


def make_base(engine: Engine) -> str:
    """Makes a base image out of Debian packages, where no registry can be reached; returns its name.

    It trusts the certificate authorities that this machine trusts.
    """
    _install("mmdebstrap", "mmdebstrap")
    authorities = "/etc/ssl/certs/ca-certificates.crt"
    command = [
        "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "--aptopt=APT::Install-Recommends false",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")),
        "--include=usr-is-merged,ca-certificates,python3,python3-venv",
        f'--customize-hook=cat {authorities} > "$1{authorities}"', "bookworm", "-",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as packages:
        imported = subprocess.run(
            [_client(), "import", "-", LOCAL_BASE],
            stdin=packages.stdout,
            env=engine.environment,
            capture_output=True,
            text=True,
        )
        assert packages.stderr
        words = packages.stderr.read().decode()
    if packages.returncode or imported.returncode:
        raise SystemExit(f"no base image could be made:\n{words}{imported.stderr}")
    return LOCAL_BASE


def build(engine: Engine, target: str, *, base: str | None = None, context: Path = ROOT) -> str:
    """Builds one image and returns its name.

    Args:
        engine: Where it is built.
        target: One of TARGETS.
        base: Base image; the Dockerfile's own when absent.
        context: The checkout that goes into the image.
    """
    from kfdet import __version__

    name = image_name(target)
    revision = _git("rev-parse", "HEAD")
    changed = "-dirty" if revision and _git("status", "--porcelain") else ""
    # Given here and not in the Dockerfile, a label that changes leaves the layers as they are.
    labels = {
        "version": __version__,
        "revision": f"{revision or 'unknown'}{changed}",
        "created": _git("log", "-1", "--format=%cI") or "unknown",
    }
    command = [
        _client(), "build", "--progress", "plain", "--file", "containers/Dockerfile",
        "--target", target, "--tag", name, *(["--network", "host"] if engine.own else []),
        *(f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()),
        *([f"--build-arg=BASE={base}"] if base else []), ".",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=context,
        env=engine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-6000:]}\n{name} could not be built")
    return name


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def size_mb(engine: Engine, name: str) -> float:
    """Returns an image's size on disk, all layers together, in units of 1,000,000 bytes."""
    return int(engine.docker("image", "inspect", "--format", "{{.Size}}", name)) / 1e6


def push(engine: Engine, name: str) -> str:
    """Pushes an image and returns its digest, by which a run can name it."""
    engine.docker("push", "--quiet", name)
    repository = name.rpartition(":")[0]
    known = json.loads(engine.docker("image", "inspect", "--format", "{{json .RepoDigests}}", name))
    for entry in known:
        if entry.startswith(f"{repository}@"):
            return str(entry.removeprefix(f"{repository}@"))
    raise SystemExit(f"{name} was pushed, and the engine knows no digest of it: {known}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Builds the images of the pipeline's tasks.")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(TARGETS)}"
    )
    parser.add_argument("--base", help="base image (default: the one in containers/Dockerfile)")
    parser.add_argument(
        "--push", action="store_true", help="push them, and print a configuration's section images"
    )
    chosen = parser.parse_args(arguments)
    targets = chosen.targets or ["light", "tensorflow"]
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown:
        parser.error(f"there is no image {unknown[0]}; there are {', '.join(TARGETS)}")
    docker = running_engine()
    if docker is None:
        raise SystemExit("make images: no Docker engine answers. Start one, or set DOCKER_HOST.")
    digests = {}
    for target in targets:
        started = time.monotonic()
        print(f"== {image_name(target)}", flush=True)
        name = build(docker, target, base=chosen.base)
        if chosen.push:
            digests[target.replace("-", "_")] = push(docker, name)
        print(f"   {size_mb(docker, name):,.0f} MB, {time.monotonic() - started:.0f} s")
    if chosen.push:
        registry, tag = re.fullmatch(r"(.+)/python-[a-z-]+:(.+)", name).groups()
        section = {"images": {"registry": registry, "tag": tag, "digests": digests}}
        print(yaml.safe_dump(section, sort_keys=False), end="")


if __name__ == "__main__":
    main()
