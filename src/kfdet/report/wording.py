"""Numbers as people read them; the same words in reports and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

EN_DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: float | int | None) -> str:
    """Returns a number in at most four significant digits: `1,234`, `0.9123`, `1.2e-07`; None is a dash."""
    if value is None:
        return EN_DASH
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.3g}".replace("e-0", "e-").replace("e+", "e")
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def compact(value: float) -> str:
    """Returns a number short enough for an axis: `0.25`, `1,200`, `15k`, `2.5M`, `1e20`."""
    size = abs(value)
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if factor <= size < 1e15:
            scale = 1e3 if unit == "k" else factor
            return f"{value / scale:.4g}{unit}".replace("-", MINUS)
    return number(float(value))


def fixed(value: float, *, digits: int) -> str:
    """Returns a small number with that many decimals, whole and large ones without: `0.90`, `1,204`."""
    if abs(value) >= 100 or isinstance(value, int):
        return compact(value)
    return f"{value:.{digits}f}".replace("-", MINUS)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Returns the labels of an axis, with equal decimals: `0.0, 0.5, 1.0`."""
    sizes = [abs(tick) for tick in ticks]
    if not sizes or max(sizes) >= 1000 or any(0 < size < 1e-4 for size in sizes):
        return [compact(tick) for tick in ticks]
    decimals = max(len(f"{size:.4f}".rstrip("0").partition(".")[2]) for size in sizes)
    return [f"{tick:.{decimals}f}".replace("-", MINUS) for tick in ticks]


def difference(value: float | None, *, digits: int = 3) -> str:
    """Returns a signed number: `+0.012`, with a true minus sign; nothing for no difference."""
    if value is None:
        return EN_DASH
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        return "\N{PLUS-MINUS SIGN}0"
    return text.replace("-", MINUS)


def duration(time_s: float | None) -> str:
    """Returns a length of time: `0.8 s`, `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if time_s is None:
        return EN_DASH
    if time_s < 9.95:
        return f"{time_s:.1f} s"
    whole = round(time_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(time_s / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(time_s / 3600)
    return f"{hours // 24} d {hours % 24} h"


def size(size_bytes: int) -> str:
    """Returns a file size in decimal units: `812 B`, `14.2 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    scaled = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        scaled /= 1000
        if scaled < 999.5 or unit == "TB":
            break
    return f"{scaled:.3g} {unit}" if scaled < 100 else f"{scaled:.0f} {unit}"


def percent(share: float | None, *, digits: int = 1) -> str:
    """Returns a share in [0, 1] as `12.5 %`."""
    return EN_DASH if share is None else f"{share * 100:.{digits}f} %"


def brief(text: str, *, letters: int = 80) -> str:
    """Returns a name with an ellipsis for what is beyond that many letters."""
    return text if len(text) <= letters else text[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"
