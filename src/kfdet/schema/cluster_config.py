"""The sections `resources`, `images` and `cluster` of a run configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kfdet.schema.base import Schema
from kfdet.schema.kubernetes import (
    Cores,
    EnvironmentName,
    ExtendedResource,
    KubernetesName,
    LabelKey,
    LabelValue,
    Memory,
    MountPath,
    Namespace,
    SecretKey,
    SubPath,
    plain_path,
)


class TaskResources(Schema):
    """Kubernetes requests of one task; ignored on one machine."""

    cpu: Cores = Field(default="1", description="CPU request and limit")
    memory: Memory = Field(default="2Gi", description="memory request and limit")
    gpu_type: ExtendedResource = Field(
        default="nvidia.com/gpu", description="accelerator resource name"
    )
    gpus: Annotated[int, Field(ge=0)] = Field(default=0, description="accelerators")


class TrainResources(TaskResources):
    cpu: Cores = Field(default="4", description="CPU request and limit")
    memory: Memory = Field(default="16Gi", description="memory request and limit")


class InferenceResources(TaskResources):
    cpu: Cores = Field(default="2", description="CPU request and limit")
    memory: Memory = Field(default="8Gi", description="memory request and limit")


class ResourcesConfig(Schema):
    light: TaskResources = TaskResources()
    train: TrainResources = TrainResources()
    inference: InferenceResources = InferenceResources()


ImageDigest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ImageDigests(Schema):
    """Digests of the images, which then count instead of the tag."""

    light: ImageDigest | None = Field(default=None, description="digest of `python-light`")
    tensorflow: ImageDigest | None = Field(
        default=None, description="digest of `python-tensorflow`"
    )
    tensorflow_gpu: ImageDigest | None = Field(
        default=None, description="digest of `python-tensorflow-gpu`"
    )


# A host, a port, and folders as the distribution specification of OCI takes them: lower case.
ImageRegistry = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d+)?"
        r"(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*/?$"
    ),
]


ImageTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]


class ImagesConfig(Schema):
    """The images that tasks run in; a run without --runner docker or a cluster has no use for it."""

    registry: ImageRegistry | None = Field(
        default=None,
        description="registry and folder; `KFDET_IMAGE_REGISTRY` or the release's when absent",
    )
    tag: ImageTag | None = Field(
        default=None, description="tag; `KFDET_IMAGE_TAG` or kfdet's version when absent"
    )
    digests: ImageDigests = ImageDigests()


AbsolutePath = Annotated[str, Field(pattern=r"^/")]


_MOST_SECONDS = 2_147_483_647


Seconds = Annotated[int, Field(ge=1, le=_MOST_SECONDS)]


class TolerationConfig(Schema):
    """A taint of nodes that pods may be placed on in spite of."""

    key: LabelKey | None = Field(default=None, description="taint; absent means every taint")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="how value counts")
    value: LabelValue | None = Field(default=None, description="of the taint, for Equal")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="of the taint; absent means every effect"
    )

    @model_validator(mode="after")
    def _consistent(self) -> TolerationConfig:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("operator Equal takes a value, and Exists takes none")
        if self.key is None and self.operator == "Equal":
            raise ValueError("operator Equal needs a key")
        return self


class TaskPolicy(Schema):
    """Where a task's pods may run, for how long, and how often they are tried again."""

    timeout_s: Seconds = Field(default=4 * 3600, description="longest life of a task's pod")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=1, description="attempts after the first"
    )
    backoff_s: Annotated[int, Field(ge=0)] = Field(
        default=30, description="wait before the first of them"
    )
    # Argo reads a whole number only.
    backoff_factor: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2, description="growth of the wait, a whole number"
    )
    backoff_max_s: Seconds | None = Field(
        default=None,
        description="time from the first attempt's start in which all of them must end; when "
        "absent, as long as all of them and the waits may take",
    )
    shared_memory: Memory | None = Field(
        default=None, description="size of /dev/shm, taken from the memory limit"
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="labels that a node must have"
    )
    tolerations: tuple[TolerationConfig, ...] = Field(
        default=(), description="taints that do not keep the pods away"
    )

    @property
    def longest_s(self) -> int:
        """Time from the first attempt's start to the end of the last, in seconds.

        Argo makes no attempt after it, and ends one that still runs.
        """
        if self.backoff_max_s is not None:
            return self.backoff_max_s
        longest, wait = self.timeout_s, self.backoff_s
        for _ in range(self.retries):
            longest += wait + self.timeout_s
            wait *= self.backoff_factor
        return min(longest, _MOST_SECONDS)

    @model_validator(mode="after")
    def _there_is_time_for_a_retry(self) -> TaskPolicy:
        least = 2 * self.timeout_s + self.backoff_s
        if self.retries and self.backoff_max_s is not None and self.backoff_max_s < least:
            raise ValueError(
                f"backoff_max_s {self.backoff_max_s:,} counts from the first attempt's start and "
                f"leaves no time for a second: it takes {least:,}, twice timeout_s and the wait. "
                "Leave it out, shorten timeout_s, or set retries to 0"
            )
        return self


_GPU_TAINT = TolerationConfig(key="nvidia.com/gpu", effect="NoSchedule")


class TrainPolicy(TaskPolicy):
    timeout_s: Seconds = Field(default=7 * 24 * 3600, description="longest life of a task's pod")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=3, description="attempts after the first; each goes on at the last checkpoint"
    )
    backoff_s: Annotated[int, Field(ge=0)] = Field(
        default=60, description="wait before the first of them"
    )
    shared_memory: Memory | None = Field(
        default="2Gi", description="size of /dev/shm, taken from the memory limit"
    )
    tolerations: tuple[TolerationConfig, ...] = Field(
        default=(_GPU_TAINT,), description="taints that do not keep the pods away"
    )


class InferencePolicy(TaskPolicy):
    timeout_s: Seconds = Field(default=6 * 3600, description="longest life of a task's pod")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=2, description="attempts after the first"
    )
    shared_memory: Memory | None = Field(
        default="1Gi", description="size of /dev/shm, taken from the memory limit"
    )
    tolerations: tuple[TolerationConfig, ...] = Field(
        default=(_GPU_TAINT,), description="taints that do not keep the pods away"
    )


# Tells a task on a cluster which volumes it sees, as a JSON list of VolumeConfig.
VOLUMES_VARIABLE = "KFDET_VOLUMES"


class VolumeConfig(Schema):
    """A persistent volume claim that every task mounts."""

    claim: KubernetesName = Field(description="name of the claim")
    path: MountPath = Field(description="folder where it is mounted")
    sub_path: SubPath = Field(default="", description="folder of the volume that is mounted")


class SecretConfig(Schema):
    """A Kubernetes secret whose keys every task sees as environment variables."""

    name: KubernetesName = Field(description="name of the secret")
    env: dict[SecretKey, EnvironmentName] = Field(
        min_length=1, description="key of the secret to environment variable"
    )
    optional: bool = Field(default=False, description="start the pods without it too")


# What Google's libraries know a file with credentials by, and where tasks find one.
CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
CREDENTIALS_FOLDER = "/run/kfdet/credentials"


SHARED_MEMORY_FOLDER = "/dev/shm"  # noqa: S108 no temporary file: the kernel's name for it
# Where every pod has something mounted already; a second mount makes Kubernetes refuse the pod.
TAKEN_FOLDERS = {
    SHARED_MEMORY_FOLDER: "the shared memory",
    CREDENTIALS_FOLDER: "the key for buckets",
    **dict.fromkeys(
        ("/kfp-launcher", "/gcs", "/s3", "/minio", "/.local", "/.cache", "/.config"),
        "a folder of Kubeflow Pipelines",
    ),
}
# Environment variables that begin so are set by kfdet.
OWN_VARIABLES = "KFDET_"


class StorageKeyConfig(Schema):
    """A Kubernetes secret with a key file for gs://, where the pods' account has no identity."""

    secret: KubernetesName = Field(description="name of the secret")
    key: SecretKey = Field(default="key.json", description="key of the secret that holds the file")


class ClusterConfig(Schema):
    """What only a run on a cluster needs; one machine has no use for it."""

    host: str | None = Field(
        default=None, description="address of Kubeflow Pipelines; --host and environment come first"
    )
    namespace: Namespace | None = Field(
        default=None, description="user's namespace, on an installation for many users"
    )
    experiment: str = Field(default="kfdet", min_length=1, description="experiment of the runs")
    service_account: KubernetesName | None = Field(
        default=None, description="account of the pods; the installation's when absent"
    )
    pipeline_root: str | None = Field(
        default=None, description="where artifacts go; the installation's place when absent"
    )
    root: AbsolutePath = Field(
        default="/mnt/kfdet", description="folder that relative paths start from in the pods"
    )
    model_root: str = Field(
        default="models", description="folder of checkpoints and exports, on a volume or gs://"
    )
    start_from: Literal["configuration", "champion"] = Field(
        default="configuration",
        description="what training begins with: as `training.init_checkpoint` says, or with the "
        "champion's checkpoint while there is a champion",
    )
    volumes: tuple[VolumeConfig, ...] = Field(default=(), description="mounted by every task")
    secrets: tuple[SecretConfig, ...] = Field(default=(), description="seen by every task")
    storage_key: StorageKeyConfig | None = Field(
        default=None,
        description="credentials for gs://, mounted by every task; that of the pods' account when "
        "absent",
    )
    image_pull_secrets: tuple[KubernetesName, ...] = Field(
        default=(), description="secrets of the image registry"
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="labels of the pods"
    )
    annotations: dict[LabelKey, str] = Field(
        default_factory=dict, description="annotations of them"
    )
    ttl_s: Seconds = Field(
        default=7 * 24 * 3600, description="how long a finished run's pods are kept"
    )
    light: TaskPolicy = TaskPolicy()
    train: TrainPolicy = TrainPolicy()
    inference: InferencePolicy = InferencePolicy()

    @model_validator(mode="after")
    def _mounts_differ(self) -> ClusterConfig:
        seen = set(TAKEN_FOLDERS)
        for volume in self.volumes:
            path = plain_path(volume.path)
            if path in TAKEN_FOLDERS:
                raise ValueError(
                    f"no volume can be mounted at {path}: {TAKEN_FOLDERS[path]} is there"
                )
            if path in seen:
                raise ValueError(f"two volumes have the same path, {path}")
            seen.add(path)
        return self

    @model_validator(mode="after")
    def _variables_are_set_once(self) -> ClusterConfig:
        seen = {CREDENTIALS_VARIABLE: "storage_key"} if self.storage_key else {}
        for secret in self.secrets:
            for name in secret.env.values():
                if name.startswith(OWN_VARIABLES):
                    raise ValueError(
                        f"secret {secret.name} sets {name}: {OWN_VARIABLES}* are kfdet's own"
                    )
                if name in seen:
                    raise ValueError(f"{seen[name]} sets {name}, and so does secret {secret.name}")
                seen[name] = f"secret {secret.name}"
        return self
