"""Numbers in sentences."""

from __future__ import annotations


def plural(count: int, one: str, many: str | None = None) -> str:
    """Returns `1 image`, `2 images`, `1,000 boxes`."""
    regular = f"{one}es" if one.endswith("x") else f"{one}s"
    return f"{count:,} {one if count == 1 else many or regular}"
