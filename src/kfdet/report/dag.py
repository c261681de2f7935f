"""The picture of the pipeline: its stages, what became of them, and the way of a model to the registry."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kfdet.report.markup import Html, tag
from kfdet.report.wording import duration
from kfdet.schema.run_record import STAGES, StageRecord, StageStatus

_DOES: Mapping[str, tuple[str, str]] = {
    "examine": ("reads every record, decodes", "every image, in groups"),
    "validate": ("names every fault and its", "place; splits side by side"),
    "render": ("the whole experiment,", "checked key by key"),
    "check": ("can the gate be reached?", "ceilings, anchors, power"),
    "train": ("resumes where it stopped;", "keeps every checkpoint"),
    "select": ("measures every checkpoint", "on val, chooses the best"),
    "evaluate": ("detections on the test set,", "one task a shard"),
    "merge": ("one exact COCO evaluation", "of all shards together"),
    "gate": ("policy and champion:", "pass, fail or can't tell"),
    "export": ("SavedModel, proven to", "answer like its checkpoint"),
    "publish": ("a new version; it is the", "champion in one move"),
}
_LOOPS = ("examine", "evaluate")
_COLUMNS = 6
_NODE = (184.0, 78.0)
_GAP = (41.0, 58.0)
_MARGIN = 8.0
_ROW_STEP = _NODE[1] + _GAP[1]
_WIDTH = _COLUMNS * _NODE[0] + (_COLUMNS - 1) * _GAP[0] + 2 * _MARGIN + 6
_HEIGHT = 2 * _NODE[1] + _GAP[1] + 2 * _MARGIN + 34
_LINE_CHARACTERS = 27
_SIGNS: Mapping[StageStatus, str] = {
    "done": "\N{CHECK MARK}", "cached": "\N{ANTICLOCKWISE OPEN CIRCLE ARROW}",
    "failed": "\N{MULTIPLICATION X}", "skipped": "\N{EN DASH}",
}  # fmt: skip

# The page brings these colours as variables; a picture of its own needs them with it.
_OWN_STYLE = """
svg { --card: #ffffff; --ink: #1b1e23; --soft: #5d636d; --faint: #8b919b; --rule: #d5d8dd; --accent: #1f5fbf; }
@media (prefers-color-scheme: dark) {
  svg { --card: #1a1d21; --ink: #e8eaed; --soft: #a3aab4; --faint: #757d88; --rule: #3a4048; --accent: #7fb2ff; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
"""
_STYLE = """
.dag .node { fill: var(--card); stroke: var(--rule); stroke-width: 1.2; }
.dag .name { fill: var(--ink); font-size: 14px; font-weight: 640; }
.dag .line, .dag .took, .dag .edge-label { fill: var(--soft); font-size: 11px; }
.dag .edge { fill: none; stroke: var(--faint); stroke-width: 1.3; } .dag .head { fill: var(--faint); }
.dag .back { stroke-dasharray: 4 4; }
.dag .done .node { stroke: var(--good); } .dag .cached .node { stroke: var(--accent); }
.dag .done .sign { fill: var(--good); } .dag .cached .sign { fill: var(--accent); }
.dag .sign { font-size: 13px; font-weight: 700; fill: var(--soft); }
.dag .failed .node { stroke: var(--bad); stroke-width: 2; fill: var(--bad-wash); } .dag .failed .sign, .dag .failed .line { fill: var(--bad); }
.dag .skipped .node { stroke-dasharray: 4 4; fill: none; } .dag .skipped .name, .dag .skipped .sign { fill: var(--faint); }
.dag .registry { fill: none; stroke: var(--rule); stroke-width: 1.2; }
.dag a { text-decoration: none; } .dag a:hover .name { text-decoration: underline; fill: var(--accent); }
"""


@dataclass(frozen=True)
class _Node:
    name: str
    lines: Sequence[str]
    status: StageStatus | None = None
    took: str = ""
    report: str | None = None
    words: str = ""
    copies: int = 1


def run_dag(stages: Sequence[StageRecord], *, tasks: Mapping[str, int], registry: str) -> Html:
    """Returns the picture of a run: status, time, key figure and report of every stage.

    Args:
        stages: In any order; a stage without a record is shown as skipped.
        tasks: Stage to the number of its tasks, where a loop makes several.
        registry: What lies in the registry after the run: `version 3`.
    """
    records = {record.stage: record for record in stages}
    nodes = [_run_node(name, records.get(name), tasks.get(name, 1)) for name in STAGES]
    return tag("div", _picture(nodes, registry=registry, style=_STYLE), class_="scroll")


def pipeline_dag() -> str:
    """Returns the picture of the pipeline itself as an SVG file, readable on light and on dark pages."""
    nodes = [_Node(name, _DOES[name], copies=3 if name in _LOOPS else 1) for name in STAGES]
    picture = _picture(nodes, registry="versions, champion", style=_OWN_STYLE + _STYLE)
    return f"{picture}\n"


def _run_node(name: str, record: StageRecord | None, copies: int) -> _Node:
    if record is None or record.status == "skipped":
        return _Node(name, (), status="skipped", words=f"{name}: skipped")
    took = "from cache" if record.status == "cached" else duration(record.time_s)
    lines = _wrapped(record.key_figure)
    if copies > 1 and len(lines) == 1:
        lines.append(f"in {copies} tasks")
    words = f"{name}: {record.status}. {record.key_figure}"
    return _Node(name, lines, record.status, took, record.report, words, copies)


def _picture(nodes: Sequence[_Node], *, registry: str, style: str) -> Html:
    places = {node.name: _place(index) for index, node in enumerate(nodes)}
    registry_place = _place(len(nodes))
    edges = [
        _edge(places[a.name], places[b.name], "if pass" if a.name == "gate" else "")
        for a, b in itertools.pairwise(nodes)
    ]
    edges.append(_edge(places["publish"], registry_place, ""))
    edges.append(_back(registry_place, places["gate"]))
    drawn = [_node(node, places[node.name]) for node in nodes]
    return tag(
        "svg",
        tag("style", Html(style)),
        *edges,
        *drawn,
        _registry(registry_place, registry),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        class_="dag",
        role="img",
        aria_label="The stages of the pipeline",
        style="min-width:820px;width:100%;height:auto;display:block",
    )


def _place(index: int) -> tuple[float, float]:
    row, column = divmod(index, _COLUMNS)
    return _MARGIN + column * (_NODE[0] + _GAP[0]), _MARGIN + 6 + row * _ROW_STEP


def _node(node: _Node, place: tuple[float, float]) -> Html:
    x, y = place
    width, height = _NODE
    behind = [
        tag("rect", x=x + 4.0 * k, y=y - 4.0 * k, width=width, height=height, rx=9, class_="node")
        for k in range(min(node.copies, 3) - 1, 0, -1)
    ]
    sign = _SIGNS[node.status] if node.status else ""
    parts: list[str | Html] = [
        tag("title", node.words) if node.words else "",
        *behind,
        tag("rect", x=x, y=y, width=width, height=height, rx=9, class_="node"),
        tag("text", sign, x=x + 12, y=y + 24, class_="sign") if sign else "",
        tag("text", node.name, x=x + (30 if sign else 13), y=y + 24, class_="name"),
        tag("text", node.took, x=x + width - 11, y=y + 24, text_anchor="end", class_="took"),
        *(
            tag("text", line, x=x + 13, y=y + 46 + 16 * k, class_="line")
            for k, line in enumerate(node.lines)
        ),
    ]
    group = tag("g", *parts, class_=node.status)
    return tag("a", group, href=node.report) if node.report else group


def _registry(place: tuple[float, float], words: str) -> Html:
    """Draws the registry as a drum."""
    x, y = place
    width, height = _NODE
    rim = 9.0
    body = (
        f"M{x:g} {y + rim:g} v{height - 2 * rim:g} a{width / 2:g} {rim:g} 0 0 0 {width:g} 0 v{2 * rim - height:g}"
        f" a{width / 2:g} {rim:g} 0 0 0 {-width:g} 0 a{width / 2:g} {rim:g} 0 0 0 {width:g} 0"
    )
    return tag(
        "g",
        tag("path", d=body, class_="registry"),
        tag("text", "registry", x=x + width / 2, y=y + 40, text_anchor="middle", class_="name"),
        tag("text", words, x=x + width / 2, y=y + 58, text_anchor="middle", class_="line"),
    )


def _edge(start: tuple[float, float], end: tuple[float, float], label: str) -> Html:
    width, height = _NODE
    if start[1] == end[1]:
        x0, x1, y = start[0] + width + 3, end[0] - 3, start[1] + height / 2
        path = f"M{x0:g} {y:g} H{x1 - 6:g}"
        word = tag(
            "text", label, x=(x0 + x1) / 2 - 2, y=y - 7, text_anchor="middle", class_="edge-label"
        )
    else:
        # Down from the end of the first row, back, and into the second from above.
        x0, y0 = start[0] + width / 2, start[1] + height + 3
        x1, y = end[0] + width / 2, end[1] - 3
        middle = (y0 + y) / 2
        path = f"M{x0:g} {y0:g} V{middle - 8:g} q0 8 -8 8 H{x1 + 8:g} q-8 0 -8 8 V{y - 6:g}"
        head = tag("path", d=f"M{x1 - 4:g} {y - 8:g} h8 l-4 8 z", class_="head")
        return tag("g", tag("path", d=path, class_="edge"), head)
    head = tag("path", d=f"M{x1 - 8:g} {y - 4:g} v8 l8 -4 z", class_="head")
    return tag("g", tag("path", d=path, class_="edge"), head, word if label else "")


def _back(start: tuple[float, float], end: tuple[float, float]) -> Html:
    """Draws the way of the champion's metrics from the registry back to the gate."""
    width, height = _NODE
    x0, x1, y = start[0] + width / 2, end[0] + width / 2, start[1] + height
    low = y + 26
    path = f"M{x0:g} {y + 3:g} V{low - 8:g} q0 8 -8 8 H{x1 + 8:g} q-8 0 -8 -8 V{y + 9:g}"
    return tag(
        "g",
        tag("path", d=path, class_="edge back"),
        tag("path", d=f"M{x1 - 4:g} {y + 11:g} h8 l-4 -8 z", class_="head"),
        tag(
            "text",
            "the champion's metrics",
            x=(x0 + x1) / 2,
            y=low - 6,
            text_anchor="middle",
            class_="edge-label",
        ),
    )


def _wrapped(text: str) -> list[str]:
    """Breaks a phrase into two lines at most; the rest is in the node's title."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= _LINE_CHARACTERS:
            lines[-1] = joined
        elif len(lines) == 1 and lines[0]:
            lines.append(word)
        else:
            lines[-1] = joined
            break
    return [
        line
        if len(line) <= _LINE_CHARACTERS
        else line[: _LINE_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        for line in lines
    ]
