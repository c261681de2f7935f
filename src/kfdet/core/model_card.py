"""The model card: one page of Markdown that says what a published model is and how well it does."""

from __future__ import annotations

from collections.abc import Sequence

from kfdet.schema.export import ExportManifest
from kfdet.schema.gate import Decision
from kfdet.schema.metrics import CocoStatistics, Metric, Metrics
from kfdet.visible import visible
from kfdet.wording import plural

_COLUMNS = (
    ("AP", "ap"), ("AP50", "ap50"), ("AP75", "ap75"), ("AP small", "ap_small"),
    ("AP medium", "ap_medium"), ("AP large", "ap_large"), ("AR100", "ar_100"),
)  # fmt: skip
_LOADING = """\
```python
import tensorflow as tf

model = tf.saved_model.load("saved_model")
with open("photo.jpg", "rb") as photo:
    answer = model.signatures["image_bytes"](inputs=tf.constant([photo.read()]))
count = int(answer["num_detections"][0])
boxes = answer["detection_boxes"][0, :count]  # [ymin, xmin, ymax, xmax] in pixels of the photo
scores = answer["detection_scores"][0, :count]
classes = answer["detection_classes"][0, :count]
```"""


def model_card(
    *,
    model: str,
    version: int,
    run: str,
    created: str,
    export: ExportManifest,
    metrics: Metrics,
    decision: Decision,
) -> str:
    """Returns the model card as Markdown.

    Args:
        model: Name of the model in the registry.
        version: Its number there.
        run: Name of the run that made it.
        created: Date and time, ISO 8601.
        export: What is published.
        metrics: What was measured on the checkpoint that was exported.
        decision: Why it was let out.
    """
    parts = [
        f"# {model}, version {version}",
        _what(export, run=run, created=created),
        "## Quality",
        _basis(metrics),
        _metrics_table(metrics),
        "## Why it was let out",
        "\n".join(f"- {_escaped(reason)}" for reason in decision.reasons),
        "## Does the export answer like its checkpoint",
        _parity(export),
        "## Loading",
        _LOADING,
        f"Class ids are {_classes(export)}; id 0 is the background and is never answered.",
        _signatures(export),
        "## Where it comes from",
        _table(("what", "digest"), _origins(export, metrics)),
        "Made with " + ", ".join(f"{k} {v}" for k, v in sorted(export.versions.items())) + ".",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(export: ExportManifest, *, run: str, created: str) -> str:
    detector = export.detector
    height, width = detector.input_size
    backbone = f" with a ResNet-{detector.backbone.model_id}" * (detector.experiment == "retinanet")
    return (
        f"An object detector for {len(export.label_map.classes)} classes: Model Garden's "
        f"{detector.experiment}{backbone}, input {height} × {width} px (height × width), up to "
        f"{detector.nms.max_detections} detections an image. Trained by the run {_escaped(run)} for "
        f"{export.checkpoint_step:,} steps up to the selected checkpoint; published {created}."
    )


def _basis(metrics: Metrics) -> str:
    return (
        f"Measured on {plural(metrics.images, 'image')} of the {metrics.split} set with {metrics.boxes:,} "
        f"objects, with {metrics.engine} {metrics.engine_version}. AP is the mean over IoU 0.5 to "
        "0.95; all numbers lie in [0, 1], a dash is undefined for want of ground truth."
    )


def _metrics_table(metrics: Metrics) -> str:
    rows = [("**all classes**", metrics.boxes, metrics.overall)]
    rows += [(_escaped(entry.name), entry.boxes, entry.metrics) for entry in metrics.classes]
    return _table(
        ("class", "objects", *(title for title, _ in _COLUMNS)),
        [(name, f"{boxes:,}", *_numbers(statistics)) for name, boxes, statistics in rows],
    )


def _numbers(statistics: CocoStatistics) -> tuple[str, ...]:
    return tuple(_number(statistics.value(name)) for _, name in _COLUMNS)


def _number(value: Metric) -> str:
    return "–" if value is None else f"{value:.3f}"


def _parity(export: ExportManifest) -> str:
    proof = export.parity
    return (
        f"{plural(proof.images, 'image')} went through both: {proof.detections:,} detections compared, "
        f"{proof.mismatches:,} mismatches, largest difference of a score "
        f"{proof.max_score_difference:.2g} (allowed {proof.score_tolerance:g}), of a box side "
        f"{proof.max_box_difference_px:.2g} px (allowed {proof.box_tolerance_px:g})."
    )


def _classes(export: ExportManifest) -> str:
    return ", ".join(f"{label.id} {_escaped(label.name)}" for label in export.label_map.classes)


def _signatures(export: ExportManifest) -> str:
    return _table(
        ("signature", "input"),
        [(f"`{name}`", _escaped(text)) for name, text in sorted(export.signatures.items())],
    )


def _origins(export: ExportManifest, metrics: Metrics) -> list[tuple[str, str]]:
    return [
        ("export", f"`{export.content_digest}`"),
        (f"checkpoint of step {export.checkpoint_step:,}", f"`{export.checkpoint_digest}`"),
        ("experiment (detector, training and training data)", f"`{export.experiment_digest}`"),
        (f"{metrics.split} set", f"`{metrics.split_digest}`"),
        ("metrics", f"`{metrics.fingerprint()}`"),
    ]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Keeps text from ending a cell or starting markup."""
    flat = " ".join(visible(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#&~" else sign for sign in flat)
