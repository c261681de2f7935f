"""The section `training` of a run configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kfdet.schema.base import PositiveFloat, PositiveInt, Schema, UnitInterval


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
