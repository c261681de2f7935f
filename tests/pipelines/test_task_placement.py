"""What a run's configuration says of the cluster reaches every pod, and is well formed."""

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from kfdet.cli.pipeline_source import compile_pipeline
from kfdet.schema.cluster_config import VOLUMES_VARIABLE, ClusterConfig, ResourcesConfig
from kfdet.storage.ui import volumes_of_this_task

CLUSTER = {
    "volumes": [
        {"claim": "data", "path": "/mnt/data", "sub_path": "shapes"},
        {"claim": "kfdet", "path": "/mnt/kfdet"},
    ],
    "secrets": [{"name": "proxy", "env": {"address": "KEY"}, "optional": True}],
    "storage_key": {"secret": "bucket-key", "key": "robot.json"},
    "image_pull_secrets": ["registry"],
    "labels": {"team": "vision"},
    "annotations": {"example.com/ticket": "42"},
    "ttl_s": 3600,
    "light": {"retries": 0},
    "train": {
        "timeout_s": 1000,
        "retries": 5,
        "backoff_s": 7,
        "node_selector": {"pool": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute"}],
        "shared_memory": "8Gi",
    },
}


def compiled(tmp_path, **options):
    target = tmp_path / "pipeline.yaml"
    compile_pipeline(target, **options)
    return list(yaml.safe_load_all(target.read_text()))


def executors(documents):
    """Returns each executor's Kubernetes settings; unknown ones do not parse."""
    platform = json_format.ParseDict(documents[1], pipeline_spec_pb2.PlatformSpec())
    deployment = json_format.MessageToDict(platform.platforms["kubernetes"].deployment_spec)
    return {
        name: json_format.ParseDict(
            settings, kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        )
        for name, settings in deployment["executors"].items()
    }


def tasks(documents):
    spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    dags = [spec.root.dag, *(c.dag for c in spec.components.values() if c.HasField("dag"))]
    return {
        spec.components[task.component_ref.name].executor_label: task
        for dag in dags
        for task in dag.tasks.values()
        if spec.components[task.component_ref.name].executor_label
    }


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    return compiled(
        tmp_path_factory.mktemp("configured"),
        cluster=ClusterConfig.model_validate(CLUSTER),
        resources=ResourcesConfig.model_validate({"train": {"gpus": 2, "gpu_type": "amd.com/gpu"}}),
        digest_taken="in the pipeline",
    )


def test_by_default_every_task_has_an_end_and_is_tried_again(default):
    settings = executors(default)
    assert set(settings) == set(default[0]["deploymentSpec"]["executors"])
    assert all(one.active_deadline_seconds > 0 for one in settings.values())
    for name, task in tasks(default).items():
        policy = task.retry_policy
        assert policy.max_retry_count >= 1, name
        assert policy.backoff_duration.seconds > 0, name
        # An attempt that ends at its time limit still leaves time for the next.
        assert policy.backoff_max_duration.seconds >= settings[name].active_deadline_seconds, name
    train = settings["exec-train"]
    assert (train.empty_dir_mounts[0].mount_path, train.empty_dir_mounts[0].medium) == (
        "/dev/shm",
        "Memory",
    )
    assert train.tolerations[0].key == "nvidia.com/gpu"
    assert not settings["exec-gate"].tolerations
    ttl = default[1]["platforms"]["kubernetes"]["pipelineConfig"]["resourceTtlOnCompletion"]
    assert ttl == 7 * 24 * 3600


def test_what_holds_for_the_cluster_reaches_every_pod(configured):
    settings = executors(configured)
    assert set(settings) == set(configured[0]["deploymentSpec"]["executors"])
    for name, one in settings.items():
        assert [mount.mount_path for mount in one.pvc_mount] == ["/mnt/data", "/mnt/kfdet"], name
        assert one.pvc_mount[0].constant == "data"
        assert one.pvc_mount[0].sub_path == "shapes"
        assert one.secret_as_env[0].key_to_env[0].env_var == "KEY"
        assert one.secret_as_env[0].optional
        assert one.image_pull_secret[0].secret_name == "registry"
        assert one.pod_metadata.labels["team"] == "vision"
        assert one.pod_metadata.annotations["example.com/ticket"] == "42"


def test_every_task_finds_the_key_of_the_buckets_in_a_file(configured, default):
    for name, one in executors(configured).items():
        (mounted,) = one.secret_as_volume
        assert (mounted.secret_name, mounted.optional) == ("bucket-key", False), name
        container = configured[0]["deploymentSpec"]["executors"][name]["container"]
        environment = {e["name"]: e["value"] for e in container["env"]}
        assert environment["GOOGLE_APPLICATION_CREDENTIALS"] == f"{mounted.mount_path}/robot.json"
    for one in executors(default).values():
        assert not one.secret_as_volume
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in str(default)


def test_every_task_is_told_of_the_volumes_that_it_sees(configured, default):
    for name, executor in configured[0]["deploymentSpec"]["executors"].items():
        environment = {e["name"]: e["value"] for e in executor["container"]["env"]}
        told = volumes_of_this_task(environment)
        assert told == list(ClusterConfig.model_validate(CLUSTER).volumes), name
    for executor in default[0]["deploymentSpec"]["executors"].values():
        assert VOLUMES_VARIABLE not in str(executor["container"].get("env"))


def test_what_holds_for_training_reaches_training_alone(configured):
    settings = executors(configured)
    train = settings["exec-train"]
    assert dict(train.node_selector.labels) == {"pool": "a100"}
    assert train.active_deadline_seconds == 1000
    assert train.empty_dir_mounts[0].size_limit == "8Gi"
    (toleration,) = train.tolerations
    assert (toleration.key, toleration.operator, toleration.value, toleration.effect) == (
        "gpu", "Equal", "yes", "NoExecute",
    )  # fmt: skip
    policy = tasks(configured)["exec-train"].retry_policy
    assert (policy.max_retry_count, policy.backoff_duration.seconds) == (5, 7)
    for name in set(settings) - {"exec-train"}:
        assert not settings[name].node_selector.labels, name
    resources = configured[0]["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    assert resources["accelerator"]["resourceCount"] == "2"
    assert resources["accelerator"]["resourceType"] == "amd.com/gpu"


def test_a_section_given_in_part_keeps_the_rest_of_its_defaults():
    cluster = ClusterConfig.model_validate({"train": {"retries": 1}})
    assert cluster.train.timeout_s == ClusterConfig().train.timeout_s
    assert cluster.train.tolerations == ClusterConfig().train.tolerations
    resources = ResourcesConfig.model_validate({"train": {"gpus": 1}})
    assert resources.train.memory == ResourcesConfig().train.memory


def test_no_retries_means_no_policy(configured):
    assert not tasks(configured)["exec-gate"].HasField("retry_policy")


def test_the_data_s_name_is_taken_anew_and_everything_after_it_may_be_cached(configured, default):
    found = tasks(configured)
    assert not found["exec-fingerprint"].caching_options.enable_cache
    assert found["exec-validate"].caching_options.enable_cache
    digest = found["exec-validate"].inputs.parameters["data_digest"]
    assert digest.task_output_parameter.producer_task == "fingerprint"
    assert "exec-fingerprint" not in tasks(default)


def test_a_run_that_starts_from_the_champion_asks_for_it_anew(tmp_path):
    found = tasks(compiled(tmp_path, cluster=ClusterConfig(start_from="champion")))
    assert not found["exec-warmstart"].caching_options.enable_cache
    begun = found["exec-render"].inputs.parameters["training"].task_output_parameter
    assert (begun.producer_task, begun.output_parameter_key) == ("warmstart", "training_begun")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"volumes": [{"claim": "a", "path": "/m"}, {"claim": "b", "path": "/m/"}]}, "same path"),
        ({"volumes": [{"claim": "a", "path": "relative"}]}, "volumes.0.path"),
        ({"train": {"tolerations": [{"operator": "Equal", "key": "gpu"}]}}, "takes a value"),
        ({"train": {"timeout_s": 0}}, "timeout_s"),
        ({"secrets": [{"name": "s", "env": {"k": "NOT-A-NAME"}}]}, "secrets.0.env.k"),
        ({"storage_key": {"secret": "s", "key": "../key"}}, "storage_key.key"),
        (
            {
                "storage_key": {"secret": "s"},
                "secrets": [{"name": "s", "env": {"k": "GOOGLE_APPLICATION_CREDENTIALS"}}],
            },
            "so does a secret",
        ),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_in_the_configuration(changes, said):
    with pytest.raises(ValueError, match=said):
        ClusterConfig.model_validate(changes)
