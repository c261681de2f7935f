"""A confusion matrix that fits where little room is."""

from __future__ import annotations

import numpy as np

from kfdet.schema.metrics import Confusion

MOST_CLASSES = 20


def in_short(confusion: Confusion, *, most: int = MOST_CLASSES) -> Confusion:
    """Returns a matrix of the classes that are mixed up most, the others taken together.

    Every box stays counted. Labels are made to differ, and the one of the others says how many.

    Args:
        confusion: Of any number of classes.
        most: Classes that are kept apart.
    """
    matrix = np.array(confusion.matrix, np.int64)
    *names, background = confusion.labels
    kept = list(range(len(names)))
    labels = list(names)
    if len(names) > most:
        between = matrix[:-1, :-1].copy()
        np.fill_diagonal(between, 0)
        wrong = between.sum(axis=0) + between.sum(axis=1)
        missed = matrix[:-1, -1] + matrix[-1, :-1]
        # The most mixed up first; of equals, those that are missed or made up most.
        ranked = np.lexsort((np.arange(len(names)), -missed, -wrong))
        kept = sorted(ranked[:most].tolist())
        labels = [names[k] for k in kept] + [f"{len(names) - most} other classes"]
    places = np.full(len(names) + 1, len(kept))
    places[kept] = np.arange(len(kept))
    places[-1] = len(labels)
    short = np.zeros((len(labels) + 1,) * 2, np.int64)
    np.add.at(short, (places[:, None], places[None, :]), matrix)
    return Confusion(
        score=confusion.score,
        labels=_different([*labels, background]),
        matrix=tuple(tuple(row) for row in short.tolist()),
    )


def _different(labels: list[str]) -> tuple[str, ...]:
    answer: list[str] = []
    for label in labels:
        while label in answer:
            label += " *"
        answer.append(label)
    return tuple(answer)
