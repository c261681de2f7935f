"""Cores that a process may use, and TensorFlow's threads, which go by them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kfdet import cores

_LIMITED = """
import os, sys
from pathlib import Path
from kfdet import cores
cores._GROUPS, cores._OWN_GROUP = Path(sys.argv[1]), Path(sys.argv[2])
os.sched_getaffinity = lambda _: set(range(64))
import kfdet.models
"""
_SETTINGS = """
print(*(os.environ.get(f"TF_NUM_{kind}_THREADS") for kind in ("INTRAOP", "INTEROP")))
"""
_THREADS = """
import tensorflow as tf
tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
print(len(os.listdir("/proc/self/task")))
"""


@pytest.fixture
def limited(tmp_path, monkeypatch):
    """Gives the folder of control groups of a process on a machine of 8 cores."""
    groups = tmp_path / "groups"
    (groups / "pod" / "stage").mkdir(parents=True)
    (tmp_path / "own").write_text("0::/pod/stage\n")
    monkeypatch.setattr(cores, "_GROUPS", groups)
    monkeypatch.setattr(cores, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return groups


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({}, None),
        ({"pod": "max 100000"}, None),
        ({"pod": "200000 100000"}, 2),
        ({"pod/stage": "150000 100000", "pod": "400000 100000"}, 2),
        ({"pod/stage": "max 100000", "pod": "50000 100000"}, 1),
        ({"pod": "800000 100000"}, None),
        ({"pod": "9900000 100000"}, None),
        ({"pod": "nonsense"}, None),
    ],
)
def test_a_containers_limit_counts(limited: Path, limits, limit):
    for group, text in limits.items():
        (limited / group / "cpu.max").write_text(text + "\n")
    assert cores.core_limit() == limit
    assert cores.usable_cores() == (limit or 8)


def test_without_control_groups_the_machine_counts(limited: Path, tmp_path, monkeypatch):
    (limited / "pod" / "cpu.max").write_text("200000 100000\n")
    monkeypatch.setattr(cores, "_OWN_GROUP", tmp_path / "none")
    assert cores.core_limit() is None
    assert cores.usable_cores() == 8


def said(limited: Path, program: str, **environment: str) -> str:
    """Returns what a program prints on a machine of 64 cores, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_NUM_")}
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED + program, str(limited), str(limited.parent / "own")],
        capture_output=True,
        text=True,
        timeout=300,
        env=kept | environment,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_tensorflow_is_told_of_a_limit_alone_and_what_the_task_says_stays(limited: Path):
    assert said(limited, _SETTINGS) == "None None"
    (limited / "pod" / "cpu.max").write_text("400000 100000\n")
    assert said(limited, _SETTINGS) == "4 4"
    assert said(limited, _SETTINGS, TF_NUM_INTRAOP_THREADS="2") == "2 4"


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
def test_tensorflow_starts_threads_for_the_cores_of_the_limit(limited: Path):
    (limited / "pod" / "cpu.max").write_text("3000000 100000\n")
    # Two pools, and a few threads more.
    assert 60 <= int(said(limited, _THREADS)) < 80
