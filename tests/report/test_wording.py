import pytest

from kfdet.report.wording import (
    compact,
    difference,
    duration,
    fixed,
    number,
    percent,
    size,
    tick_labels,
)


@pytest.mark.parametrize(
    ("time_s", "words"),
    [
        (0.0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185.2, "3 min 05 s"),
        (3599.7, "1 h 00 min"), (7620.0, "2 h 07 min"), (200_000.0, "2 d 8 h"), (None, "–"),
    ],
)  # fmt: skip
def test_durations_are_rounded_before_they_are_split(time_s: float | None, words: str) -> None:
    assert duration(time_s) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"), (1234567, "1,234,567"), (-3, "−3"), (0.0, "0"), (0.91234, "0.9123"), (12345.6, "12,346"),
        (1.2e-7, "1.2e-7"), (1e20, "1e20"), (-0.25, "−0.25"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits_at_most(value: float | None, words: str) -> None:
    assert number(value) == words


def test_axis_labels_are_short_and_of_equal_decimals() -> None:
    assert tick_labels([0.0, 0.5, 1.0]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([-0.25, 0.0]) == ["−0.25", "0.00"]
    assert tick_labels([0.0, 500.0, 1000.0]) == ["0", "500", "1,000"]
    assert tick_labels([]) == []
    assert [compact(value) for value in (15000, 2.5e6, 3e9, 7e12, 1e20)] == ["15k", "2.5M", "3G", "7T", "1e20"]  # fmt: skip


def test_small_words() -> None:
    assert (difference(0.0123), difference(-0.5), difference(0.0001), difference(None)) == ("+0.012", "−0.500", "±0", "–")  # fmt: skip
    assert (size(812), size(14_200_000), size(999_900)) == ("812 B", "14.2 MB", "1 MB")
    assert (percent(0.125), percent(None)) == ("12.5 %", "–")
    assert (fixed(0.9, digits=2), fixed(1204, digits=2), fixed(0.0001, digits=2)) == ("0.90", "1,204", "0.00")  # fmt: skip
