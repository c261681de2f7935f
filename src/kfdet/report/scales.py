"""From values to pixels: round ticks, and the straight or logarithmic way between."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from kfdet.report.wording import compact, tick_labels

# Below, differences of floats lose their digits.
SMALLEST = 1e-290


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps [low, high] to [start_px, end_px], straight or by logarithm.

    Attributes:
        low, high: Ends of the range of values, low < high.
        start_px, end_px: Pixels of low and high; start may lie beyond end.
    """

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Returns the pixel of a value, clipped to just outside the range."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            part = (math.log10(max(value, self.low)) - low) / (high - low)
        else:
            # Halves, because high - low overflows for the largest floats.
            part = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.start_px + min(1.5, max(-0.5, part)) * (self.end_px - self.start_px)

    def ticks(self, wanted: int) -> list[tuple[float, str]]:
        """Returns about as many round values as wanted, each with its label."""
        if self.log:
            return [(tick, compact(tick)) for tick in log_ticks(self.low, self.high)]
        values = nice_ticks(self.low, self.high, wanted=wanted)
        return list(zip(values, tick_labels(values), strict=True))


def nice_ticks(low: float, high: float, *, wanted: int) -> list[float]:
    """Returns round values within [low, high], about as many as wanted: multiples of 1, 2, 2.5 or 5."""
    step = _nice_step(low, high, wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [_clean(index * step) for index in range(first, last + 1)]


def nice_range(low: float, high: float, *, wanted: int) -> tuple[float, float]:
    """Returns a range that holds [low, high] and ends on ticks; never an empty one."""
    if high / 2 - low / 2 <= max(abs(low), abs(high), SMALLEST) * 1e-9:
        reach = abs(low) * 0.1 or 1.0
        low, high = (0.0, high + reach) if 0 <= low <= 1 else (low - reach, high + reach)
        low, high = max(low, -sys.float_info.max), min(high, sys.float_info.max)
    step = _nice_step(low, high, wanted)
    outer = (
        _clean(math.floor(low / step + 1e-9) * step),
        _clean(math.ceil(high / step - 1e-9) * step),
    )
    return outer if all(map(math.isfinite, outer)) else (low, high)


def data_range(low: float, high: float) -> tuple[float, float]:
    """Returns the range itself, widened where it is a single value."""
    if low < high:
        return low, high
    reach = abs(low) * 0.5 or 1.0
    return low - reach, high + reach


def log_range(low: float, high: float) -> tuple[float, float]:
    """Returns a range for a logarithmic axis with some air around values above SMALLEST."""
    air = 1.15 if high / low > 1.5 else 2.0
    return low / air, min(high * air, sys.float_info.max)


def log_ticks(low: float, high: float) -> list[float]:
    """Returns powers of ten within [low, high], with 2 and 5 between where there is room for them."""
    # 10^308 times 2 is no float.
    first, last = math.floor(math.log10(low)), min(307, math.ceil(math.log10(high)))
    factors: tuple[int, ...] = (1, 2, 5) if last - first <= 3 else (1,)
    stride = max(1, round((last - first) / 6))
    values = [f * 10.0**e for e in range(first, last + 1, stride) for f in factors]
    return [_clean(value) for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def _nice_step(low: float, high: float, wanted: int) -> float:
    raw = high / wanted - low / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 2.5, 5, 10):
        if raw <= factor * magnitude * (1 + 1e-9):
            return factor * magnitude
    return 10 * magnitude


def _clean(value: float) -> float:
    """0.30000000000000004 is 0.3."""
    return float(f"{value:.12g}")
