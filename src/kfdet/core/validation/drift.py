"""Whether two splits look drawn from one population."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.tally import SplitTally
from kfdet.schema.dataset import Split

LEAST_DISTANCE = 0.2
_NORMAL_QUANTILE = 3.09
_LEAST_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Attributes:
    distance: Total variation: the share that would have to move from bin to bin, in [0, 1].
    significant: Sampling alone would give as much in less than one of a thousand pairs.
    """

    distance: float
    significant: bool

    @property
    def is_drift(self) -> bool:
        return self.significant and self.distance >= LEAST_DISTANCE


def difference(
    first: NDArray[np.int64], second: NDArray[np.int64], *, weights: tuple[float, float] = (1, 1)
) -> Difference:
    """Compares two samples that were counted into the same bins.

    Args:
        first: int64[K], counts in the order of the bins.
        second: int64[K].
        weights: What one count is worth as an independent observation: boxes of one image are alike,
            so a count of boxes is worth images / boxes.

    Source: Pearson's chi-square test of homogeneity, its quantile after Wilson and Hilferty (1931).
    """
    if not first.sum() or not second.sum():
        return Difference(distance=0.0, significant=False)
    shares = first / first.sum(), second / second.sum()
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    counts = _merged(np.stack([first * weights[0], second * weights[1]]))
    freedom = counts.shape[1] - 1
    if freedom < 1:
        return Difference(distance=distance, significant=False)
    totals = counts.sum(axis=1, keepdims=True)
    expected = totals * counts.sum(axis=0, keepdims=True) / totals.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + _NORMAL_QUANTILE * math.sqrt(spread)) ** 3
    return Difference(distance=distance, significant=statistic > quantile)


def _merged(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns counts[2, K] with neighbouring bins joined until each expects enough in both samples."""
    share = counts.sum(axis=1).min() / counts.sum()
    bins: list[NDArray[np.float64]] = []
    rest = np.zeros(2)
    for column in counts.T:
        rest = rest + column
        if rest.sum() * share >= _LEAST_EXPECTED:
            bins.append(rest)
            rest = np.zeros(2)
    if bins:
        bins[-1] = bins[-1] + rest
    return np.stack(bins, axis=1) if bins else np.zeros((2, 0))


def drift_faults(
    tallies: Mapping[Split, SplitTally], names: Mapping[int, str]
) -> Iterator[tuple[Place, Fault]]:
    """Yields what val and test differ from train in.

    Args:
        tallies: Of the splits that have images.
        names: Class id to name.
    """
    train = tallies.get("train")
    if train is None:
        return
    for split, tally in tallies.items():
        if split == "train":
            continue
        for code, what, first, second, of_boxes in _compared(train, tally, names):
            weights = (_independence(train), _independence(tally)) if of_boxes else (1.0, 1.0)
            found = difference(first, second, weights=weights)
            if found.is_drift:
                yield (
                    Place(file=f"dataset.{split}", split=split),
                    Fault(
                        code=code,
                        seen=f"{found.distance:.0%} of {split} would have to change to give {what} "
                        "of train",
                        expected=f"less than {LEAST_DISTANCE:.0%}, or no more than chance",
                    ),
                )


def _independence(tally: SplitTally) -> float:
    return min(1.0, (tally.images - tally.images_without_boxes) / max(tally.boxes, 1))


def _compared(
    train: SplitTally, other: SplitTally, names: Mapping[int, str]
) -> Iterator[tuple[str, str, NDArray[np.int64], NDArray[np.int64], bool]]:
    classes = [
        np.array([tally.class_boxes[number] for number in names], dtype=np.int64)
        for tally in (train, other)
    ]
    # Rare classes are joined with their neighbours: the commonest first keeps them apart.
    order = np.argsort(-classes[0], kind="stable")
    yield "drift-classes", "the class shares", classes[0][order], classes[1][order], True
    yield (
        "drift-box-sizes",
        "the box sizes",
        train.box_side_px.counts,
        other.box_side_px.counts,
        True,
    )
    yield (
        "drift-box-shapes",
        "the box shapes",
        train.box_aspect_ratio.counts,
        other.box_aspect_ratio.counts,
        True,
    )
    yield (
        "drift-brightness",
        "the brightness",
        train.brightness.counts,
        other.brightness.counts,
        False,
    )
    yield (
        "drift-empty-images",
        "the share of images without boxes",
        np.array([train.images_without_boxes, train.images - train.images_without_boxes]),
        np.array([other.images_without_boxes, other.images - other.images_without_boxes]),
        False,
    )
