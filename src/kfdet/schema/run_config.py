"""The run configuration: one YAML file that says everything about a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from kfdet.schema.base import Document, PositiveFloat, PositiveInt, Schema, UnitInterval
from kfdet.schema.cluster_config import ClusterConfig, ImagesConfig, ResourcesConfig
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import MeasurementConfig, MetricName, listed_statistics
from kfdet.schema.training_config import TrainingConfig

Patterns = Annotated[tuple[str, ...], Field(min_length=1)]


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
        default="ap",
        description=f"val metric that chooses the checkpoint: {listed_statistics()}",
    )

    @model_validator(mode="after")
    def _can_select(self) -> Self:
        if lacking := self.lacks(self.select_metric):
            raise ValueError(f"select_metric: {self.select_metric} is not measured: {lacking}")
        return self

    def measurement(self) -> MeasurementConfig:
        return MeasurementConfig(slices=self.slices, **self.settings().model_dump())


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
