"""A point of the training curve while its steps are taken."""

from __future__ import annotations

from kfdet.schema.training import CurvePoint

CURVE_EVERY = 10


class PointInTheMaking:
    """Means over the steps since the last point of the curve."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("total_loss", "cls_loss", "box_loss"), 0.0)
        self._steps = 0
        self._timed_steps = 0
        self._seconds = 0.0
        self._learning_rate = 0.0

    def add(self, values: dict[str, float], *, steps: int) -> None:
        for name in self._sums:
            self._sums[name] += values[name] * steps
        self._steps += steps
        self._learning_rate = values["learning_rate"]
        if values["seconds"]:
            self._timed_steps += steps
            self._seconds += values["seconds"]

    def finish(self, step: int) -> CurvePoint:
        return CurvePoint(
            step=step,
            loss=self._sums["total_loss"] / self._steps,
            class_loss=self._sums["cls_loss"] / self._steps,
            box_loss=self._sums["box_loss"] / self._steps,
            learning_rate=self._learning_rate,
            steps_per_s=self._timed_steps / self._seconds if self._seconds else 0.0,
        )
