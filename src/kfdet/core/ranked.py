"""Average precision of many groups of detections at once: classes, or classes within slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import RECALL_POINTS, Float64, Int64
from kfdet.core.ordering import ascending

_POINTS = np.array(RECALL_POINTS)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Detections in groups, in each by descending score.

    Attributes:
        rows: int64[N].
        group: int64[N], ascending.
        begin: int64[G + 1], where each group begins.
    """

    rows: Int64
    group: Int64
    begin: Int64

    @property
    def groups(self) -> int:
        return len(self.begin) - 1


def ranked(by_score: Int64, group: Int64, *, groups: int) -> Ranking:
    """Returns the detections group by group.

    Args:
        by_score: int64[N], rows in descending order of score.
        group: int64[N], the group of each of these rows.
        groups: G, how many there are.
    """
    order = ascending(group)
    group = group[order]
    begin = np.searchsorted(group, np.arange(groups + 1))
    return Ranking(rows=by_score[order], group=group, begin=begin)


def average_precision(group: Int64, kept: Int64, objects: Int64) -> Float64:
    """Returns the AP of each group.

    Precision is looked at where a detection hits: between two hits it only falls.

    Args:
        group: int64[H], the group of each hit, ascending; within a group by descending score.
        kept: int64[H], how many detections of the group are kept up to each hit, and with it.
        objects: int64[G], how many there are to find.

    Returns:
        float64[G], NaN where there is no object. Within 1e-10 of COCO's number.

    Source: COCO detection evaluation, 101 recall points, interpolated precision.
    """
    first = np.searchsorted(group, np.arange(len(objects)))
    nth = np.arange(1, group.size + 1) - first[group]
    # A step between groups lets one pass from the end take the highest precision yet to come.
    steps = 2.0 * (len(objects) - group)
    ahead = np.maximum.accumulate((nth / kept + steps)[::-1])[::-1] - steps
    recall = nth / np.maximum(objects[group], 1)
    reached = np.minimum((recall * 100 + 1e-9).astype(np.int64), 100)
    reached += _POINTS[reached] <= recall
    gained = np.diff(reached, prepend=0)
    gained[nth == 1] = reached[nth == 1]
    area = np.bincount(group, weights=ahead * gained, minlength=len(objects)) / _POINTS.size
    return np.where(objects > 0, area, np.nan)


def mean_of_defined(values: Float64) -> Float64:
    """Returns the mean along the last axis over what is no NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    mean: Float64 = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
