"""The report of validate: verdict, findings, samples, classes, boxes, images and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kfdet.core.validation.catalogue import BY_CODE
from kfdet.core.validation.findings import by_code
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
from kfdet.report.pictures import gallery
from kfdet.report.samples import sample_pictures
from kfdet.report.wording import percent, size
from kfdet.schema.dataset import (
    ClassStatistics,
    Finding,
    Findings,
    Severity,
    Split,
    SplitStatistics,
)
from kfdet.wording import plural

_TONES: Mapping[Severity, Tone] = {"error": "bad", "warning": "warn", "info": "neutral"}
_SIZES_SHOWN = 12
_CLASSES_CHARTED = 40
_CLASSES_LISTED = 500
_FILES_LISTED = 500


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Everything that the page shows.

    Attributes:
        name: What the data set is called: its label map's folder.
        statistics: Of the splits; of faulty data too.
        class_names: Class id to name; empty when there is no label map.
        files: File and number of records of every split, in order.
        samples: Images across the splits.
        exhibits: The first images of each finding; two where images are alike.
        worst: The images with most findings.

    Images are taken one after another, once each: they need not be in memory all at once.
    """

    name: str
    findings: Findings
    statistics: Mapping[Split, SplitStatistics]
    class_names: Mapping[int, str]
    files: Sequence[tuple[FileFacts, int]]
    samples: Iterable[Sample]
    exhibits: Iterable[Sequence[Sample]]
    worst: Iterable[Sample]


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
    sections = [_findings(findings), *_worst(report), *_exhibits(report), *_samples(report)]
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
    rows: list[list[Cell]] = []
    examples: list[Html] = []
    for name, found in by_code(findings.findings).items():
        check, count = BY_CODE[name], findings.counts[name]
        severity = found[0].severity
        rows.append(
            [badge(severity, _TONES[severity]), code(name), check.what, count, check.remedy]
        )
        block = (paragraph(f"{check.what}. {check.why} {check.remedy}"), _examples(found, count))
        title = f"{name}: {count:,}"
        if severity == "error" and not examples:
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
    if caption and found[0].severity == "error":
        caption += "; quarantine.json lists every record with an error"
    headers = ["Split", "File", "Record", "Byte", "Source id", "Seen", "Expected"]
    return table(headers, rows, caption=caption)


def _worst(report: DataReport) -> Iterator[Section]:
    pictures = [one for sample in report.worst for one in sample_pictures(sample)]
    if pictures:
        yield Section(
            title="Worst images",
            intro="Those with most errors, then with most warnings.",
            body=(gallery(pictures),),
        )


def _exhibits(report: DataReport) -> Iterator[Section]:
    single: list[Html] = []
    pairs: list[Html] = []
    for samples in report.exhibits:
        pictures = [sample_pictures(sample) for sample in samples]
        if len(pictures) == 1:
            single += pictures[0]
        else:
            pairs.append(gallery([one for own in pictures for one in own]))
    body = [gallery(single)] if single else []
    if pairs:
        body += [heading("Side by side"), *pairs]
    if body:
        yield Section(
            title="Images with findings",
            intro="The first images of each finding.",
            body=tuple(body),
        )


def _samples(report: DataReport) -> Iterator[Section]:
    pictures: dict[Split, list[Html]] = {split: [] for split in report.statistics}
    for sample in report.samples:
        pictures[sample.split] += sample_pictures(sample)
    body: list[Html] = []
    for split, shown in pictures.items():
        if shown:
            body += [heading(split), gallery(shown)]
    if body:
        yield Section(
            title="Samples",
            intro="Images at even distances through each split, with their boxes as recorded.",
            body=tuple(body),
        )


def _classes(report: DataReport) -> Section:
    splits = report.statistics
    by_id: dict[int, dict[Split, ClassStatistics]] = {}
    for name, statistics in splits.items():
        for found in statistics.classes:
            by_id.setdefault(found.id, {})[name] = found
    listed = sorted(by_id)[:_CLASSES_LISTED]
    caption = f"The first {len(listed)} of {len(by_id):,}" if len(by_id) > len(listed) else ""
    rows: list[list[Cell]] = []
    for number in listed:
        per_split = by_id[number]
        row: list[Cell] = [number, next(iter(per_split.values())).name]
        for split in splits:
            own = per_split.get(split)
            row += [own.boxes if own else 0, own.images if own else 0]
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
                for per_split in (by_id[number] for number in listed)
            ]
            for split, statistics in splits.items()
        }
        labels = [str(row[1]) for row in rows]
        body.append(
            bar_chart(labels, shares, title="Share of the boxes", y_label="share of the split")
        )
    return Section(title="Classes", body=(*body, table(headers, rows, caption=caption)))


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
        for file, records in report.files[:_FILES_LISTED]
    ]
    hidden = len(report.files) - len(rows)
    listing = table(
        ["Split", "File", "Records", "In quarantine", "Size", "SHA-256"],
        rows,
        caption=f"{hidden:,} more are in manifest.json" if hidden else "",
    )
    summary = plural(len(report.files), "file")
    return Section(title="Files", body=(details(summary, listing) if len(rows) > 20 else listing,))
