"""The section `detector` of a run configuration: what the OD API calls `model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kfdet.schema.base import PositiveFloat, PositiveInt, Schema, UnitInterval

Experiment = Literal[
    "retinanet",
    "retinanet_resnetfpn_coco",
    "retinanet_mobile_coco",
    "retinanet_spinenet_coco",
]


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
