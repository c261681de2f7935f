import math

from hypothesis import given
from hypothesis import strategies as st

from kfdet.report.scales import Scale, log_ticks, nice_range, nice_ticks

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_a_range_holds_its_values_and_is_never_empty(a: float, b: float) -> None:
    low, high = nice_range(min(a, b), max(a, b), wanted=5)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low < high
    slack = 1e-8 * max(abs(a), abs(b))
    assert low - slack <= min(a, b)
    assert max(a, b) <= high + slack


@given(finite, finite)
def test_ticks_lie_in_the_range_and_are_few(a: float, b: float) -> None:
    low, high = nice_range(min(a, b), max(a, b), wanted=5)
    ticks = nice_ticks(low, high, wanted=5)
    slack = 1e-6 * (high / 2 - low / 2)
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert all(low - slack <= tick <= high + slack for tick in ticks)


def test_ticks_are_round() -> None:
    assert nice_ticks(0.0, 1.0, wanted=5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(0.0, 0.3, wanted=3) == [0.0, 0.1, 0.2, 0.3]
    assert log_ticks(1.0, 100.0) == [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    assert log_ticks(1e-3, 1e3) == [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3]


@given(finite, finite, finite)
def test_a_scale_is_monotonic_and_stays_near_the_plot(a: float, b: float, value: float) -> None:
    low, high = nice_range(min(a, b), max(a, b), wanted=5)
    scale = Scale(low=low, high=high, start_px=200, end_px=20)
    assert scale(low) == 200
    assert abs(scale(high) - 20) < 1e-6
    assert -70 <= scale(value) <= 290
    assert scale(min(a, value)) >= scale(max(a, value))
