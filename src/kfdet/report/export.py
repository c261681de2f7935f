"""The page of an export: does it answer like the checkpoint, and how is it asked?"""

from __future__ import annotations

import json
import shlex

from kfdet.report.page import (
    Html,
    Section,
    Tile,
    Tone,
    code,
    code_block,
    details,
    message,
    page,
    properties,
    table,
)
from kfdet.report.wording import number
from kfdet.schema.export import SAVED_MODEL_FOLDER, ExportManifest, ParityProof

_OUTPUTS = (
    ("detection_boxes", "float32 [B, N, 4]", "[y1, x1, y2, x2] in pixels of the image given"),
    ("detection_classes", "int32 [B, N]", "ids of the label map"),
    ("detection_scores", "float32 [B, N]", "descending, in [0, 1]"),
    ("num_detections", "int32 [B]", "rows that count; the rest fills up"),
)


def export_page(exported: ExportManifest | None, proof: ParityProof, *, folder: str) -> str:
    """Returns the report of an export as one HTML document.

    Args:
        exported: The export's manifest; None when it was refused.
        proof: The comparison with the checkpoint.
        folder: Where the export lies, or would lie.
    """
    status: tuple[str, Tone] = ("exported", "good") if exported else ("refused", "bad")
    sections = [_parity(proof)]
    if exported is not None:
        sections += [_calling(exported, folder), _labels(exported), _contents(exported)]
    origin = (
        f"checkpoint of step {exported.checkpoint_step:,}, digest {exported.checkpoint_digest[:16]}"
        if exported
        else "nothing was left behind"
    )
    return page(
        title="Export",
        subtitle=origin,
        status=status,
        tiles=_tiles(exported, proof),
        sections=sections,
    )


def _tiles(exported: ExportManifest | None, proof: ParityProof) -> list[Tile]:
    score_holds = proof.max_score_difference <= proof.score_tolerance
    box_holds = proof.max_box_difference_px <= proof.box_tolerance_px
    tiles = [
        Tile(
            label="Score difference",
            value=number(proof.max_score_difference),
            hint=f"at most {number(proof.score_tolerance)}",
            tone="good" if score_holds else "bad",
        ),
        Tile(
            label="Box difference",
            value=f"{number(proof.max_box_difference_px)} px",
            hint=f"at most {number(proof.box_tolerance_px)} px",
            tone="good" if box_holds else "bad",
        ),
        Tile(
            label="Without counterpart",
            value=f"{proof.mismatches:,}",
            hint=f"beside {proof.detections:,} compared",
            tone="bad" if proof.mismatches else "good",
        ),
    ]
    if exported is not None:
        size = sum(file.size_bytes for file in exported.files) / 2**20
        tiles.append(
            Tile(label="Size", value=f"{size:.1f} MiB", hint=f"{len(exported.files)} files")
        )
    return tiles


def _parity(proof: ParityProof) -> Section:
    verdict = (
        message("The reloaded export answers like the checkpoint.", "good")
        if proof.passed
        else message("The reloaded export does not answer like the checkpoint.", "bad")
    )
    return Section(
        title="Parity",
        intro=f"{proof.images} test images through the checkpoint and, in a fresh process, through "
        "every signature of the reloaded SavedModel; detections paired by class, score and box.",
        body=(verdict,),
    )


def _calling(exported: ExportManifest, folder: str) -> Section:
    python = f"""import tensorflow as tf

model = tf.saved_model.load({json.dumps(f"{folder}/{SAVED_MODEL_FOLDER}", ensure_ascii=False)})
found = model.signatures["image_bytes"](tf.constant([open("image.jpg", "rb").read()]))
boxes = found["detection_boxes"][0, : int(found["num_detections"][0])]"""
    rows: list[list[str | Html | float | int | None]] = [
        [code(name), text] for name, text in exported.signatures.items()
    ]
    outputs: list[list[str | Html | float | int | None]] = [
        [code(name), kind, meaning] for name, kind, meaning in _OUTPUTS
    ]
    return Section(
        title="How to call it",
        intro="Decoding, resizing and normalising are part of the model: it takes images as they are.",
        body=(
            table(["signature", "takes"], rows),
            table(["output", "type", "meaning"], outputs),
            code_block(python),
            code_block(f"kfdet predict {shlex.quote(folder)} image.jpg --plot found.png"),
        ),
    )


def _labels(exported: ExportManifest) -> Section:
    rows: list[list[str | Html | float | int | None]] = [
        [label.id, label.name] for label in exported.label_map.classes
    ]
    return Section(title="Classes", body=(table(["id", "name"], rows),))


def _contents(exported: ExportManifest) -> Section:
    rows: list[list[str | Html | float | int | None]] = [
        [code(file.path), file.size_bytes, code(file.sha256[:16])] for file in exported.files
    ]
    facts: dict[str, str | Html | float | int | None] = {
        "content digest": code(exported.content_digest),
        "checkpoint": code(exported.checkpoint_digest),
        "experiment": code(exported.experiment_digest),
        **exported.versions,
    }
    return Section(
        title="Contents",
        body=(properties(facts), details("Files", table(["file", "bytes", "SHA-256"], rows))),
    )
