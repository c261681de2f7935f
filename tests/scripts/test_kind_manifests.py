"""Every manifest of the kind cluster against Kubernetes' own schemas, and all the pins against one another."""

import importlib.metadata
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import pytest
import yaml

from kfdet.cli.cluster.package import build_package
from kfdet.storage.run_config import read_run_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "scripts" / "kind"
PINS = dict(re.findall(r"^(\w+)=(\S+)$", (FOLDER / "pins.sh").read_text(), re.M))
CLUSTERS = sorted(FOLDER.glob("cluster*.yaml"))
NODE = re.compile(r"docker\.io/kindest/node:v(\d+)\.(\d+)\.\d+@sha256:[0-9a-f]{64}$")


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def kubernetes_version():
    """Of the cluster's nodes, as the schemas are called: 1.34."""
    (node,) = {node["image"] for path in CLUSTERS for node in documents(path)[0]["nodes"]}
    return ".".join(NODE.match(node).groups())


def test_no_manifest_is_left_out():
    known = {*CLUSTERS, FOLDER / "files.yaml", *FOLDER.glob("kfp/*/kustomization.yaml")}
    assert known == set(FOLDER.rglob("*.yaml"))
    assert len(known) == 5


@pytest.mark.parametrize("document", documents(FOLDER / "files.yaml"), ids=lambda d: d["kind"])
def test_a_manifest_is_what_kubernetes_takes(document):
    kubernetes_validate.validate(document, kubernetes_version(), strict=True)


def test_the_check_finds_what_kubernetes_would_refuse():
    claim, pod = documents(FOLDER / "files.yaml")
    claim["spec"]["accessModes"] = "ReadWriteOnce"
    pod["spec"]["containers"][0]["volumeMount"] = []
    for wrong in (claim, pod):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, kubernetes_version(), strict=True)


def test_the_pod_is_held_as_a_strict_cluster_holds_one():
    _, pod = documents(FOLDER / "files.yaml")
    (container,) = pod["spec"]["containers"]
    held = container["securityContext"]
    assert held["readOnlyRootFilesystem"]
    assert held["capabilities"] == {"drop": ["ALL"]}
    assert not held["allowPrivilegeEscalation"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_a_cluster_s_configuration_is_kind_s(path):
    (cluster,) = documents(path)
    assert (cluster["kind"], cluster["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert set(cluster) == {"kind", "apiVersion", "nodes"}
    # One node: the claim's volume lies on one, and the pods of a run must see it.
    (node,) = cluster["nodes"]
    assert set(node) <= {"role", "image", "labels"}
    assert node["role"] == "control-plane"
    assert NODE.match(node["image"])


def test_kubectl_is_at_most_one_minor_version_from_the_cluster():
    minor = int(kubernetes_version().split(".")[1])
    assert abs(int(PINS["KUBECTL_VERSION"].split(".")[1]) - minor) <= 1


def test_what_is_fetched_has_a_checksum():
    assert {name for name in PINS if name.endswith("_SHA256")} == {"KIND_SHA256", "KUBECTL_SHA256"}
    for name, value in PINS.items():
        assert re.fullmatch(
            r"[0-9a-f]{64}" if name.endswith("_SHA256") else r"\d+\.\d+\.\d+", value
        )


@pytest.mark.parametrize("part", ["cluster", "pipelines"])
def test_kubeflow_pipelines_is_pinned_to_the_version_of_the_sdk(part):
    (kustomization,) = documents(FOLDER / "kfp" / part / "kustomization.yaml")
    assert set(kustomization) == {"apiVersion", "kind", "resources"}
    assert kustomization["kind"] == "Kustomization"
    (resource,) = kustomization["resources"]
    assert resource.startswith("https://github.com/kubeflow/pipelines/manifests/kustomize/")
    assert parse_qs(urlsplit(resource).query)["ref"] == [PINS["KFP_VERSION"]]
    assert PINS["KFP_VERSION"] == importlib.metadata.version("kfp")


def test_the_claim_is_the_one_that_the_test_submits_with():
    claim, pod = documents(FOLDER / "files.yaml")
    script = (FOLDER / "test.sh").read_text()
    volume = yaml.safe_load(re.search(r"cluster\.volumes=(\[.*?\])'", script)[1])
    (mount,) = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["name"] == "kfdet"]
    assert volume == [{"claim": claim["metadata"]["name"], "path": mount["mountPath"]}]


def test_the_demo_is_a_run_that_kfdet_would_send():
    script = (FOLDER / "test.sh").read_text()
    overrides = re.findall(r"--set '([^']+)'", script)
    assert any(override.startswith("gate.rules=") for override in overrides)
    config = read_run_config(ROOT / "configs" / "shapes.yaml", overrides=overrides)
    package = build_package(config, name="kind-shapes", data_digest=None)
    dataset = json.loads(package.parameters["dataset"])
    assert dataset["train"][0].startswith("/mnt/kfdet/data/shapes/")
    assert package.parameters["registry"] == "/mnt/kfdet/registry"
    assert package.parameters["model"] == "shapes"
