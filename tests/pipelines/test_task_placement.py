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
        # Argo counts it from the first attempt's start, and cuts off what runs when it is over.
        attempts = (policy.max_retry_count + 1) * settings[name].active_deadline_seconds
        assert policy.backoff_max_duration.seconds > attempts, name
        # Argo reads the factor as a whole number.
        assert policy.backoff_factor == int(policy.backoff_factor), name
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


@pytest.mark.parametrize("timeout_s", [60, 30 * 24 * 3600])
def test_however_long_an_attempt_may_take_the_last_one_is_not_cut_off(tmp_path, timeout_s):
    """The last attempt begins when all others ran to their limit and every wait is over."""
    policy = {"timeout_s": timeout_s, "retries": 3, "backoff_s": 50, "backoff_factor": 3}
    documents = compiled(tmp_path, cluster=ClusterConfig.model_validate({"train": policy}))
    sent = tasks(documents)["exec-train"].retry_policy
    assert sent.backoff_max_duration.seconds == 4 * timeout_s + 50 + 150 + 450


def test_the_time_for_all_attempts_can_be_given(tmp_path):
    policy = {"timeout_s": 1000, "retries": 3, "backoff_max_s": 2500}
    documents = compiled(tmp_path, cluster=ClusterConfig.model_validate({"train": policy}))
    assert tasks(documents)["exec-train"].retry_policy.backoff_max_duration.seconds == 2500


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


LONG = "x" * 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"volumes": [{"claim": "a", "path": "/m"}, {"claim": "b", "path": "/m/"}]}, "same path"),
        ({"volumes": [{"claim": "a", "path": "/m"}, {"claim": "b", "path": "//m/."}]}, "same path"),
        ({"volumes": [{"claim": "a", "path": "relative"}]}, "volumes.0.path"),
        ({"volumes": [{"claim": "a", "path": "/dev/shm"}]}, "the shared memory is there"),
        ({"volumes": [{"claim": "a", "path": "/gcs/"}]}, "a folder of Kubeflow Pipelines"),
        ({"volumes": [{"claim": "a", "path": "/run/kfdet/credentials"}]}, "the key for buckets"),
        ({"volumes": [{"claim": "a", "path": "/"}]}, "a folder of its own"),
        ({"volumes": [{"claim": "a", "path": "/m:ro"}]}, "a folder of its own"),
        ({"volumes": [{"claim": "a", "path": "/m/../n"}]}, "a folder of its own"),
        ({"volumes": [{"claim": "a", "path": "/m", "sub_path": "../b"}]}, "relative to the volume"),
        ({"volumes": [{"claim": "a", "path": "/m", "sub_path": "/b"}]}, "relative to the volume"),
        ({"volumes": [{"claim": "A_claim", "path": "/m"}]}, "volumes.0.claim"),
        ({"volumes": [{"claim": "a..b", "path": "/m"}]}, "volumes.0.claim"),
        ({"namespace": "a.b"}, "a namespace has"),
        ({"namespace": LONG}, "a namespace has"),
        ({"labels": {"a team": "vision"}}, "a key has"),
        ({"labels": {"Example.com/team": "vision"}}, "before the slash"),
        ({"labels": {"/team": "vision"}}, "before the slash"),
        ({"labels": {LONG: "vision"}}, "a key has"),
        ({"labels": {"team": "computer vision"}}, "a value is empty, or"),
        ({"labels": {"team": LONG}}, "a value is empty, or"),
        ({"annotations": {"a ticket": "any text will do"}}, "a key has"),
        ({"train": {"node_selector": {"pool!": "a"}}}, "a key has"),
        ({"train": {"node_selector": {"pool": "-a"}}}, "a value is empty, or"),
        ({"train": {"tolerations": [{"key": "a b"}]}}, "a key has"),
        ({"train": {"tolerations": [{"operator": "Equal", "key": "gpu"}]}}, "takes a value"),
        ({"train": {"timeout_s": 0}}, "timeout_s"),
        ({"train": {"backoff_max_s": 7 * 24 * 3600}}, "leaves no time for a second"),
        ({"train": {"timeout_s": 100, "backoff_max_s": 259}}, "it takes 260"),
        ({"train": {"backoff_factor": 1.5}}, "backoff_factor"),
        ({"train": {"shared_memory": "0Gi"}}, "more than 0"),
        ({"secrets": [{"name": "s", "env": {"k": "NOT-A-NAME"}}]}, "secrets.0.env.k"),
        ({"secrets": [{"name": "s", "env": {"a key": "A"}}]}, "secrets.0.env"),
        ({"secrets": [{"name": "s", "env": {"..k": "A"}}]}, "does not begin with"),
        ({"secrets": [{"name": "s", "env": {"k": "KFDET_VOLUMES"}}]}, "kfdet's own"),
        ({"secrets": [{"name": "s", "env": {"a": "A", "b": "A"}}]}, "and so does secret s"),
        (
            {"secrets": [{"name": "s", "env": {"k": "A"}}, {"name": "t", "env": {"k": "A"}}]},
            "secret s sets A, and so does secret t",
        ),
        ({"storage_key": {"secret": "s", "key": "../key"}}, "storage_key.key"),
        (
            {
                "storage_key": {"secret": "s"},
                "secrets": [{"name": "s", "env": {"k": "GOOGLE_APPLICATION_CREDENTIALS"}}],
            },
            "so does secret s",
        ),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_in_the_configuration(changes, said):
    with pytest.raises(ValueError, match=said):
        ClusterConfig.model_validate(changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu_type": "gpu"}, "begins with its maker's domain"),
        ({"gpu_type": "kubernetes.io/gpu"}, "begins with its maker's domain"),
        ({"gpu_type": "NVIDIA-TESLA-T4"}, "begins with its maker's domain"),
        ({"gpu_type": "nvidia.com/"}, "a key has"),
        ({"memory": "0Gi"}, "more than 0"),
        ({"memory": "0.0Mi"}, "more than 0"),
        ({"memory": "1000K"}, "memory"),
        ({"memory": "8"}, "memory"),
        ({"cpu": "0"}, "more than 0"),
        ({"cpu": "0m"}, "more than 0"),
    ],
)
def test_requests_that_kubernetes_would_refuse_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        ResourcesConfig.model_validate({"train": changes})


def test_what_kubernetes_takes_is_taken():
    ClusterConfig.model_validate(
        {
            "namespace": "team-a",
            "volumes": [{"claim": "data.v2", "path": "/mnt/a b", "sub_path": "x/y"}],
            "labels": {"example.com/Team_1": "", "a": "x" * 63},
            "annotations": {"example.com/note": "any text: will do"},
            "train": {
                "node_selector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
                "tolerations": [{}],
                "retries": 0,
                "backoff_max_s": 1,
            },
        }
    )
    for memory in ("512Ki", "1.5Gi", "2G", "1T"):
        ResourcesConfig.model_validate({"light": {"memory": memory, "cpu": "0.5"}})
    for gpu_type in (
        "nvidia.com/gpu",
        "amd.com/gpu",
        "nvidia.com/mig-1g.5gb",
        "gpu.intel.com/i915",
    ):
        ResourcesConfig.model_validate({"train": {"gpu_type": gpu_type}})
