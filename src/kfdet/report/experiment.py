"""The page of a rendered experiment: what will be trained."""

from __future__ import annotations

import numpy as np

from kfdet.core.experiment import anchor_shapes_px, learning_rate, leaves
from kfdet.core.preprocessing import resize_scale
from kfdet.report.charts import Series, histogram_chart, line_chart
from kfdet.report.page import (
    Html,
    Section,
    Tile,
    code,
    code_block,
    details,
    page,
    paragraph,
    properties,
    table,
)
from kfdet.report.wording import number
from kfdet.schema.dataset import Histogram, SplitStatistics, Statistics
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.training import ResolvedExperiment
from kfdet.schema.training_config import TrainingConfig

_CURVE_POINTS = 200


def experiment_page(
    experiment: ResolvedExperiment,
    *,
    statistics: Statistics,
    parameters: int,
    full: str,
) -> str:
    """Returns the report of a rendered experiment as one HTML document.

    Args:
        experiment: The experiment.
        statistics: Of the data that it is trained on.
        parameters: Weights of the model.
        full: Model Garden's whole configuration, as YAML.
    """
    training, detector = experiment.training, experiment.detector
    epochs = training.steps * training.batch_size / max(1, experiment.train_images)
    height, width = detector.input_size
    return page(
        title=f"Experiment: {experiment.experiment}",
        subtitle=f"{len(experiment.label_map.classes)} classes, digest {experiment.fingerprint()[:16]}",
        tiles=[
            Tile(label="Input", value=f"{height} x {width}", hint="height x width, px"),
            Tile(label="Weights", value=f"{parameters:,}"),
            Tile(
                label="Steps", value=f"{training.steps:,}", hint=f"of {training.batch_size} images"
            ),
            Tile(
                label="Epochs", value=number(round(epochs, 1)), hint="times that each image is seen"
            ),
        ],
        sections=[
            model_section(detector),
            _anchors(detector, statistics.train),
            _optimisation(training),
            _settings(experiment, full),
        ],
    )


def model_section(detector: DetectorConfig) -> Section:
    """Returns what the detector is made of, in words."""
    backbone = detector.backbone
    own = detector.experiment == "retinanet"
    nms = detector.nms
    resize = "one factor, then padding" if detector.keep_aspect_ratio else "stretched"
    pairs: dict[str, str | Html | float | int | None] = {
        "backbone": (
            f"ResNet-{backbone.model_id}, width x {number(backbone.depth_multiplier)}"
            if own
            else f"that of {detector.experiment}"
        ),
        "levels": f"{detector.min_level} to {detector.max_level}, strides {2**detector.min_level} to "
        f"{2**detector.max_level} px",
        "feature pyramid": f"{detector.fpn_filters} channels",
        "heads": f"{detector.head_convs} convolutions of {detector.head_filters} channels",
        "resize": resize,
        "boxes trained on": f"at most {detector.max_instances} an image",
        "suppression": f"{nms.version}, overlap {number(nms.iou_threshold)}, scores from "
        f"{number(nms.score_threshold)}, at most {nms.max_detections} detections",
    }
    return Section(title="Model", body=(properties(pairs),))


def _anchors(detector: DetectorConfig, train: SplitStatistics) -> Section:
    shapes = anchor_shapes_px(detector)
    sides = np.sqrt(shapes.prod(axis=1)).reshape(-1, len(detector.anchors.aspect_ratios))[:, 0]
    per_level = sides.reshape(-1, detector.anchors.num_scales)
    rows: list[list[str | Html | float | int | None]] = [
        [
            level,
            2**level,
            ", ".join(f"{side:.0f}" for side in row),
            ", ".join(number(ratio) for ratio in detector.anchors.aspect_ratios),
        ]
        for level, row in zip(
            range(detector.min_level, detector.max_level + 1), per_level, strict=True
        )
    ]
    body = [table(["level", "stride (px)", "anchor sides (px)", "aspect ratios (w / h)"], rows)]
    largest = max(train.image_sizes, key=lambda size: size.images, default=None)
    if largest is not None and largest.height_px and largest.width_px and train.boxes:
        y, x = resize_scale(
            height_px=largest.height_px,
            width_px=largest.width_px,
            input_size=detector.input_size,
            keep_aspect_ratio=detector.keep_aspect_ratio,
        )
        scale = (y * x) ** 0.5
        resized = Histogram(
            edges=tuple(edge * scale for edge in train.box_side_px.edges),
            counts=train.box_side_px.counts,
        )
        body.append(
            histogram_chart(
                {"train": resized},
                title="Sides of the training boxes after the resize",
                x_label="square root of the area (px of the input)",
            )
        )
        body.append(
            paragraph(
                f"Anchors reach from {sides.min():.0f} to {sides.max():.0f} px. A box trains the "
                "anchors that overlap it by 0.5 or more, and the best one in any case."
            )
        )
    return Section(
        title="Anchors and boxes",
        intro="Where the boxes lie, there should be anchors.",
        body=tuple(body),
    )


def _optimisation(training: TrainingConfig) -> Section:
    stride = max(1, training.steps // _CURVE_POINTS)
    warm = training.learning_rate.warmup_steps
    steps = sorted({*range(0, training.steps, stride), warm, training.steps})
    rates = [learning_rate(training, step) for step in steps]
    chart = line_chart(
        [Series("learning rate", [float(step) for step in steps], rates)],
        title="Learning rate",
        x_label="step",
        y_label="rate",
        vertical=[(float(warm), "end of warm-up")] if warm else [],
    )
    optimizer, losses, augmentation = training.optimizer, training.losses, training.augmentation
    directions = {
        "horizontal": augmentation.horizontal_flip,
        "vertical": augmentation.vertical_flip,
    }
    flips = " and ".join(name for name, on in directions.items() if on) or "off"
    clip = number(optimizer.gradient_clip_norm) if optimizer.gradient_clip_norm else "off"
    pairs: dict[str, str | Html | float | int | None] = {
        "optimizer": f"{optimizer.type}, weight decay {number(optimizer.weight_decay)}, "
        f"gradient clipping {clip}",
        "losses": f"focal (alpha {number(losses.focal_alpha)}, gamma {number(losses.focal_gamma)}) + "
        f"{number(losses.box_weight)} x Huber (delta {number(losses.huber_delta)})",
        "augmentation": f"flips {flips}, scale {number(augmentation.scale_min)} to "
        f"{number(augmentation.scale_max)}, colours +/- {augmentation.colour_jitter:.0%}",
        "starts from": training.init_checkpoint or "random weights",
        "checkpoints": f"every {training.checkpoint_every:,} steps and the last",
        "seed": f"{training.seed}, {'deterministic' if training.deterministic else 'not bit-exact'}",
        "device": training.device,
        "precision": training.precision,
    }
    return Section(title="Optimisation", body=(chart, properties(pairs)))


def settings_table(experiment: ResolvedExperiment) -> Html:
    """Returns every setting that is laid over Model Garden's experiment, behind a line."""
    own = dict(leaves(experiment.training.overrides))
    rows: list[list[str | Html | float | int | None]] = [
        [code(key), code(str(value)), "training.overrides" if key in own else ""]
        for key, value in leaves(experiment.params)
    ]
    return details(f"{len(rows)} settings", table(["key", "value", "set by"], rows))


def _settings(experiment: ResolvedExperiment, full: str) -> Section:
    return Section(
        title="Model Garden's settings",
        intro=f"What is laid over the experiment {experiment.experiment}, checked by name and type.",
        body=(
            settings_table(experiment),
            details("The whole configuration", code_block(full)),
        ),
    )
