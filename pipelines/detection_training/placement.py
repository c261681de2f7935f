"""Where a task's pods run, what they may use and see, and when they are tried again."""

import json

from kfp import dsl, kubernetes

from components import _images
from kfdet.schema.cluster_config import (
    CREDENTIALS_FOLDER,
    CREDENTIALS_VARIABLE,
    SHARED_MEMORY_FOLDER,
    VOLUMES_VARIABLE,
    ClusterConfig,
    ImagesConfig,
    TaskPolicy,
    TaskResources,
)


def place(
    task: dsl.PipelineTask,
    *,
    images: ImagesConfig,
    resources: TaskResources,
    policy: TaskPolicy,
    cluster: ClusterConfig,
) -> dsl.PipelineTask:
    """Compiles a task's requests, limits, placement and patience in; kfp.local passes them over.

    Args:
        task: The task.
        images: The images; a task with accelerators gets the one with the CUDA libraries.
        resources: CPU, memory and accelerators.
        policy: Nodes, time limit and retries.
        cluster: Volumes, secrets, labels and annotations of every pod.
    """
    image = _images.task_image(task.container_spec.image, images, gpus=resources.gpus)
    task.set_container_image(image)
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.gpus:
        task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpus)
    _be_patient(task, policy)
    for key, value in policy.node_selector.items():
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for toleration in policy.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    _give(task, cluster, shared_memory=policy.shared_memory)
    for key, value in cluster.labels.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in cluster.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
    return task


def _be_patient(task: dsl.PipelineTask, policy: TaskPolicy) -> None:
    if policy.retries:
        task.set_retry(
            num_retries=policy.retries,
            backoff_duration=f"{policy.backoff_s}s",
            backoff_factor=policy.backoff_factor,
            # Counted from the first attempt's start to the last one's end, which Argo then cuts off;
            # kfp's own default is an hour.
            backoff_max_duration=f"{policy.longest_s}s",
        )
    kubernetes.set_timeout(task, policy.timeout_s)


def _give(task: dsl.PipelineTask, cluster: ClusterConfig, *, shared_memory: str | None) -> None:
    if shared_memory:
        kubernetes.empty_dir_mount(
            task, "dshm", SHARED_MEMORY_FOLDER, medium="Memory", size_limit=shared_memory
        )
    if cluster.volumes:
        seen = [volume.model_dump(mode="json") for volume in cluster.volumes]
        task.set_env_variable(VOLUMES_VARIABLE, json.dumps(seen))
    for volume in cluster.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path, sub_path=volume.sub_path)
    for secret in cluster.secrets:
        kubernetes.use_secret_as_env(
            task, secret_name=secret.name, secret_key_to_env=secret.env, optional=secret.optional
        )
    if cluster.storage_key:
        kubernetes.use_secret_as_volume(
            task, secret_name=cluster.storage_key.secret, mount_path=CREDENTIALS_FOLDER
        )
        file = f"{CREDENTIALS_FOLDER}/{cluster.storage_key.key}"
        task.set_env_variable(CREDENTIALS_VARIABLE, file)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
