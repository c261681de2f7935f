"""What an image promises, asked of the image itself."""

import json
import re
import subprocess
import tomllib

import pytest

import kfdet
from scripts.containers import ROOT, size_mb
from tests.containers.unknown_user import HELD

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.containers,
    pytest.mark.xdist_group("containers"),
]

TARGETS = ("light", "tensorflow")


@pytest.fixture(params=TARGETS)
def image(request, images):
    return images[request.param]


@pytest.fixture
def held(engine):
    """Runs a command in a container that is held as a cluster holds it."""

    def run(image, *command, check=True):
        return engine.docker("run", "--rm", *HELD, image, *command, check=check)

    return run


def configuration(engine, image):
    return json.loads(engine.docker("image", "inspect", image))[0]["Config"]


def test_an_image_has_a_user_of_its_own_and_no_entrypoint(engine, image):
    found = configuration(engine, image)
    assert found["User"] == "65532:65532"
    assert not found["Entrypoint"]


def test_an_image_says_what_it_is_made_of(engine, image):
    labels = configuration(engine, image)["Labels"]
    assert labels["org.opencontainers.image.version"] == kfdet.__version__
    revision = labels["org.opencontainers.image.revision"].removesuffix("-dirty")
    subprocess.run(["git", "cat-file", "-e", revision], cwd=ROOT, check=True)
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.title"].startswith("kfdet ")


def test_the_light_image_is_under_400_mb(engine, images):
    assert size_mb(engine, images["light"]) < 400


def test_the_light_image_has_no_tensorflow(held, images):
    program = "import importlib.util as u; print(u.find_spec('tensorflow'), u.find_spec('pyarrow'))"
    assert held(images["light"], "python3", "-c", program).startswith("None ModuleSpec")


def test_any_user_runs_it_without_capabilities_on_a_file_system_that_cannot_be_written(held, image):
    status = held(image, "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status")
    assert status.split() == ["12345", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
    assert "ead-only" in held(image, "sh", "-c", "touch /opt/x 2>&1 || true")
    assert held(image, "kfdet", "--version") == f"kfdet {kfdet.__version__}"
    places = "import os, tempfile; print(tempfile.gettempdir(), os.path.expanduser('~'))"
    assert held(image, "python3", "-c", places) == "/tmp /tmp"


def test_python3_is_the_environments_own(held, image):
    assert held(image, "sh", "-c", "command -v python3; command -v kfdet").split() == [
        "/opt/kfdet/bin/python3",
        "/opt/kfdet/bin/kfdet",
    ]


def test_there_is_no_compiler_and_nothing_of_the_build(held, image):
    program = (
        "for tool in cc gcc g++ clang ld as make uv cargo; do command -v $tool; done; "
        "find / -xdev -name 'uv*' -path '*bin*' -o -name install-environment.sh 2>/dev/null; true"
    )
    assert held(image, "sh", "-c", program) == ""


def test_there_is_no_secret_and_nothing_that_leads_to_one(engine, image):
    variables = {entry.split("=")[0] for entry in configuration(engine, image)["Env"]}
    allowed = {
        "PATH", "LANG", "HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "USER",
        "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "PYTHONUNBUFFERED",
    }  # fmt: skip
    assert variables <= allowed
    history = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert not re.search(r"token|password|secret|://[^/\s]*@|index-url", history, re.I)
    names = (".netrc", ".pypirc", "pip.conf", ".git", ".env", "id_rsa", "credentials.json")
    search = " -o ".join(f"-name {name}" for name in names)
    as_root = ("run", "--rm", "--network", "none", "--user", "0", image, "sh", "-c")
    assert engine.docker(*as_root, f"find / -xdev {search}") == ""


def test_the_dependencies_are_those_of_the_lock_file(held, image):
    program = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions(path="
        "[__import__('sysconfig').get_path('platlib')])}))"
    )
    installed = json.loads(held(image, "python3", "-c", program))
    locked = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        locked.setdefault(package["name"], set()).add(package.get("version"))
    assert installed.pop("kfdet") == kfdet.__version__
    assert {"kfp", "hotcoco", "pyarrow", "pycocotools"} <= set(installed)
    strays = {
        name: version
        for name, version in installed.items()
        if version not in locked.get(name.replace(".", "-"), ())
    }
    assert not strays


def test_every_module_has_its_bytecode(held, image):
    program = """
import importlib.util, pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("platlib"))
files = [p for name in ("kfdet", "kfp", "numpy", "tensorflow/python", "official") for p in (site / name).rglob("*.py")]
missing = [str(p) for p in files if not pathlib.Path(importlib.util.cache_from_source(str(p))).exists()]
print(len(files), len(missing))
"""
    files, missing = map(int, held(image, "python3", "-c", program).split())
    assert files > 300
    assert missing < 0.01 * files  # templates that are no valid Python


def test_kfps_executor_starts_without_what_it_does_not_need(held, image):
    program = "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main --help"
    assert "--function_to_execute" in held(image, "sh", "-c", program)


def test_parquet_can_be_written_and_read(held, image):
    program = (
        "import pyarrow as a, pyarrow.parquet as p;"
        "p.write_table(a.table({'x': [1.5, None]}), '/tmp/x', compression='zstd');"
        "print(p.read_table('/tmp/x')['x'].to_pylist())"
    )
    assert held(image, "python3", "-c", program) == "[1.5, None]"
