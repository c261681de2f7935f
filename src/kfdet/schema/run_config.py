"""The run configuration: one YAML file that says everything about a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from kfdet.schema.base import Document, Schema, UnitInterval
from kfdet.schema.metrics import SLICE_METRIC_NAMES, MeasurementConfig, MetricName

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Patterns = Annotated[tuple[str, ...], Field(min_length=1)]

Experiment = Literal[
    "retinanet",
    "retinanet_resnetfpn_coco",
    "retinanet_mobile_coco",
    "retinanet_spinenet_coco",
]


class DatasetConfig(Schema):
    """Where the records lie: TFRecord patterns for each split and the label map."""

    label_map: str = Field(description="label map: .pbtxt as the OD API writes it, .json or .yaml")
    train: Patterns = Field(description="TFRecord patterns of the training split, paths or gs://")
    val: Patterns = Field(description="TFRecord patterns of the validation split, used to select")
    test: Patterns = Field(description="TFRecord patterns of the test split, used by the gate")
    severities: dict[str, Literal["error", "warning", "info", "off"]] = Field(
        default_factory=dict, description="finding code to severity, overriding the default"
    )
    quarantine: str | None = Field(
        default=None,
        description="quarantine.json of an earlier validate; its records are left out everywhere",
    )

    @field_validator("severities", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        # YAML reads a plain `off` as false.
        if isinstance(value, dict):
            return {code: "off" if level is False else level for code, level in value.items()}
        return value

    @field_validator("train", "val", "test", mode="before")
    @classmethod
    def _one_pattern(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class ValidationConfig(Schema):
    """How the checks of the data are shared out."""

    groups: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="tasks that share the shards of all splits; findings are the same"
    )


class BackboneConfig(Schema):
    """The feature extractor. A named experiment other than `retinanet` brings its own."""

    model_id: Literal[10, 18, 34, 50, 101, 152] = Field(default=50, description="ResNet depth")
    depth_multiplier: PositiveFloat = Field(default=1.0, description="width of the ResNet's layers")


class AnchorConfig(Schema):
    aspect_ratios: tuple[PositiveFloat, ...] = Field(
        default=(0.5, 1.0, 2.0), min_length=1, description="width / height of the anchors"
    )
    num_scales: PositiveInt = Field(default=3, description="scales an octave: 2^(i / num_scales)")
    size: PositiveFloat = Field(default=4.0, description="anchor side in strides of its level")


class NmsConfig(Schema):
    """Non-maximum suppression and what is kept of it."""

    iou_threshold: UnitInterval = Field(default=0.5, description="overlap that suppresses")
    score_threshold: UnitInterval = Field(
        default=0.05, description="scores below are dropped before suppression"
    )
    max_detections: PositiveInt = Field(default=100, description="detections kept an image")
    pre_nms_top_k: PositiveInt = Field(default=5000, description="candidates kept before it")
    version: Literal["v2", "v3", "batched"] = Field(
        default="v2", description="Model Garden's implementation"
    )


class DetectorConfig(Schema):
    """The model: what the OD API's `pipeline.config` calls `model`."""

    experiment: Experiment = Field(
        default="retinanet", description="Model Garden experiment to start from"
    )
    input_size: tuple[PositiveInt, PositiveInt] = Field(description="[height, width] in pixels")
    keep_aspect_ratio: bool = Field(
        default=True, description="resize by one factor and pad, or stretch to the input size"
    )
    backbone: BackboneConfig = BackboneConfig()
    min_level: Annotated[int, Field(ge=2, le=7)] = Field(default=3, description="finest level")
    max_level: Annotated[int, Field(ge=2, le=7)] = Field(default=7, description="coarsest level")
    fpn_filters: PositiveInt = Field(default=256, description="channels of the feature pyramid")
    head_convs: PositiveInt = Field(default=4, description="convolutions of each head")
    head_filters: PositiveInt = Field(default=256, description="channels of each head")
    anchors: AnchorConfig = AnchorConfig()
    nms: NmsConfig = NmsConfig()
    max_instances: PositiveInt = Field(
        default=100, description="ground truth boxes an image that training keeps"
    )

    @model_validator(mode="after")
    def _levels_fit(self) -> DetectorConfig:
        if self.min_level > self.max_level:
            raise ValueError("min_level is above max_level")
        stride = 2**self.max_level
        if any(side % stride for side in self.input_size):
            raise ValueError(
                f"input_size {list(self.input_size)} is not a multiple of {stride}, the stride of "
                f"max_level {self.max_level}; choose a multiple, or lower max_level"
            )
        return self


class LearningRateConfig(Schema):
    """Linear warm-up, then cosine decay to zero or a constant."""

    peak: PositiveFloat = Field(default=0.003, description="rate at the end of the warm-up")
    warmup_start: Annotated[float, Field(ge=0)] = Field(
        default=0.0001, description="rate at step 0"
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(default=50, description="length of warm-up")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="after warm-up")


class OptimizerConfig(Schema):
    type: Literal["adamw", "sgd"] = Field(default="adamw", description="sgd has momentum 0.9")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.0001, description="decoupled for adamw, L2 for sgd"
    )
    gradient_clip_norm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="global norm that gradients are clipped to; 0 is off"
    )


class AugmentationConfig(Schema):
    horizontal_flip: bool = Field(default=True, description="flip half of the images")
    vertical_flip: bool = Field(default=False, description="flip half of them upside down, too")
    scale_min: PositiveFloat = Field(default=1.0, description="smallest random scale")
    scale_max: PositiveFloat = Field(default=1.0, description="largest random scale")
    colour_jitter: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="contrast, brightness and saturation vary by up to this share"
    )

    @model_validator(mode="after")
    def _ordered(self) -> AugmentationConfig:
        if self.scale_min > self.scale_max:
            raise ValueError("scale_min is above scale_max")
        return self


class LossConfig(Schema):
    focal_alpha: UnitInterval = Field(default=0.25, description="weight of the positive class")
    focal_gamma: Annotated[float, Field(ge=0)] = Field(default=1.5, description="focus")
    huber_delta: PositiveFloat = Field(default=0.1, description="where the box loss turns linear")
    box_weight: PositiveFloat = Field(default=50.0, description="box loss against class loss")


class TrainingConfig(Schema):
    """The optimisation: what the OD API's `pipeline.config` calls `train_config`."""

    steps: PositiveInt = Field(description="optimiser steps in all")
    batch_size: PositiveInt = Field(description="images a step, over all devices")
    checkpoint_every: PositiveInt = Field(description="steps between checkpoints; all are kept")
    seed: int = Field(default=0, description="seed of weights, shuffling and augmentation")
    deterministic: bool = Field(
        default=False, description="ordered input and deterministic kernels: equal bits, slower"
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="gpu is an error where there is none"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        default="float32", description="numeric policy of training"
    )
    learning_rate: LearningRateConfig = LearningRateConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    losses: LossConfig = LossConfig()
    init_checkpoint: str | None = Field(
        default=None, description="Model Garden checkpoint to start from"
    )
    init_modules: tuple[Literal["backbone", "decoder", "all"], ...] = Field(
        default=("backbone",), description="parts restored from init_checkpoint"
    )
    freeze_backbone: bool = Field(default=False, description="train only decoder and heads")
    overrides: dict[str, Any] = Field(
        default_factory=dict,
        description="Model Garden keys laid over the rendered experiment, checked against it",
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> TrainingConfig:
        if self.learning_rate.warmup_steps >= self.steps:
            raise ValueError(
                f"learning_rate.warmup_steps {self.learning_rate.warmup_steps} is not below "
                f"steps {self.steps}"
            )
        if self.checkpoint_every > self.steps:
            raise ValueError(f"checkpoint_every is above steps {self.steps}")
        return self


class EvaluationConfig(MeasurementConfig):
    # All their results go to one task on its command line, of which Linux takes 128 KiB.
    shards: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="evaluation tasks that share the test split"
    )
    batch_size: PositiveInt = Field(default=8, description="images a step of inference")
    engine: Literal["hotcoco", "pycocotools"] = Field(
        default="hotcoco", description="COCO engine; both give the same bits"
    )
    select_metric: MetricName = Field(
        default="ap", description="val metric that chooses the checkpoint"
    )

    def measurement(self) -> MeasurementConfig:
        return MeasurementConfig(slices=self.slices, **self.settings().model_dump())


PolicyMetric = Literal[
    MetricName,
    "precision", "recall", "f1",
    "ap_at_iou", "precision_at_recall", "recall_at_precision",
    "calibration_error",
]  # fmt: skip
POLICY_METRICS: tuple[str, ...] = get_args(PolicyMetric)
# What `at` of a rule says, for the metrics that are read at something.
METRICS_AT: dict[str, str] = {
    "ap_at_iou": "IoU", "precision_at_recall": "recall", "recall_at_precision": "precision",
}  # fmt: skip
LOW_IS_GOOD: tuple[str, ...] = ("calibration_error",)


class ChampionRule(Schema):
    """A comparison with the champion: exactly one of the two keys."""

    max_drop: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="non-inferiority: holds while candidate >= champion - max_drop"
    )
    min_gain: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="superiority: holds while candidate >= champion + min_gain"
    )

    @model_validator(mode="after")
    def _one_key(self) -> ChampionRule:
        if (self.max_drop is None) == (self.min_gain is None):
            raise ValueError("give exactly one of max_drop and min_gain")
        return self


class SliceName(Schema):
    """A part of the test set, as the evaluation's report names it."""

    by: str = Field(description="what the set is cut by: `box_size`, `objects_in_image`, ...")
    name: str = Field(description="which part: `below 16 px`")


class GateRule(Schema):
    """One condition on one metric: a threshold, a comparison, or both.

    `precision`, `recall` and `f1` are those at the score of the highest F1: of all classes together,
    or of the class. `calibration_error` is good when it is low.
    """

    metric: PolicyMetric = Field(description="metric that the rule reads")
    at: UnitInterval | None = Field(
        default=None,
        description="the IoU, recall or precision that a metric called `_at_` is read at",
    )
    class_name: str | None = Field(default=None, description="that class alone; else over all")
    slice: SliceName | None = Field(default=None, description="that part of the test set alone")
    at_least: UnitInterval | None = Field(default=None, description="threshold")
    at_most: UnitInterval | None = Field(
        default=None, description="threshold of a metric that is good when it is low"
    )
    champion: ChampionRule | None = Field(default=None, description="comparison")
    point_estimate: bool = Field(
        default=False, description="judge the measured value alone, whatever gate.confidence says"
    )

    @property
    def threshold(self) -> float | None:
        """`at_least`, or `at_most` of a metric that is good when it is low."""
        return self.at_most if self.metric in LOW_IS_GOOD else self.at_least

    @model_validator(mode="after")
    def _says_something(self) -> GateRule:
        if self.metric in LOW_IS_GOOD:
            if self.at_least is not None:
                raise ValueError(f"{self.metric} is good when it is low: say at_most")
        elif self.at_most is not None:
            raise ValueError(f"{self.metric} is good when it is high: say at_least")
        if self.threshold is None and self.champion is None:
            raise ValueError("a rule needs at_least, champion, or both")
        return self

    @model_validator(mode="after")
    def _read_at_something(self) -> GateRule:
        kind = METRICS_AT.get(self.metric)
        if kind is None:
            if self.at is not None:
                raise ValueError(f"{self.metric} is read at nothing: leave `at` out")
        elif self.at is None:
            raise ValueError(f"{self.metric} needs `at`: the {kind} that it is read at")
        elif abs(round(self.at * 100) - self.at * 100) > 1e-9:
            raise ValueError(f"`at` is {self.at}, which is no multiple of 0.01")
        return self

    @model_validator(mode="after")
    def _has_a_place(self) -> GateRule:
        if self.slice is not None:
            if self.class_name is not None:
                raise ValueError("give class_name or slice: a slice is not cut by class")
            if self.metric not in SLICE_METRIC_NAMES:
                raise ValueError(
                    f"a slice has no {self.metric}; it has {', '.join(SLICE_METRIC_NAMES)}"
                )
        if self.class_name is not None and self.metric == "calibration_error":
            raise ValueError("calibration_error is of all classes together: leave class_name out")
        return self


class GatePolicy(Schema):
    """What a model must show before it is exported. An empty policy is refused.

    Without `confidence` a rule looks at the measured value alone. With it, a rule holds when the
    whole interval of that confidence lies on the right side, fails when it lies on the wrong one
    (with Holm's correction for the number of rules), and can't be told otherwise.
    """

    rules: tuple[GateRule, ...] = Field(min_length=1, description="all of them must hold")
    no_champion: Literal["pass", "fail"] | None = Field(
        default=None,
        description="how champion rules answer while there is no champion; must be said with them",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = Field(
        default=None, description="of the intervals that rules are judged by; absent: none"
    )
    min_boxes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="ground truth boxes below which a rule can't be told"
    )
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        default=1000, description="draws of the bootstrap over images"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of these draws")

    @model_validator(mode="after")
    def _champion_explicit(self) -> GatePolicy:
        if self.no_champion is None and any(rule.champion for rule in self.rules):
            raise ValueError(
                "rules compare with a champion: say in no_champion what they answer while there is "
                "none, pass or fail"
            )
        return self

    def needs_intervals(self) -> bool:
        """Tells whether any rule is judged by an interval."""
        return self.confidence is not None and not all(rule.point_estimate for rule in self.rules)


class FeasibilityConfig(Schema):
    """The check before training: whether data and configuration can reach the gate."""

    unreachable_gate: Literal["stop", "warn"] = Field(
        default="stop",
        description="what a gate that no detector can reach does to a run, before it trains",
    )


class DiagnosisConfig(Schema):
    """When the evaluation's report gives advice. Shares are judged by their intervals."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="of the intervals of shares"
    )
    few_boxes: Annotated[int, Field(ge=1)] = Field(
        default=20, description="boxes of a class below which nothing is said of it"
    )
    low_recall: UnitInterval = Field(default=0.7, description="recall below it is low")
    low_precision: UnitInterval = Field(default=0.7, description="precision below it is low")
    class_behind: UnitInterval = Field(
        default=0.6, description="share of the median ap50 below which a class is behind"
    )
    small_behind: UnitInterval = Field(
        default=0.2, description="recall that small objects may be behind larger ones"
    )
    loose_boxes: UnitInterval = Field(
        default=0.5, description="share of ap50 below which ap75 says that boxes are loose"
    )
    least_ap50: UnitInterval = Field(
        default=0.3, description="ap50 below which boxes are not called loose: too little is found"
    )
    duplicates: UnitInterval = Field(
        default=0.2, description="share of false alarms that may be second boxes"
    )
    confusions: UnitInterval = Field(
        default=0.2, description="share of false alarms that may lie on another class"
    )
    low_ceiling: UnitInterval = Field(
        default=0.98,
        description="ap of the ground truth itself below which settings are in the way",
    )


class ParityConfig(Schema):
    """How closely the export must answer like the checkpoint."""

    images: PositiveInt = Field(default=32, description="test images compared")
    score_tolerance: PositiveFloat = Field(default=1e-4, description="largest score difference")
    box_tolerance_px: PositiveFloat = Field(
        default=0.05, description="largest difference of a box side, in image pixels"
    )


class ExportConfig(Schema):
    parity: ParityConfig = ParityConfig()


class RegistryConfig(Schema):
    uri: str = Field(default="registry", description="folder of the model registry, or gs://")
    model: str | None = Field(default=None, description="model name; the run's name when absent")


Cores = Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$")]
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?[KMGT]i?$")]


class TaskResources(Schema):
    """Kubernetes requests of one task; ignored on one machine."""

    cpu: Cores = Field(default="1", description="CPU request and limit")
    memory: Quantity = Field(default="2Gi", description="memory request and limit")
    gpu_type: str = Field(default="nvidia.com/gpu", description="accelerator resource name")
    gpus: Annotated[int, Field(ge=0)] = Field(default=0, description="accelerators")


class TrainResources(TaskResources):
    cpu: Cores = Field(default="4", description="CPU request and limit")
    memory: Quantity = Field(default="16Gi", description="memory request and limit")


class InferenceResources(TaskResources):
    cpu: Cores = Field(default="2", description="CPU request and limit")
    memory: Quantity = Field(default="8Gi", description="memory request and limit")


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


class ImagesConfig(Schema):
    """The images that tasks run in; a run without --runner docker or a cluster has no use for it."""

    registry: Annotated[str, Field(pattern=r"^[\w.-]+(:\d+)?(/[\w.-]+)*/?$")] | None = Field(
        default=None,
        description="registry and folder; `KFDET_IMAGE_REGISTRY` or the release's when absent",
    )
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] | None = Field(
        default=None, description="tag; `KFDET_IMAGE_TAG` or kfdet's version when absent"
    )
    digests: ImageDigests = ImageDigests()


KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
AbsolutePath = Annotated[str, Field(pattern=r"^/")]
Seconds = Annotated[int, Field(ge=1, le=2_147_483_647)]


class TolerationConfig(Schema):
    """A taint of nodes that pods may be placed on in spite of."""

    key: str | None = Field(default=None, description="taint; absent means every taint")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="how value counts")
    value: str | None = Field(default=None, description="of the taint, for Equal")
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

    timeout_s: Seconds = Field(default=4 * 3600, description="longest life of one pod")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=1, description="attempts after the first"
    )
    backoff_s: Annotated[int, Field(ge=0)] = Field(
        default=30, description="wait before the first of them"
    )
    backoff_factor: Annotated[float, Field(ge=1)] = Field(
        default=2.0, description="growth of the wait"
    )
    backoff_max_s: Annotated[int, Field(ge=1)] = Field(
        default=4 * 3600, description="time after which no attempt is made any more"
    )
    shared_memory: Quantity | None = Field(
        default=None, description="size of /dev/shm, taken from the memory limit"
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="labels that a node must have"
    )
    tolerations: tuple[TolerationConfig, ...] = Field(
        default=(), description="taints that do not keep the pods away"
    )


_GPU_TAINT = TolerationConfig(key="nvidia.com/gpu", effect="NoSchedule")


class TrainPolicy(TaskPolicy):
    timeout_s: Seconds = Field(default=7 * 24 * 3600, description="longest life of one pod")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=3, description="attempts after the first; each goes on at the last checkpoint"
    )
    backoff_s: Annotated[int, Field(ge=0)] = Field(
        default=60, description="wait before the first of them"
    )
    backoff_max_s: Annotated[int, Field(ge=1)] = Field(
        default=7 * 24 * 3600, description="time after which no attempt is made any more"
    )
    shared_memory: Quantity | None = Field(
        default="2Gi", description="size of /dev/shm, taken from the memory limit"
    )
    tolerations: tuple[TolerationConfig, ...] = Field(
        default=(_GPU_TAINT,), description="taints that do not keep the pods away"
    )


class InferencePolicy(TaskPolicy):
    timeout_s: Seconds = Field(default=6 * 3600, description="longest life of one pod")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=2, description="attempts after the first"
    )
    backoff_max_s: Annotated[int, Field(ge=1)] = Field(
        default=6 * 3600, description="time after which no attempt is made any more"
    )
    shared_memory: Quantity | None = Field(
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
    path: AbsolutePath = Field(description="folder where it is mounted")
    sub_path: str = Field(default="", description="folder of the volume that is mounted")


class SecretConfig(Schema):
    """A Kubernetes secret whose keys every task sees as environment variables."""

    name: KubernetesName = Field(description="name of the secret")
    env: dict[str, EnvironmentName] = Field(
        min_length=1, description="key of the secret to environment variable"
    )
    optional: bool = Field(default=False, description="start the pods without it too")


class ClusterConfig(Schema):
    """What only a run on a cluster needs; one machine has no use for it."""

    host: str | None = Field(
        default=None, description="address of Kubeflow Pipelines; --host and environment come first"
    )
    namespace: KubernetesName | None = Field(
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
    image_pull_secrets: tuple[KubernetesName, ...] = Field(
        default=(), description="secrets of the image registry"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="labels of the pods")
    annotations: dict[str, str] = Field(default_factory=dict, description="annotations of them")
    ttl_s: Seconds = Field(
        default=7 * 24 * 3600, description="how long a finished run's pods are kept"
    )
    light: TaskPolicy = TaskPolicy()
    train: TrainPolicy = TrainPolicy()
    inference: InferencePolicy = InferencePolicy()

    @model_validator(mode="after")
    def _mounts_differ(self) -> ClusterConfig:
        paths = [volume.path.rstrip("/") for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise ValueError("two volumes have the same path")
        return self


class RunConfig(Document):
    """A whole run. Relative paths are relative to the directory that kfdet is started in."""

    name: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="name of the run: lower case, digits and hyphens",
    )
    dataset: DatasetConfig
    validation: ValidationConfig = ValidationConfig()
    detector: DetectorConfig
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    diagnosis: DiagnosisConfig = DiagnosisConfig()
    gate: GatePolicy
    feasibility: FeasibilityConfig = FeasibilityConfig()
    export: ExportConfig = ExportConfig()
    registry: RegistryConfig = RegistryConfig()
    images: ImagesConfig = ImagesConfig()
    resources: ResourcesConfig = ResourcesConfig()
    cluster: ClusterConfig = ClusterConfig()
