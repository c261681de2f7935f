"""An engine of one's own comes without a trace and goes without one."""

import os
import subprocess
from pathlib import Path

import pytest

from scripts import containers

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.containers,
    pytest.mark.xdist_group("containers"),
]


def state():
    """Network devices, packet filter rules, forwarding and mounts of this machine."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout.splitlines()
    return {
        "devices": sorted(os.listdir("/sys/class/net")),
        "rules": [line for line in rules if not line.startswith("#")],
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
    }


def test_an_engine_leaves_no_process_network_mount_or_file_behind(engine):
    if not engine.own:
        pytest.skip("a Docker engine runs already")
    before = state()
    with containers.own_engine() as second:
        second.docker("import", "/dev/null", "localhost/empty:local")
        folder = second.folder
        assert folder.is_dir()
    assert state() == before
    assert not folder.exists()
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(folder) not in processes


def test_an_engine_that_cannot_start_says_why(engine, monkeypatch, tmp_path):
    if not engine.own:
        pytest.skip("a Docker engine runs already")
    daemon = tmp_path / "dockerd"
    daemon.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    daemon.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SystemExit, match="no space left"), containers.own_engine():
        pass
