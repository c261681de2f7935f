"""From the run configuration to a Model Garden experiment.

Source of the keys: official/vision/configs/retinanet.py and official/core/config_definitions.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfdet.errors import ConfigError
from kfdet.schema.dataset import Manifest
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.training import ResolvedExperiment
from kfdet.schema.training_config import TrainingConfig

# Settings that other stages rely on, and the field of the run configuration that says each.
OWNED_KEYS: Mapping[str, str] = {
    "task.model.num_classes": "the label map",
    "task.model.input_size": "detector.input_size",
    "task.model.min_level": "detector.min_level",
    "task.model.max_level": "detector.max_level",
    "task.model.anchor": "detector.anchors",
    "task.model.detection_generator.pre_nms_score_threshold": "detector.nms.score_threshold",
    "task.model.detection_generator.pre_nms_top_k": "detector.nms.pre_nms_top_k",
    "task.model.detection_generator.nms_iou_threshold": "detector.nms.iou_threshold",
    "task.model.detection_generator.max_num_detections": "detector.nms.max_detections",
    "task.model.detection_generator.nms_version": "detector.nms.version",
    "task.model.head.num_convs": "detector.head_convs",
    "task.model.head.num_filters": "detector.head_filters",
    "task.train_data.input_path": "dataset.train",
    "task.train_data.global_batch_size": "training.batch_size",
    "task.train_data.dtype": "training.precision",
    "task.train_data.seed": "training.seed",
    "task.train_data.deterministic": "training.deterministic",
    "task.train_data.parser.pad": "detector.keep_aspect_ratio",
    "task.train_data.parser.keep_aspect_ratio": "detector.keep_aspect_ratio",
    "task.train_data.parser.max_num_instances": "detector.max_instances",
    "task.train_data.parser.aug_rand_hflip": "training.augmentation.horizontal_flip",
    "task.train_data.parser.aug_scale_min": "training.augmentation.scale_min",
    "task.train_data.parser.aug_scale_max": "training.augmentation.scale_max",
    "task.validation_data": "dataset.val",
    "task.init_checkpoint": "training.init_checkpoint",
    "task.init_checkpoint_modules": "training.init_modules",
    "task.freeze_backbone": "training.freeze_backbone",
    "task.losses.focal_loss_alpha": "training.losses.focal_alpha",
    "task.losses.focal_loss_gamma": "training.losses.focal_gamma",
    "task.losses.huber_loss_delta": "training.losses.huber_delta",
    "task.losses.box_loss_weight": "training.losses.box_weight",
    "trainer.train_steps": "training.steps",
    "trainer.checkpoint_interval": "training.checkpoint_every",
    "runtime.mixed_precision_dtype": "training.precision",
    "runtime.distribution_strategy": "training.device",
    "runtime.num_gpus": "training.device",
}

# Settings of Model Garden's own loop, evaluation and exporter, which kfdet replaces.
WITHOUT_EFFECT = (
    "runtime",
    "task.annotation_file",
    "task.export_config",
    "task.per_category_metrics",
    "task.use_coco_metrics",
    "task.use_wod_metrics",
    "task.max_num_eval_detections",
    "trainer.best_checkpoint_eval_metric",
    "trainer.best_checkpoint_export_subdir",
    "trainer.best_checkpoint_metric_comp",
    "trainer.continuous_eval_timeout",
    "trainer.eval_tf_function",
    "trainer.eval_tf_while_loop",
    "trainer.loss_upper_bound",
    "trainer.max_to_keep",
    "trainer.optimizer_config.ema",
    "trainer.preemption_on_demand_checkpoint",
    "trainer.recovery_begin_steps",
    "trainer.recovery_max_trials",
    "trainer.steps_per_loop",
    "trainer.summary_interval",
    "trainer.validation_interval",
    "trainer.validation_steps",
    "trainer.validation_summary_subdir",
)

_NO_DECAY = ("norm", "bias", "gamma", "beta")
_LONGEST_MEMORY = 0.99
# A training is as long as this many memories of the batch norm.
_MEMORIES = 10
_SHUFFLE_BYTES = 256 * 2**20


def resolve(
    detector: DetectorConfig, training: TrainingConfig, manifest: Manifest
) -> ResolvedExperiment:
    """Renders detector and training configuration into a Model Garden experiment.

    Returns:
        The experiment, free of paths of the training data: equal inputs give equal digests.

    Raises:
        ConfigError: `training.overrides` sets a key that a field of the configuration owns.
    """
    _refuse_overrides(training.overrides)
    return ResolvedExperiment(
        experiment=detector.experiment,
        detector=detector,
        training=training,
        label_map=manifest.label_map,
        train_digest=manifest.train.digest,
        train_images=manifest.train.images,
        params=merged(_params(detector, training, manifest), training.overrides),
    )


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested settings with others laid over them, key by key."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every setting as (dotted key, value)."""
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Returns the learning rate at a step: linear warm-up, then cosine to zero or constant.

    Args:
        training: With peak, warm-up and schedule.
        step: In [0, training.steps].

    Source: official/modeling/optimization/lr_schedule.py (LinearWarmup, CosineDecayWithOffset).
    """
    rate = training.learning_rate
    if step < rate.warmup_steps:
        return rate.warmup_start + step / rate.warmup_steps * (rate.peak - rate.warmup_start)
    if rate.schedule == "constant":
        return rate.peak
    done = (step - rate.warmup_steps) / (training.steps - rate.warmup_steps)
    return rate.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def anchor_shapes_px(detector: DetectorConfig) -> NDArray[np.float64]:
    """Returns the anchors' shapes: float64[A, 2], [width, height] in pixels of the model's input."""
    anchors = detector.anchors
    shapes = []
    for level in range(detector.min_level, detector.max_level + 1):
        for scale in range(anchors.num_scales):
            side = anchors.size * 2**level * 2 ** (scale / anchors.num_scales)
            shapes += [(side * ratio**0.5, side * ratio**-0.5) for ratio in anchors.aspect_ratios]
    return np.array(shapes, dtype=np.float64)


def _params(
    detector: DetectorConfig, training: TrainingConfig, manifest: Manifest
) -> dict[str, Any]:
    precision = training.precision.removeprefix("mixed_")
    runtime: dict[str, Any] = {"mixed_precision_dtype": precision}
    if precision == "float16":
        runtime["loss_scale"] = "dynamic"
    return {
        "task": {
            "annotation_file": None,
            "init_checkpoint": training.init_checkpoint,
            "init_checkpoint_modules": (
                "all" if "all" in training.init_modules else list(training.init_modules)
            ),
            "freeze_backbone": training.freeze_backbone,
            "model": {
                **_model(detector, num_classes=manifest.label_map.num_classes),
                "norm_activation": {"norm_momentum": _norm_momentum(training.steps)},
            },
            "losses": _losses(training),
            "train_data": _train_data(detector, training, manifest, dtype=precision),
        },
        "trainer": {
            "train_steps": training.steps,
            "checkpoint_interval": training.checkpoint_every,
            "optimizer_config": _optimizer(training),
        },
        "runtime": runtime,
    }


def _model(detector: DetectorConfig, *, num_classes: int) -> dict[str, Any]:
    model: dict[str, Any] = {
        "num_classes": num_classes,
        "input_size": [*detector.input_size, 3],
        "min_level": detector.min_level,
        "max_level": detector.max_level,
        "anchor": {
            "anchor_size": detector.anchors.size,
            "aspect_ratios": list(detector.anchors.aspect_ratios),
            "num_scales": detector.anchors.num_scales,
        },
        "head": {"num_convs": detector.head_convs, "num_filters": detector.head_filters},
        "detection_generator": {
            "pre_nms_score_threshold": detector.nms.score_threshold,
            "pre_nms_top_k": detector.nms.pre_nms_top_k,
            "nms_iou_threshold": detector.nms.iou_threshold,
            "max_num_detections": detector.nms.max_detections,
            "nms_version": detector.nms.version,
        },
    }
    levels = {"min_level": detector.min_level, "max_level": detector.max_level}
    if detector.experiment == "retinanet":
        model["backbone"] = {
            "type": "resnet",
            "resnet": {
                "model_id": detector.backbone.model_id,
                "depth_multiplier": detector.backbone.depth_multiplier,
            },
        }
        model["decoder"] = {"type": "fpn", "fpn": {"num_filters": detector.fpn_filters}}
    elif detector.experiment == "retinanet_resnetfpn_coco":
        model["decoder"] = {"type": "fpn", "fpn": {"num_filters": detector.fpn_filters}}
    elif detector.experiment == "retinanet_mobile_coco":
        model["backbone"] = {"type": "spinenet_mobile", "spinenet_mobile": levels}
    else:
        model["backbone"] = {"type": "spinenet", "spinenet": levels}
    return model


def _norm_momentum(steps: int) -> float:
    """Returns the momentum of the batch norm's averages.

    Model Garden's 0.99 remembers the first of a few hundred steps until the end: checkpoints of a
    short training would answer with the statistics of random weights.
    """
    return min(_LONGEST_MEMORY, max(0.5, round(1 - _MEMORIES / steps, 4)))


def _losses(training: TrainingConfig) -> dict[str, Any]:
    losses = training.losses
    decay = training.optimizer.weight_decay if training.optimizer.type == "sgd" else 0.0
    return {
        "focal_loss_alpha": losses.focal_alpha,
        "focal_loss_gamma": losses.focal_gamma,
        "huber_loss_delta": losses.huber_delta,
        "box_loss_weight": losses.box_weight,
        "l2_weight_decay": decay,
    }


def _train_data(
    detector: DetectorConfig, training: TrainingConfig, manifest: Manifest, *, dtype: str
) -> dict[str, Any]:
    record_bytes = sum(shard.size_bytes for shard in manifest.train.shards) / max(
        1, manifest.train.images
    )
    in_memory = max(1, int(_SHUFFLE_BYTES // max(1.0, record_bytes)))
    return {
        "is_training": True,
        "global_batch_size": training.batch_size,
        "dtype": dtype,
        "seed": training.seed,
        "deterministic": training.deterministic,
        "shuffle_buffer_size": max(1, min(manifest.train.images, in_memory)),
        "parser": {
            "pad": True,
            "keep_aspect_ratio": detector.keep_aspect_ratio,
            "max_num_instances": detector.max_instances,
            "aug_rand_hflip": training.augmentation.horizontal_flip,
            "aug_scale_min": training.augmentation.scale_min,
            "aug_scale_max": training.augmentation.scale_max,
        },
    }


def _optimizer(training: TrainingConfig) -> dict[str, Any]:
    config, rate = training.optimizer, training.learning_rate
    clip = config.gradient_clip_norm
    optimizer: dict[str, Any]
    if config.type == "adamw":
        optimizer = {
            "type": "adamw",
            "adamw": {
                "weight_decay_rate": config.weight_decay,
                "exclude_from_weight_decay": list(_NO_DECAY),
                "gradient_clip_norm": clip,
            },
        }
    else:
        sgd = {"momentum": 0.9, "global_clipnorm": clip or None}
        optimizer = {"type": "sgd", "sgd": sgd}
    schedule: dict[str, Any]
    if rate.schedule == "cosine":
        # With an offset the decay begins at the peak, where the warm-up ends.
        cosine = {
            "initial_learning_rate": rate.peak,
            "decay_steps": training.steps - rate.warmup_steps,
            "offset": rate.warmup_steps,
        }
        schedule = {"type": "cosine", "cosine": cosine}
    else:
        schedule = {"type": "constant", "constant": {"learning_rate": rate.peak}}
    warmup: dict[str, Any] = {"type": None}
    if rate.warmup_steps:
        linear = {"warmup_steps": rate.warmup_steps, "warmup_learning_rate": rate.warmup_start}
        warmup = {"type": "linear", "linear": linear}
    return {"optimizer": optimizer, "learning_rate": schedule, "warmup": warmup}


def _refuse_overrides(overrides: Mapping[str, Any]) -> None:
    faults = []
    for path, _ in leaves(overrides):
        owner = next((OWNED_KEYS[key] for key in OWNED_KEYS if _is_below(path, key)), None)
        if owner:
            faults.append(f'"{path}" is what {owner} says: set it there')
        elif any(_is_below(path, key) for key in WITHOUT_EFFECT):
            faults.append(f'"{path}" has no effect here')
    if len(faults) == 1:
        raise ConfigError(faults[0], where="training.overrides")
    if faults:
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise ConfigError(f"{len(faults)} faults:{listing}", where="training.overrides")


def _is_below(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")
