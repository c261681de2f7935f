"""Model Garden's RetinaNet task."""

from __future__ import annotations

from official.vision.tasks.retinanet import RetinaNetTask


class DetectionTask(RetinaNetTask):  # type: ignore[misc]
    pass
