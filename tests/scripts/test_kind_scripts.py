"""The scripts of the kind cluster, with programs in Docker's and kind's place that keep a record."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kfdet.schema.run_record import STAGES

ROOT = Path(__file__).resolve().parents[2]

# One program for all of them: it writes down how it was called, fails where it is told to, and
# otherwise does the little that the scripts look at.
PROGRAM = r"""#!/bin/bash
name=$(basename "$0")
echo "$name $*" >>"$RECORD/calls"
if [ -n "${FAILING:-}" ] && [[ "$name $*" =~ $FAILING ]]; then
  echo "$name: told to fail" >&2
  exit 1
fi
if [ -n "${SLEEPS:-}" ] && [[ "$name $*" =~ $SLEEPS ]]; then
  exec sleep 60
fi
if [ -n "${KILLS:-}" ] && [[ "$name $*" =~ $KILLS ]]; then
  kill -s "$SIGNAL" "$PPID" $$
fi
case "$name $*" in
curl*)
  while [ "$1" != --output ]; do shift; done
  cp "$RECORD/program" "$2" ;;
"docker image inspect"*) echo "sha256:${IMAGE:-one}" ;;
"kind get clusters") cat "$RECORD/clusters" ;;
"kind create cluster"*) echo kfdet >>"$RECORD/clusters" ;;
"kind delete cluster"*) : >"$RECORD/clusters" ;;
*port-forward*) echo "Forwarding from 127.0.0.1:43210 -> 3000"; exec sleep 60 ;;
*"exec --namespace"*champion.json) cat "$RECORD/champion.json" ;;
"kubectl apply --filename -") cat >"$RECORD/applied.yaml" ;;
"kfdet submit"*)
  env | grep -E '^(KF|KUBE)' | sort >>"$RECORD/environment"
  if [[ "$*" == *"at_least: 0.95"* ]]; then cat "$RECORD/fail.json"; exit "${FAIL_CODE:-20}"; fi
  cat "$RECORD/pass.json" ;;
esac
"""


def record(*, passes, **changes):
    status = dict.fromkeys(STAGES, "done")
    if not passes:
        status |= {"export": "skipped", "publish": "skipped"}
    status |= changes.pop("statuses", {})
    return {
        "verdict": "pass" if passes else "fail",
        "reasons": ["ap 0.83 is at least 0.75" if passes else "ap 0.83 is below 0.95"],
        "published_version": 3 if passes else None,
        "stages": [{"stage": stage, "status": status[stage]} for stage in STAGES],
        **changes,
    }


class Sandbox:
    """A checkout in which nothing is real but the scripts."""

    def __init__(self, folder):
        self.root, self.record, self.bin = (folder / n for n in ("checkout", "record", "bin"))
        for made in (self.record, self.bin, self.root / ".venv" / "bin"):
            made.mkdir(parents=True)
        shutil.copytree(ROOT / "scripts" / "kind", self.root / "scripts" / "kind")
        shutil.copytree(ROOT / "configs", self.root / "configs")
        (self.root / "scripts" / "containers.py").write_text(
            "import os, sys\nopen(os.environ['RECORD'] + '/calls', 'a').write("
            "'containers.py ' + ' '.join(sys.argv[1:]) + '\\n')\n"
        )
        program = self.record / "program"
        for path in (
            program,
            self.bin / "docker",
            self.bin / "curl",
            self.root / ".venv/bin/kfdet",
        ):
            path.write_text(PROGRAM)
            path.chmod(0o755)
        (self.root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        digest = hashlib.sha256(PROGRAM.encode()).hexdigest()
        pins = self.root / "scripts" / "kind" / "pins.sh"
        pins.write_text(re.sub(r"(_SHA256)=\w+", rf"\1={digest}", pins.read_text()))
        (self.record / "clusters").touch()
        self.says(passed=record(passes=True), failed=record(passes=False))

    def says(self, *, passed=None, failed=None, champion=3):
        for name, document in (("pass", passed), ("fail", failed)):
            if document:
                (self.record / f"{name}.json").write_text(json.dumps(document))
        (self.record / "champion.json").write_text(json.dumps({"version": champion}))

    def run(self, verb, *, code=0, **environment):
        (self.record / "calls").write_text("")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("KF", "KUBE", "KIND"))}
        done = subprocess.run(
            ["bash", str(self.root / "scripts" / "kind" / f"{verb}.sh")],
            env=kept | {"PATH": f"{self.bin}:/usr/bin:/bin", "RECORD": str(self.record)} | environment,
            cwd=self.root.parent, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, f"{done.stdout}\n--\n{done.stderr}"
        self.calls = (self.record / "calls").read_text().splitlines()
        return done

    def called(self, pattern):
        return [call for call in self.calls if re.search(pattern, call)]


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


class TestUp:
    def test_it_makes_a_pinned_cluster_with_the_pipelines_and_the_images(self, sandbox):
        sandbox.run("up")
        (made,) = sandbox.called("^kind create cluster")
        assert "--config scripts/kind/cluster.yaml" in made
        order = [
            sandbox.calls.index(sandbox.called(pattern)[0])
            for pattern in (
                "^docker info", "^curl .*kind-linux-amd64", "^curl .*kubectl", "^kind create",
                "^kubectl apply --kustomize scripts/kind/kfp/cluster", "^kubectl wait .*crd/",
                "^kubectl apply --kustomize scripts/kind/kfp/pipelines",
                "^kubectl wait .*deployment --all", "^containers.py light tensorflow",
                "^kind load docker-image --name kfdet",
            )
        ]  # fmt: skip
        assert order == sorted(order)

    def test_it_prints_what_a_run_submitted_by_hand_needs(self, sandbox):
        done = sandbox.run("up")
        (loaded,) = sandbox.called("^kind load docker-image")
        tag = loaded.rsplit(":", 1)[1]
        assert f"KFDET_IMAGE_REGISTRY=localhost/kfdet KFDET_IMAGE_TAG={tag}" in done.stdout

    def test_it_may_be_called_again(self, sandbox):
        sandbox.run("up")
        done = sandbox.run("up")
        assert "is there already" in done.stdout
        assert not sandbox.called("^kind create|^kind delete|^curl")
        assert sandbox.called("^kubectl apply")

    def test_a_cluster_that_could_not_be_made_is_removed(self, sandbox):
        done = sandbox.run("up", code=1, FAILING="^kind create")
        assert sandbox.called("^kind delete cluster --name kfdet")
        assert "make kind-up: kind could not make the cluster" in done.stderr
        assert not sandbox.called("^kubectl")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_half_a_cluster_is_removed_after_an_interruption(self, sandbox, number):
        sandbox.run("up", code=-number, KILLS="^kind create", SIGNAL=str(int(number)))
        assert sandbox.called("^kind delete cluster --name kfdet")

    @pytest.mark.parametrize(
        ("verb", "failing", "step"),
        [
            ("up", "^kubectl apply .*kfp/pipelines", "Kubeflow Pipelines 2.17.0"),
            ("up", "^kubectl wait .*crd/", "Kubeflow Pipelines 2.17.0"),
            ("up", "^kind load", "images"),
            ("up", "^docker image inspect", "images"),
            ("test", "^kubectl apply", "data in the volume"),
            ("test", "^kubectl wait .*pod/", "data in the volume"),
        ],
    )
    def test_any_step_that_fails_is_named_and_may_be_repeated(self, sandbox, verb, failing, step):
        sandbox.run("up")
        done = sandbox.run(verb, code=1, FAILING=failing)
        assert done.stderr.count(f"make kind-{verb}: ended at: {step}. It may be called again") == 1
        sandbox.run(verb)

    def test_pipelines_that_do_not_come_up_are_shown_and_the_cluster_stays(self, sandbox):
        done = sandbox.run("up", code=1, FAILING="deployment --all")
        assert "did not come up" in done.stderr
        assert sandbox.called("^kubectl get pods")
        assert not sandbox.called("^kind delete")

    def test_another_configuration_can_be_named(self, sandbox):
        sandbox.run("up", KIND_CONFIG="scripts/kind/cluster-gpu.yaml")
        assert sandbox.called("^kind create .*cluster-gpu.yaml")

    def test_the_tag_of_the_images_follows_their_content(self, sandbox):
        loads = []
        for image in ("one", "two", "one"):
            sandbox.run("up", IMAGE=image)
            loads += sandbox.called("^kind load")
        assert loads[0] == loads[2] != loads[1]
        assert not any(name.endswith(":kind") for name in loads[0].split())

    def test_the_kubeconfig_of_the_user_is_left_alone(self, sandbox):
        home = sandbox.root / "home"
        home.mkdir()
        sandbox.run("up", HOME=str(home))
        assert not list(home.rglob("*"))


class TestTools:
    @pytest.mark.parametrize("verb", ["up", "test", "down"])
    def test_a_docker_that_is_missing_or_silent_is_said_before_anything_is_fetched(
        self, sandbox, verb
    ):
        done = sandbox.run(verb, code=1, FAILING="^docker info")
        assert f"make kind-{verb}: no Docker engine answers" in done.stderr
        assert not sandbox.called("^curl|^kind|^kubectl")
        (sandbox.bin / "docker").unlink()
        for tool in ("bash", "dirname", "uname", "curl"):
            (sandbox.bin / tool).unlink(missing_ok=True)
            (sandbox.bin / tool).symlink_to(shutil.which(tool))
        done = sandbox.run(verb, code=1, PATH=str(sandbox.bin))
        assert f"make kind-{verb}: there is no docker." in done.stderr

    def test_a_program_of_other_bytes_is_refused_and_not_kept(self, sandbox):
        (sandbox.record / "program").write_text("#!/bin/sh\necho something else\n")
        done = sandbox.run("up", code=1)
        assert "is not the pinned kind" in done.stderr
        assert not (sandbox.root / ".kind" / "bin" / "kind").exists()

    def test_no_internet_is_said_so(self, sandbox):
        done = sandbox.run("up", code=1, FAILING="^curl")
        assert "could not be fetched" in done.stderr
        assert "needs the internet" in done.stderr


class TestTest:
    def test_the_demo_is_submitted_and_held_against_what_it_must_be(self, sandbox):
        sandbox.run("up")
        done = sandbox.run("test")
        assert "all as it must be" in done.stdout
        first, second = sandbox.called("^kfdet submit configs/shapes.yaml")
        assert "--wait" in first
        assert "at_least: 0.95" in second
        environment = (sandbox.record / "environment").read_text().splitlines()
        assert "KF_PIPELINES_ENDPOINT=http://127.0.0.1:43210" in environment
        tags = {line for line in environment if line.startswith("KFDET_IMAGE_TAG=")}
        (tag,) = tags
        loaded = sandbox.called("^kind load")[0]
        assert loaded.endswith(f"python-tensorflow:{tag.split('=')[1]}")
        pods = sandbox.called("^kubectl (delete pod kfdet-files|apply|wait .*pod/kfdet-files)")
        assert [call.split()[1] for call in pods] == ["delete", "apply", "wait"]
        assert f"python-light:{tag.split('=')[1]}" in (sandbox.record / "applied.yaml").read_text()
        assert sandbox.called(r"test -s /mnt/kfdet/registry/shapes/versions/000003/saved_model/")

    def test_the_port_is_given_back(self, sandbox):
        sandbox.run("up")
        sandbox.run("test")
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert str(sandbox.root) not in processes

    def test_without_a_cluster_it_says_what_to_do(self, sandbox):
        done = sandbox.run("test", code=1)
        assert "there is no cluster kfdet. Make it: make kind-up" in done.stderr

    def test_a_gate_that_should_fail_and_does_not_is_found_out(self, sandbox):
        sandbox.run("up")
        done = sandbox.run("test", code=1, FAIL_CODE="0")
        assert "ended with 0, expected 20" in done.stderr

    def test_a_run_that_does_not_end_is_given_up_and_its_pods_are_shown(self, sandbox):
        sandbox.run("up")
        done = sandbox.run("test", code=1, SLEEPS="^kfdet submit", KIND_TEST_LIMIT="0.5s")
        assert "the run did not end in 0.5s" in done.stderr
        assert sandbox.called("^kubectl get pods")

    @pytest.mark.parametrize(
        ("passed", "said"),
        [
            (record(passes=True, verdict="fail"), "the verdict is fail"),
            (record(passes=True, published_version=None), "nothing was published"),
            (record(passes=True, published_version=4), "the champion is 3"),
            (record(passes=True, statuses={"merge": "skipped"}), "merge is skipped"),
        ],
    )
    def test_a_pass_that_is_none_is_found_out(self, sandbox, passed, said):
        sandbox.run("up")
        sandbox.says(passed=passed)
        assert said in sandbox.run("test", code=1).stderr

    @pytest.mark.parametrize(
        ("failed", "said"),
        [
            (record(passes=False, verdict="pass"), "the verdict is pass"),
            (record(passes=False, published_version=4), "version 4 was published"),
            (record(passes=False, statuses={"export": "done"}), "export is done"),
            (record(passes=False, reasons=[]), "no reason"),
        ],
    )
    def test_a_fail_that_let_something_through_is_found_out(self, sandbox, failed, said):
        sandbox.run("up")
        sandbox.says(failed=failed)
        assert said in sandbox.run("test", code=1).stderr

    def test_an_export_that_is_not_there_is_found_out(self, sandbox):
        sandbox.run("up")
        done = sandbox.run("test", code=1, FAILING="saved_model.pb")
        assert "version 000003 holds no SavedModel" in done.stderr


class TestDown:
    def test_it_removes_the_cluster_and_what_was_noted_and_may_be_called_again(self, sandbox):
        sandbox.run("up")
        (sandbox.root / ".kind" / "pass.json").write_text("{}")
        sandbox.run("down")
        assert sandbox.called("^kind delete cluster --name kfdet")
        assert [path.name for path in (sandbox.root / ".kind").iterdir()] == ["bin"]
        done = sandbox.run("down")
        assert "there is no cluster" in done.stdout
        assert not sandbox.called("^kind delete")
