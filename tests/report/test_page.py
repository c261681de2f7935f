import pytest
from checks import check_page, parse_xml, parsed, text_of
from hypothesis import given
from hypothesis import strategies as st
from run_cases import HOSTILE

from kfdet.report.page import (
    Html,
    Section,
    Tile,
    badge,
    bullets,
    code,
    code_block,
    columns,
    details,
    heading,
    link,
    message,
    page,
    paragraph,
    properties,
    table,
)


def cells(html: str) -> list[str]:
    return [cell.text or "" for cell in parse_xml(html).iter("td")]


def test_text_never_becomes_markup_wherever_it_is_given() -> None:
    blocks = (
        paragraph(HOSTILE), heading(HOSTILE), badge(HOSTILE), message(HOSTILE), bullets([HOSTILE]),
        code(HOSTILE), code_block(HOSTILE), details(HOSTILE, paragraph(HOSTILE)),
        columns(paragraph(HOSTILE)), link(HOSTILE, f"a.html#{HOSTILE}"),
        properties({HOSTILE: HOSTILE}), table([HOSTILE], [[HOSTILE]], caption=HOSTILE),
        table([HOSTILE], [], empty=HOSTILE),
    )  # fmt: skip
    html = page(
        title=HOSTILE,
        subtitle=HOSTILE,
        status=(HOSTILE, "bad"),
        tiles=[Tile(label=HOSTILE, value=HOSTILE, hint=HOSTILE)],
        sections=[Section(title=HOSTILE, intro=HOSTILE, body=blocks)] * 4,
    )
    check_page(html)
    assert text_of(html).count(HOSTILE) > 20


def test_html_given_as_html_is_kept() -> None:
    assert "<p><b>bold</b></p>" in paragraph(Html("<b>bold</b>"))


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=30))
def test_any_text_reads_the_same_in_the_page(text: str) -> None:
    assert parse_xml(paragraph(text)).text in (text, None if text == "" else text)


def test_a_column_of_numbers_has_equal_decimals_and_stands_right() -> None:
    html = table(["n", "ap"], [[1234, 0.5], [5, 0.12345], [7, None]])
    assert cells(html) == ["1,234", "0.500", "5", "0.123", "7", "–"]
    assert all("number" in (cell.get("class") or "") for cell in parse_xml(html).iter("td"))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 0.0], ["0.000", "0.000"]),
        ([1.0, 0.25], ["1.000", "0.250"]),
        ([123.456, 1.5], ["123", "2"]),
        ([3e-7, 1.5], ["0.000", "1.500"]),
        ([3e-7, 1e-9], ["3e-7", "1e-9"]),
        ([2.5e20, 1.0], ["2.5e20", "1"]),
        ([-0.5, 0.5], ["−0.500", "0.500"]),
        ([float("nan"), 0.5], ["nan", "0.500"]),
    ],
)
def test_decimals_suit_the_largest_number_of_a_column(
    values: list[float], shown: list[str]
) -> None:
    assert cells(table(["x"], [[value] for value in values])) == shown


def test_a_column_with_text_is_no_column_of_numbers() -> None:
    sides = [cell.get("class") for cell in parse_xml(table(["x"], [[1], ["one"]])).iter("td")]
    assert sides == [None, "short"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 headers"):
        table(["a", "b"], [["x"]])


def test_the_exact_number_stays_under_the_pointer_and_for_sorting() -> None:
    cell = next(parse_xml(table(["x"], [[0.123456789]])).iter("td"))
    assert (cell.get("title"), cell.get("data-value")) == ("0.123456789", "0.123456789")


def test_marked_rows_are_set_off() -> None:
    rows = list(parse_xml(table(["x"], [[1], [2]], marked=[1])).iter("tr"))[1:]
    assert [row.get("class") for row in rows] == [None, "marked"]


@pytest.mark.parametrize(
    "href", ["https://x.org", "//x.org", "javascript:alert(1)", " data:text/html,x"]
)
def test_a_report_links_to_nothing_outside(href: str) -> None:
    with pytest.raises(ValueError, match="files beside it"):
        link("x", href)


def test_sections_of_one_title_have_anchors_of_their_own() -> None:
    sections = [Section(title=title, body=()) for title in ("A b", "A b", "É", "é")]
    ids = [a["id"] for tag, a in parsed(page(title="t", subtitle="", sections=sections)).tags if tag == "section"]  # fmt: skip
    assert len(set(ids)) == 4
    assert ids[0] == "a-b"


def test_quantities_in_words_stand_right_as_numbers_do() -> None:
    html = table(["time", "share", "name"], [["2.3 s", "0.0 %", "a 1"], ["1 min 05 s", "–", "b"]])
    sides = [cell.get("class") for cell in parse_xml(html).iter("td")]
    assert sides == ["number", "number", "short"] * 2
