"""The report of validate: verdict, findings, samples, classes, boxes, images and files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kfdet.core.validation.catalogue import BY_CODE
from kfdet.core.validation.samples import Sample
from kfdet.core.validation.shards import FileFacts
from kfdet.report.charts import bar_chart, histogram_chart
from kfdet.report.page import (
    Cell,
    Html,
    Section,
    Tile,
    Tone,
    badge,
    code,
    columns,
    details,
    heading,
    page,
    paragraph,
    table,
)
from kfdet.report.pictures import PictureBox, gallery, picture
from kfdet.report.wording import percent, plural, size
from kfdet.schema.dataset import (
    Finding,
    Findings,
    Severity,
    Split,
    SplitStatistics,
)

_TONES: Mapping[Severity, Tone] = {"error": "bad", "warning": "warn", "info": "neutral"}
_SIZES_SHOWN = 12
_CLASSES_CHARTED = 40
_EXAMPLES_OPEN = 3


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Everything that the page shows.

    Attributes:
        name: What the data set is called: its label map's folder.
        statistics: Of the splits; of faulty data too.
        class_names: Class id to name; empty when there is no label map.
        files: File and number of records of every split, in order.
    """

    name: str
    findings: Findings
    statistics: Mapping[Split, SplitStatistics]
    class_names: Mapping[int, str]
    files: Sequence[tuple[FileFacts, int]]
    samples: Sequence[Sample]
    exhibits: Sequence[Sample]


def build(report: DataReport) -> str:
    """Returns the page as one HTML document."""
    findings = report.findings
    images = sum(split.images for split in report.statistics.values())
    tone: Tone = "bad" if findings.errors else "warn" if findings.warnings else "good"
    verdict = (
        plural(findings.errors, "error")
        if findings.errors
        else plural(findings.warnings, "warning")
        if findings.warnings
        else "sound"
    )
    sections = [_findings(findings), *_exhibits(report), *_samples(report)]
    if images:
        sections += [_classes(report), _boxes(report), _images(report)]
    return page(
        title=f"Data of {report.name}",
        subtitle=", ".join(
            f"{plural(split.images, 'image')} in {name}"
            for name, split in report.statistics.items()
        ),
        sections=[*sections, _files(report)],
        status=(verdict, tone),
        tiles=_tiles(report, images),
    )


def _tiles(report: DataReport, images: int) -> list[Tile]:
    boxes = sum(split.boxes for split in report.statistics.values())
    findings = report.findings
    excluded = sum(len(file.excluded) for file, _ in report.files)
    hint = f"{len(report.files):,} files"
    if excluded:
        hint += f"; {excluded:,} more in quarantine"
    return [
        Tile(label="Images", value=f"{images:,}", hint=hint),
        Tile(
            label="Boxes",
            value=f"{boxes:,}",
            hint=f"{boxes / images:.1f} an image" if images else "",
        ),
        Tile(label="Classes", value=f"{len(report.class_names):,}"),
        Tile(
            label="Errors",
            value=f"{findings.errors:,}",
            tone="bad" if findings.errors else "good",
            hint="training must not start" if findings.errors else "",
        ),
        Tile(
            label="Warnings",
            value=f"{findings.warnings:,}",
            tone="warn" if findings.warnings else "neutral",
        ),
    ]


def _findings(findings: Findings) -> Section:
    if not findings.counts:
        return Section(title="Findings", body=(paragraph("Every check passed on every record."),))
    by_code: dict[str, list[Finding]] = {}
    for finding in findings.findings:
        by_code.setdefault(finding.code, []).append(finding)
    rows: list[list[Cell]] = []
    examples: list[Html] = []
    for name, found in by_code.items():
        check, count = BY_CODE[name], findings.counts[name]
        severity = found[0].severity
        rows.append(
            [badge(severity, _TONES[severity]), code(name), check.what, count, check.remedy]
        )
        block = (paragraph(f"{check.what}. {check.why} {check.remedy}"), _examples(found, count))
        title = f"{name}: {count:,}"
        if severity == "error" and len(examples) < _EXAMPLES_OPEN:
            examples += [heading(title), *block]
        else:
            examples.append(details(title, *block))
    overview = table(["Severity", "Code", "What", "Count", "Remedy"], rows)
    return Section(
        title="Findings",
        intro="Worst first. Errors crash training or make it or its evaluation silently wrong; "
        "a severity can be changed under dataset.severities.",
        body=(overview, *examples),
    )


def _examples(found: Sequence[Finding], count: int) -> Html:
    rows: list[list[Cell]] = [
        [
            f.split,
            code(f.file),
            None if f.record is None else f.record,
            None if f.byte_offset is None else f.byte_offset,
            f.source_id,
            f.seen,
            f.expected,
        ]
        for f in found
    ]
    caption = f"The first {len(found)} of {count:,}" if count > len(found) else ""
    headers = ["Split", "File", "Record", "Byte", "Source id", "Seen", "Expected"]
    return table(headers, rows, caption=caption)


def _exhibits(report: DataReport) -> Iterator[Section]:
    pictures = [shown for sample in report.exhibits if (shown := _picture(sample)) is not None]
    if pictures:
        yield Section(
            title="Images with findings",
            intro="The first images of each finding that shows in a picture.",
            body=(gallery(pictures),),
        )


def _samples(report: DataReport) -> Iterator[Section]:
    body: list[Html] = []
    for split in report.statistics:
        pictures = [
            shown
            for sample in report.samples
            if sample.split == split and (shown := _picture(sample)) is not None
        ]
        if pictures:
            body += [heading(split), gallery(pictures)]
    if body:
        yield Section(
            title="Samples",
            intro="Images at even distances through each split, with their boxes as recorded.",
            body=tuple(body),
        )


def _picture(sample: Sample) -> Html | None:
    """Returns the image with its boxes; None when it can't be decoded."""
    try:
        with Image.open(io.BytesIO(sample.content.encoded)) as opened:
            opened.load()
            image = opened.copy()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
    record = sample.content
    scale = np.array([image.height, image.width] * 2, dtype=np.float64)
    boxes = record.boxes_yxyx_norm.astype(np.float64) * scale
    texts = record.class_texts or tuple(str(number) for number in record.class_ids)
    caption = f"{record.source_id}, record {sample.record}"
    if sample.about:
        caption = f"{sample.about} ({sample.split}, {caption})"
    drawn = [
        PictureBox(
            xmin=float(xmin),
            ymin=float(ymin),
            xmax=float(xmax),
            ymax=float(ymax),
            # Where one box is meant, only that one is named.
            label=text if not sample.boxes or index in sample.boxes else "",
            kind="false_alarm" if index in sample.boxes else "ground_truth",
        )
        for index, ((ymin, xmin, ymax, xmax), text) in enumerate(zip(boxes, texts, strict=True))
    ]
    return picture(image, drawn, caption=caption)


def _classes(report: DataReport) -> Section:
    splits = report.statistics
    by_id = {
        number: {name: s for name, split in splits.items() for s in split.classes if s.id == number}
        for number in sorted({c.id for split in splits.values() for c in split.classes})
    }
    rows: list[list[Cell]] = []
    for number, per_split in by_id.items():
        row: list[Cell] = [number, next(iter(per_split.values())).name]
        for split in splits:
            found = per_split.get(split)
            row += [found.boxes if found else 0, found.images if found else 0]
        rows.append(row)
    headers = ["Id", "Class"]
    for split in splits:
        headers += [f"{split} boxes", f"{split} images"]
    body: list[Html] = []
    if len(by_id) <= _CLASSES_CHARTED:
        shares: dict[str, list[float | None]] = {
            split: [
                per_split[split].boxes / statistics.boxes
                if split in per_split and statistics.boxes
                else 0.0
                for per_split in by_id.values()
            ]
            for split, statistics in splits.items()
        }
        labels = [str(row[1]) for row in rows]
        body.append(
            bar_chart(labels, shares, title="Share of the boxes", y_label="share of the split")
        )
    return Section(title="Classes", body=(*body, table(headers, rows)))


def _boxes(report: DataReport) -> Section:
    splits = report.statistics
    rows: list[list[Cell]] = [
        [
            name,
            split.boxes,
            split.crowd_boxes,
            split.boxes / split.images if split.images else None,
            percent(split.images_without_boxes / split.images) if split.images else None,
        ]
        for name, split in splits.items()
    ]
    return Section(
        title="Boxes",
        body=(
            table(["Split", "Boxes", "Crowd", "An image", "Images without"], rows),
            columns(
                histogram_chart(
                    {name: split.box_side_px for name, split in splits.items()},
                    title="Size of the boxes",
                    x_label="square root of the area, pixels",
                    log_x=True,
                ),
                histogram_chart(
                    {name: split.box_aspect_ratio for name, split in splits.items()},
                    title="Shape of the boxes",
                    x_label="width / height",
                    log_x=True,
                ),
            ),
            histogram_chart(
                {name: split.boxes_per_image for name, split in splits.items()},
                title="Boxes an image",
                x_label="boxes",
            ),
        ),
    )


def _images(report: DataReport) -> Section:
    splits = report.statistics
    sizes: dict[tuple[int, int], dict[str, int]] = {}
    for name, split in splits.items():
        for s in split.image_sizes:
            sizes.setdefault((s.width_px, s.height_px), {})[name] = s.images
    commonest = sorted(sizes, key=lambda pixels: (-sum(sizes[pixels].values()), pixels))
    rows: list[list[Cell]] = [
        [f"{width} x {height}", *(sizes[width, height].get(name, 0) for name in splits)]
        for width, height in commonest[:_SIZES_SHOWN]
    ]
    hidden = len(commonest) - len(rows)
    caption = f"The {len(rows)} commonest of {len(commonest):,} sizes" if hidden else ""
    formats = sorted({kind for split in splits.values() for kind in split.formats})
    return Section(
        title="Images",
        body=(
            columns(
                table(["Width x height", *splits], rows, caption=caption),
                table(
                    ["Format", *splits],
                    [
                        [kind, *(s.formats.get(kind, 0) for s in splits.values())]
                        for kind in formats
                    ],
                ),
            ),
            histogram_chart(
                {name: split.brightness for name, split in splits.items()},
                title="Brightness",
                x_label="mean grey level of an image, 0 to 255",
            ),
        ),
    )


def _files(report: DataReport) -> Section:
    rows: list[list[Cell]] = [
        [
            file.split,
            code(file.name),
            records,
            len(file.excluded),
            size(file.size_bytes),
            code(file.sha256[:12]),
        ]
        for file, records in report.files
    ]
    listing = table(["Split", "File", "Records", "In quarantine", "Size", "SHA-256"], rows)
    summary = plural(len(rows), "file")
    return Section(title="Files", body=(details(summary, listing) if len(rows) > 20 else listing,))
