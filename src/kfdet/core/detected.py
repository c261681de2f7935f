"""What a detector answers for one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Detected:
    """Objects in descending order of score.

    Attributes:
        boxes_yxyx_px: float32[D, 4], [ymin, xmin, ymax, xmax] in pixels of the image, inside it.
        class_ids: int64[D].
        scores: float32[D], in [0, 1].
    """

    boxes_yxyx_px: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detected:
        """Returns the objects whose score is at least as high."""
        kept = self.scores >= np.float32(score)
        return Detected(
            boxes_yxyx_px=self.boxes_yxyx_px[kept],
            class_ids=self.class_ids[kept],
            scores=self.scores[kept],
        )
