"""Dividing images among train, val and test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from kfdet.schema.dataset import SPLITS, Split


def split_by_fraction(
    digests: Sequence[str], *, fractions: Mapping[Split, float], seed: int
) -> tuple[Split, ...]:
    """Assigns every image to a split at random, copies of one image together.

    Args:
        digests: One for each image; equal digests are equal images and go to the same split.
        fractions: Split to its share of the images, each from 0 to 1, all together 1.
        seed: Another seed gives another division.

    Returns:
        The split of each image, in the order of `digests`. The shares are met as closely as
        copies allow.
    """
    order = sorted(
        range(len(digests)),
        key=lambda index: hashlib.sha256(f"{seed}:{digests[index]}".encode()).digest(),
    )
    assigned: list[Split] = ["train"] * len(digests)
    reached = [
        round(sum(fractions.get(name, 0.0) for name in SPLITS[: number + 1]) * len(digests))
        for number in range(len(SPLITS))
    ]
    number = 0
    for position, index in enumerate(order):
        is_copy = position > 0 and digests[index] == digests[order[position - 1]]
        while not is_copy and number < len(SPLITS) - 1 and position >= reached[number]:
            number += 1
        assigned[index] = SPLITS[number]
    return tuple(assigned)
