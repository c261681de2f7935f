import base64
import io
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from checks import parse_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from run_cases import HOSTILE

from kfdet.report.pictures import (
    PictureBox,
    draw_boxes,
    gallery,
    picture,
    picture_legend,
    reduced,
)

KINDS = ("ground_truth", "hit", "false_alarm", "miss", "detection")


def box(xmin: float, ymin: float, xmax: float, ymax: float, label: str = "cat 0.9", kind: str = "hit") -> PictureBox:  # fmt: skip
    return PictureBox(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, label=label, kind=kind)  # type: ignore[arg-type]


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (120, 120, 120))


def embedded(html: str) -> Image.Image:
    source = parse_xml(html).find(".//img").get("src")  # type: ignore[union-attr]
    assert source is not None
    return Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))


def of_class(html: str, name: str) -> list[ElementTree.Element]:
    return [e for e in parse_xml(html).iter() if name in (e.get("class") or "").split()]


def test_a_large_image_is_scaled_down_and_the_boxes_with_it() -> None:
    html = picture(grey(1280, 640), [box(640, 320, 1280, 640)], width_px=320)
    assert embedded(html).size == (320, 160)
    (outline,) = of_class(html, "box")
    place = [float(outline.get(key, "")) for key in ("x", "y", "width", "height")]
    assert place == [160, 80, 160, 80]


def test_a_small_image_keeps_its_pixels_and_labels_their_size() -> None:
    html = picture(grey(64, 32), [box(0, 0, 32, 32)], width_px=320)
    assert embedded(html).size == (64, 32)
    (outline,) = of_class(html, "box")
    assert outline.get("width") == "160"


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"]
)
def test_every_mode_of_image_can_be_shown(mode: str) -> None:
    image = Image.new(mode, (40, 20))
    assert embedded(picture(image, [])).size == (40, 20)
    assert draw_boxes(image, [box(5, 5, 20, 15)]).mode == "RGB"


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    image = Image.fromarray(np.full((20, 20), 32768, dtype=np.uint16))
    level = np.asarray(embedded(picture(image, []))).mean()
    assert 120 < level < 136


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.floats(-200, 900, allow_nan=False)] * 4, st.text(min_size=0, max_size=60)),
        max_size=8,
    ),
    st.integers(1, 700),
    st.integers(1, 700),
)
def test_boxes_and_labels_never_leave_the_picture(
    boxes: list[tuple[float, float, float, float, str]], width: int, height: int
) -> None:
    printable = [(*place, re.sub(r"[^\x20-\x7e]", "x", label)) for *place, label in boxes]
    html = picture(grey(width, height), [box(*one) for one in printable], width_px=300)
    svg = parse_xml(html).find(".//svg")
    assert svg is not None
    _, _, right, bottom = map(float, svg.get("viewBox", "").split())
    for name in ("box", "chip"):
        for element in of_class(html, name):
            x, y, w, h = (float(element.get(key, "")) for key in ("x", "y", "width", "height"))
            assert x >= 0
            assert x + w <= right + 1
            assert y >= 0
            # A chip is higher than a picture of a few pixels.
            assert y + h <= max(bottom, 15) + 1


def test_labels_do_not_cover_one_another_where_there_is_room() -> None:
    html = picture(grey(300, 300), [box(50, 100, 150, 200), box(52, 101, 151, 202)], width_px=300)
    tops = [float(chip.get("y", "")) for chip in of_class(html, "chip")]
    assert abs(tops[0] - tops[1]) >= 15


def test_a_box_that_is_not_finite_is_not_drawn() -> None:
    boxes = [box(math.nan, 0, 1, 1), box(0, 0, math.inf, 1), box(1, 1, 9, 9)]
    assert len(of_class(picture(grey(40, 40), boxes), "box")) == 1
    draw_boxes(grey(40, 40), boxes)


def test_kinds_differ_by_line_and_not_by_colour_alone() -> None:
    html = picture(grey(300, 300), [box(10, 10, 90, 90, kind=kind) for kind in KINDS])
    dashes = [outline.get("stroke-dasharray") for outline in of_class(html, "box")]
    assert len(set(dashes)) == 4
    assert dashes[KINDS.index("hit")] is None
    assert len(of_class(picture_legend(), "box")) == len(KINDS)


def test_text_never_becomes_markup() -> None:
    html = picture(grey(300, 300), [box(10, 10, 90, 90, label=HOSTILE)], caption=HOSTILE)
    assert "<script" not in html
    assert HOSTILE in [title.text.removesuffix(" (hit)") for title in parse_xml(html).iter("title") if title.text]  # fmt: skip
    assert "<script" not in gallery([picture(grey(9, 9), [], caption=HOSTILE)])


def test_drawing_changes_the_outline_only_and_not_the_image_given() -> None:
    image = grey(400, 300)
    drawn = np.asarray(draw_boxes(image, [box(100, 100, 300, 250, label="")], line_px=2))
    assert (np.asarray(image) == 120).all()
    assert (drawn[120:230, 120:280] == 120).all()
    assert (drawn[:90] == 120).all()
    assert tuple(drawn[100, 200]) == (0x35, 0xE0, 0xA1)


def test_a_dashed_kind_leaves_gaps() -> None:
    plain = np.asarray(draw_boxes(grey(400, 300), [box(50, 50, 350, 250, label="", kind="hit")]))
    dashed = np.asarray(draw_boxes(grey(400, 300), [box(50, 50, 350, 250, label="", kind="miss")]))
    assert len(np.unique(plain[50, 60:340], axis=0)) == 1
    assert len(np.unique(dashed[50, 60:340], axis=0)) == 2


def test_in_a_crowd_the_labels_that_matter_are_kept_and_none_covers_another() -> None:
    crowd = [box(100 + k, 100 + k, 140 + k, 140 + k, label=f"red cell {k}", kind="ground_truth") for k in range(20)]  # fmt: skip
    html = picture(
        grey(300, 300), [*crowd, box(100, 100, 140, 140, label="alarm", kind="false_alarm")]
    )
    assert "k-false_alarm" in (of_class(html, "chip")[-1].get("class") or "")
    chips = [[float(c.get(key, "")) for key in ("x", "y", "width")] for c in of_class(html, "chip")]
    assert 1 < len(chips) < 21
    for i, (x, y, width) in enumerate(chips):
        for other_x, other_y, other_width in chips[i + 1 :]:
            assert x + width <= other_x or other_x + other_width <= x or abs(y - other_y) >= 15
    assert sum(f"red cell {k} (ground truth)" in html for k in range(20)) == 20


def test_a_drawn_file_has_no_titles_and_so_keeps_every_label() -> None:
    boxes = [box(100, 100, 140, 140, label="x", kind=kind) for kind in ("miss", "hit")] * 6
    colours = {
        tuple(pixel) for pixel in np.asarray(draw_boxes(grey(200, 200), boxes)).reshape(-1, 3)
    }
    assert (0x35, 0xE0, 0xA1) in colours


def test_boxes_of_the_original_lie_right_on_its_reduced_image() -> None:
    original = grey(1280, 640)
    small = reduced(original)
    assert small.size == (320, 160)
    boxes = [box(640, 320, 1280, 640)]
    assert picture(small, boxes, size_px=original.size) == picture(original, boxes)
